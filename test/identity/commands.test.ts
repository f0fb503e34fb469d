import { X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { Opened, UID_RULE } from './harness.ts';
import { controlPlane, interlock } from './processes.ts';

const opened = new Opened();
afterEach(() => opened.close());

test('by its commands alone: an authority, a node, files for an application, a revocation, and an audit log that is whole', async () => {
  const dir = opened.dir();
  const state = join(dir, 'plane');
  /** Runs a command to its end and gives its first line of JSON. */
  const run = async (...args: readonly string[]): Promise<Record<string, unknown>> => {
    const { ended, said, log } = interlock(opened, ...args, '--state', state, '--json');
    expect(await ended, log.lines.map(({ text }) => text).join('\n')).toBe(0);
    return said.all[0] ?? {};
  };
  await run('authority', 'init', '--trust-domain', 'example.org');
  const server = await controlPlane(opened, state);
  const rules = join(dir, 'rules.yaml');
  writeFileSync(rules, UID_RULE);
  expect(await run('identity', 'rules', 'apply', rules)).toMatchObject({ created: ['by-uid'] });
  const { token } = await run('authority', 'token', 'node-1');
  const socket = join(dir, 'agent.sock');
  const node = ['--state', join(dir, 'node'), '--socket', socket, '--join-token', String(token)];
  const agent = interlock(opened, 'agent', '--server', server.address, ...node);
  await agent.log.line('info connected to the control plane');

  const files = join(dir, 'files');
  const id = `spiffe://example.org/uid/${process.getuid?.() ?? 0}`;
  const written = await run('helper', '--endpoint', `unix://${socket}`, '--dir', files, '--once');
  expect(written).toMatchObject({ spiffeId: id });
  const svid = join(files, 'svid.pem');
  const pem = readFileSync(svid, 'utf8');
  const leaf = new X509Certificate(pem);
  expect(leaf.subjectAltName).toBe(`URI:${id}`);
  const root = new X509Certificate(readFileSync(join(files, 'bundle.pem'), 'utf8'));
  expect(leaf.verify(root.publicKey)).toBe(true);

  expect(await run('identity', 'list', '--kind', 'workload')).toMatchObject({ spiffeId: id });
  expect(await run('identity', 'revoke', leaf.serialNumber)).toEqual({ certificates: 1 });
  const verify = interlock(opened, 'identity', 'verify', svid, '--state', state, '--json');
  expect(await verify.said.with('isValid')).toMatchObject({ isValid: false, fault: 'revoked' });
  expect(await verify.ended).toBe(3);
  expect(await run('authority', 'audit', '--verify')).toEqual({ isWhole: true });
});
