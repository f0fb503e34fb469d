import { chmodSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { HOUR_MS } from '../../src/access/index.ts';
import { issuerOf, leafTemplate, newSerial, signCertificate, spkiOf } from '../../src/identity/index.ts';
import { realTimers, serveIdentity } from '../../src/server/index.ts';
import { FileVault } from '../../src/server/keys/file-vault.ts';
import { childStateJson, PARENT_SETTING, readChildState } from '../../src/server/upstream/child-state.ts';
import { openIdentityStore } from '../../src/store/index.ts';
import { TestAuthority } from '../../src/workload/testing.ts';
import { Node, Opened, Plane, Stream } from './harness.ts';
import { LightAgent } from './light-agent.ts';
import { interlock, type Running } from './processes.ts';
import { LogLines } from './watched.ts';

const opened = new Opened();
afterEach(() => opened.close());

function agentWith(plane: Plane, dir: string, ...args: readonly string[]): Running {
  const socket = join(dir, 'agent.sock');
  return interlock(
    opened,
    'agent',
    '--json',
    '--server',
    plane.address,
    '--state',
    dir,
    '--socket',
    socket,
    ...args,
  );
}

describe('a join token in a file', () => {
  test('is refused where everyone may read it, is taken otherwise, and is not needed afterwards', async () => {
    const plane = await Plane.start(opened);
    const dir = opened.dir();
    const file = join(dir, 'token');
    writeFileSync(file, `${await plane.token('node-1')}\n`);
    chmodSync(file, 0o604);
    const open = agentWith(plane, dir, '--join-token-file', file);
    expect(await open.ended).toBe(1);
    await open.log.line(`chmod 600 ${file}`);
    chmodSync(file, 0o600);
    const first = agentWith(plane, dir, '--join-token-file', file);
    await first.log.line('info connected to the control plane');
    await first.kill();
    rmSync(file);
    const second = agentWith(plane, dir, '--join-token-file', file);
    await second.log.line('info connected to the control plane');
    await second.kill();
    const other = agentWith(plane, opened.dir(), '--join-token-file', file);
    expect(await other.ended).toBe(1);
    await other.log.line('cannot be read');
  });

  test('that is none, or beside another one, is said so without being shown', async () => {
    const plane = await Plane.start(opened);
    const dir = opened.dir();
    const file = join(dir, 'token');
    writeFileSync(file, 'secret-and-no-token', { mode: 0o600 });
    const odd = agentWith(plane, dir, '--join-token-file', file);
    expect(await odd.ended).toBe(1);
    await odd.log.line('this is no join token');
    expect(odd.log.lines.map(({ text }) => text).join()).not.toContain('secret-and');
    const both = agentWith(plane, dir, '--join-token-file', file, '--join-token', 'x');
    expect(await both.ended).toBe(2);
  });
});

describe('a join token that is refused for good', () => {
  test('ends an agent that has no identity, with what to do', async () => {
    const plane = await Plane.start(opened);
    const token = await plane.token('node-1');
    const light = await LightAgent.attest({ address: plane.address, token });
    opened.later(() => light.close());
    const agent = agentWith(plane, opened.dir(), '--join-token', token);
    expect(await agent.ended).toBe(1);
    await agent.log.line('it was used already', 'start the agent with a new one');
    expect(agent.log.lines.map(({ text }) => text).join()).not.toContain(token);
  });

  test('does not end an agent that still has valid SVIDs for workloads', async () => {
    const plane = await Plane.start(opened);
    const token = await plane.token('node-1');
    const dir = opened.dir();
    const first = await Node.online(opened, { address: plane.address, token, dir });
    await Stream.open(opened, first.endpoint).svid(() => true, 'an SVID');
    await first.agent.close();
    rmSync(join(dir, 'agent', 'agent.json'));
    const second = await Node.start(opened, { address: plane.address, token, dir });
    await second.log.line('not connected to the control plane', 'used already');
    expect(await Promise.race([second.agent.refused, Promise.resolve('it serves')])).toBe('it serves');
    await Stream.open(opened, second.endpoint).svid(() => true, 'the SVID from before');
  });

  test('ends a child control plane that has none, and leaves no key behind', async () => {
    const parent = await Plane.start(opened);
    const token = await parent.token('child');
    const light = await LightAgent.attest({ address: parent.address, token });
    opened.later(() => light.close());
    const state = join(opened.dir(), 'plane');
    const refused = serveIdentity({
      state,
      listen: { host: '127.0.0.1', port: 0 },
      parent: { address: parent.address, joinToken: token },
      timers: realTimers,
      log: new LogLines(),
      version: 'test',
    });
    await expect(refused).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringMatching(/used already.*start with a new one/) as string,
    });
    expect(readdirSync(join(state, 'keys'))).toEqual([]);
  });
});

