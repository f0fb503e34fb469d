import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { isInterlockError } from '../../src/access/index.ts';
import { SETTLE_MS } from '../../src/identity/index.ts';
import { systemTimers } from '../../src/node/index.ts';
import { realTimers } from '../../src/server/index.ts';
import { Helper, helperConfig, WorkloadApiClient } from '../../src/workload/index.ts';
import { Node, Opened, Plane } from './harness.ts';
import { LogLines } from './watched.ts';

const opened = new Opened();
afterEach(() => opened.close());

/** A control plane that was started long enough ago: agents had their time to come back. */
async function settledPlane(): Promise<Plane> {
  let behind = SETTLE_MS;
  const timers = { ...realTimers, now: () => Date.now() - behind };
  const plane = await Plane.start(opened, { timers });
  behind = 0;
  return plane;
}

/** As soon as the agent has confirmed the new root. */
async function activated(plane: Plane, id: string): Promise<void> {
  for (;;) {
    try {
      await plane.api.post(`/v1/authorities/${id}/activate`);
      return;
    } catch (error) {
      if (!isInterlockError(error) || error.code !== 'conflict') throw error;
      await new Promise(setImmediate);
    }
  }
}

test("a tainted authority's tokens are replaced in the files of a helper, not only at half of their life", async () => {
  const plane = await settledPlane();
  // A taint replaces the agent's own SVID as well, and ends its connection: drawn so, it connects again at once. A token
  // is waited for some seconds at most, and a busy machine may need more for two tries.
  const timers = { ...systemTimers, random: () => 0 };
  const token = await plane.token('node-1');
  const node = await Node.online(opened, { address: plane.address, token, timers });
  const dir = join(opened.dir(), 'identity');
  const log = new LogLines();
  const helper = new Helper(
    helperConfig({ endpoint: node.endpoint, dir, jwt: [{ audience: 'db', file: 'db.jwt' }] }),
    { onNote: (text) => log.info({}, text), onError: ({ message }) => log.warn({}, message) },
  );
  opened.later(() => helper.close());
  const { slots } = plane.serving.plane.registry;
  const keyId = () => {
    const file = join(dir, 'db.jwt');
    if (!existsSync(file)) return undefined;
    const [header = ''] = readFileSync(file, 'utf8').split('.');
    return (JSON.parse(Buffer.from(header, 'base64url').toString()) as { kid: string }).kid;
  };
  const [old] = slots.current.value;
  await helper.run();
  expect(log.lines.filter(({ level }) => level !== 'info')).toEqual([]);
  expect(keyId()).toBe(old?.jwt?.keyId);
  const next = await plane.api.post<{ id: string }>('/v1/authorities/prepare', { name: 'default' });
  const slot = (id: string) => slots.current.value.find((each) => each.id === id);
  const roots = () => readFileSync(join(dir, 'bundle.pem'), 'utf8').split('BEGIN').length - 1;
  await log.until(() => roots() === 2, 'the next root');
  // So that the agent holds a token of the old authority for the same audience.
  const client = new WorkloadApiClient({ endpoint: node.endpoint });
  opened.later(() => client.close());
  await client.fetchJwtSvids(['db']);
  await activated(plane, next.id);
  // Both keys are trusted: nothing but the certificate's replacement says that the token should be another.
  await plane.api.post(`/v1/authorities/${old?.id}/taint`, { overMs: 0 });
  const said = () => [...log.lines, ...node.log.lines].map(({ text }) => text).join('\n');
  await log.until(() => keyId() === slot(next.id)?.jwt?.keyId, 'a token of the new authority', said);
});
