import { execFile } from 'node:child_process';
import { chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Node, Opened, Plane } from '../identity/harness.ts';
import type { LogLines } from '../identity/watched.ts';
import { startInterlock, startProgram } from './running.ts';

const isRoot = process.platform === 'linux' && process.geteuid?.() === 0;
if (!isRoot)
  console.log('what a sidecar says of calls that did not arrive is not tested: that takes root on Linux');

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const [OWN, POD, STRANGER] = [40_501, 40_502, 40_503];
const id = (uid: number) => `spiffe://example.org/uid/${uid}`;
const RULE = `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: by-uid }
spec: { spiffeId: "/uid/{unix.uid}", selectors: [], when: "has(unix.uid)", ttl: 1h }
`;
const execute = promisify(execFile);

describe.skipIf(!isRoot)('a sidecar of a user of its own', () => {
  const opened = new Opened();
  let plane: Plane;
  let log: LogLines;
  let port = 0;
  let closed = 0;
  let state = '';

  const proxies = async (...args: string[]) =>
    (await execute(process.execPath, [MAIN, 'proxies', '--state', plane.state, ...args])).stdout;
  const get = () => ({ get: `http://127.0.0.1:${port}/` });

  beforeAll(async () => {
    plane = await Plane.start(opened, { rules: RULE });
    const agent = await Node.online(opened, { address: plane.address, token: await plane.token('node-1') });
    const nobody = createServer();
    await new Promise<void>((done) => nobody.listen(0, '127.0.0.1', done));
    closed = (nobody.address() as AddressInfo).port;
    await new Promise((done) => nobody.close(done));
    const dir = opened.dir();
    state = join(dir, 'state');
    mkdirSync(state, { mode: 0o700 });
    chownSync(state, OWN, OWN);
    const file = join(dir, 'proxy.yaml');
    const spec = {
      outbound: [{ listen: '127.0.0.1:0', to: `127.0.0.1:${closed}`, peer: id(POD) }],
      outboundUsers: [POD],
    };
    const head = { apiVersion: 'interlock.dev/v1alpha1', kind: 'Proxy', metadata: { name: 'own' } };
    writeFileSync(file, JSON.stringify({ ...head, spec }));
    const api = ['--workload-api', agent.socketPath, '--server', plane.address];
    ({ log } = startInterlock(opened, OWN, undefined, 'proxy', file, ...api, '--state', state));
    const { fields } = await log.line('the proxy serves');
    port = (fields['outbound'] as { port: number }[])[0]?.port ?? 0;
    await log.line('the control plane is connected');
  });
  afterAll(() => opened.close());

  test('lets its own user, root and whom it names call: they hear that the peer does not answer', async () => {
    for (const uid of [OWN, POD, 0]) {
      const program = startProgram(opened, uid);
      expect(await program.ask(get())).toMatchObject({ status: 503 });
      await program.kill();
    }
  });

  test('refuses everybody else, and the control plane shows both, after it was started again too', async () => {
    const stranger = startProgram(opened, STRANGER);
    expect(await stranger.ask(get())).toHaveProperty('refused');
    await log.line(`user ${STRANGER}'s, who is not among its outboundUsers`);
    const counts = async () => {
      const { unreached } = JSON.parse(await proxies('--json')) as {
        unreached: { from: string; peer: string; port: number; reason: string; count: number }[];
      };
      const of = unreached.filter(
        (each) => each.from === id(OWN) && each.peer === id(POD) && each.port === closed,
      );
      return Object.fromEntries(of.map(({ reason, count }) => [reason, count]));
    };
    const all = { unreachable: 3, owner: 1 };
    // Reports go once a second; what is asked for meanwhile is what came.
    let shown = {};
    while (Object.keys(shown).length < 2) shown = await counts();
    expect(shown).toEqual(all);
    await plane.stop();
    await plane.start();
    expect(await counts()).toEqual(all);
    const text = await proxies();
    expect(text).toContain('Calls that did not arrive, in the last day');
    expect(text).toContain('not its own call');
    expect(text).toContain('no answer');
  });
});