/** A port on which nobody listens until a control plane is started there. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  server.close();
  await once(server, 'close');
  return port;
}

describe('a control plane that does not answer', () => {
  test('is tried again by an agent with a token, until it does', async () => {
    const plane = await Plane.start(opened);
    const token = await plane.token('node-1');
    await plane.stop();
    const node = await Node.start(opened, { address: plane.address, token });
    await node.log.line('not connected to the control plane');
    await plane.start();
    await node.log.line('this node is attested');
    await node.log.line('info connected to the control plane');
    expect(node.agent.isAttested).toBe(true);
  });

  test('is tried again by a child with a token, until it does', async () => {
    const parent = await Plane.start(opened, { rules: CHILD });
    const token = await parent.token('child');
    await parent.stop();
    const log = new LogLines();
    const serving = serveIdentity({
      state: join(opened.dir(), 'plane'),
      listen: { host: '127.0.0.1', port: 0 },
      parent: { address: parent.address, joinToken: () => token },
      timers: { ...realTimers, random: () => 0 },
      log,
      version: 'test',
    });
    await log.line('the parent is not reached');
    await parent.start();
    const child = await serving;
    opened.later(() => child.close());
    expect(child.plane.registry.domain.prefixes).toEqual(['/area/child/']);
  });

  test('keeps a child process alive that waits for it', async () => {
    const port = await freePort();
    const dir = opened.dir();
    const file = join(dir, 'token');
    writeFileSync(file, `ijt_${'A'.repeat(43)}.${'0'.repeat(32)}`, { mode: 0o600 });
    const child = interlock(
      opened,
      'authority',
      'serve',
      '--state',
      join(dir, 'child'),
      '--listen',
      '127.0.0.1:0',
      '--parent',
      `127.0.0.1:${port}`,
      '--join-token-file',
      file,
    );
    await child.log.line('the parent is not reached');
    await child.log.lineFrom(child.log.lines.length, 'the parent is not reached');
    expect(child.child.exitCode).toBeNull();
  });
});

test('a child whose SVID for its parent has ended is let in again by a new token, and serves without one', async () => {
  const parent = await Plane.start(opened, { rules: CHILD });
  const token = await parent.token('child');
  const state = join(opened.dir(), 'plane');
  const log = new LogLines();
  const serve = (joinToken: () => string) =>
    serveIdentity({
      state,
      listen: { host: '127.0.0.1', port: 0 },
      parent: { address: parent.address, joinToken },
      timers: realTimers,
      log,
      version: 'test',
    });
  await (await serve(() => token)).close();
  await endSvid(state);
  // The token that is still in its unit file.
  await (await serve(() => token)).close();
  await log.line('the join token gave no new one', 'used already');
  const from = log.lines.length;
  const fresh = await parent.token('child');
  const child = await serve(() => fresh);
  opened.later(() => child.close());
  const { msg } = await log.lineFrom(from, 'connected to the parent');
  expect(msg).toBe('connected to the parent');
});

/** Puts an SVID that has ended in the place of the one that a child has for its parent. */
async function endSvid(state: string): Promise<void> {
  const store = await openIdentityStore(state);
  const child = await readChildState(store);
  if (child === undefined) throw new TypeError('there is no child');
  const { certificate, signer } = new TestAuthority('example.org');
  const template = leafTemplate({
    spiffeId: child.spiffeId,
    spki: spkiOf(await new FileVault(state).get(child.keyId)),
    notBefore: Date.now() - 2 * HOUR_MS,
    notAfter: Date.now() - HOUR_MS,
    serial: newSerial(randomBytes),
    issuer: issuerOf(certificate, []),
  });
  const data = childStateJson({ ...child, chain: [signCertificate(template, signer)] });
  await store.commit([{ change: 'put', kind: 'setting', name: PARENT_SETTING, data }]);
  await store.close();
}

const CHILD = `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: child }
spec:
  spiffeId: /authorities/child
  nodes: { selectors: ["agent:id:spiffe://example.org/interlock/agent/join_token/child"] }
  downstream: { prefixes: ["/area/child/"] }
`;
