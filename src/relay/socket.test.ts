import { existsSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { Server } from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from 'vitest';
import { listenLocally } from '../proxy/index.ts';
import { closeAll, closeLater, directory, enforced, NODE, openRelay } from './relay.test-helper.ts';
import { serveOnSocket } from './socket.ts';

afterEach(closeAll);

const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8);

describe("the relay's socket for Envoy", () => {
  test.each([
    ['nobody else', undefined, '600'],
    ['a group', process.getgid?.(), '660'],
  ])('is open to its user and %s', async (_, group, mode) => {
    const { socket } = await openRelay({ group });
    expect(modeOf(socket)).toBe(mode);
  });

  test('replaces what an earlier process left, and goes with the relay', async () => {
    const dir = directory();
    const first = await openRelay({ dir });
    await first.close();
    expect(existsSync(first.socket)).toBe(false);
    // A process that was killed leaves its socket.
    const dead = createServer();
    await new Promise<void>((resolve) => dead.listen(`${first.socket}.dead`, resolve));
    closeLater(() => dead.close());
    const { envoy, confirmed } = await openRelay({ dir });
    envoy();
    await confirmed();
  });

  test('is not taken from a process that answers there, nor from a file', async () => {
    const { socket, dir } = await openRelay();
    await expect(openRelay({ dir })).rejects.toMatchObject({ code: 'conflict' });
    // The first one goes on.
    expect(existsSync(socket)).toBe(true);
    const file = join(directory(), 'notes');
    writeFileSync(file, 'mine');
    await expect(openRelay({ socket: file })).rejects.toMatchObject({ code: 'io' });
    expect(existsSync(file)).toBe(true);
    rmSync(file);
  });

  test('gives its mode and group to itself alone, whatever is put in its place as it is made', async () => {
    const dir = directory();
    const [path, secret] = [join(dir, 'envoy.sock'), join(dir, 'secret')];
    writeFileSync(secret, 'mine', { mode: 0o600 });
    // Somebody who may write its directory is as fast as can be.
    const swap = (server: Server) => {
      const bind = server.bindAsync.bind(server);
      server.bindAsync = (address, credentials, done) =>
        bind(address, credentials, (error, port) => {
          renameSync(path, join(dir, 'away'));
          symlinkSync(secret, path);
          done(error, port);
        });
    };
    await expect(serveOnSocket(path, process.getgid?.(), swap)).rejects.toMatchObject({ code: 'io' });
    expect(modeOf(secret)).toBe('600');
  });

  test('has a path that fits', async () => {
    await expect(openRelay({ socket: join(directory(), 'x'.repeat(120)) })).rejects.toMatchObject({
      code: 'usage',
    });
  });

  test.each([
    ['another workload', NODE.replace('/app#', '/other#')],
    ['no workload', 'app-0'],
  ])('gives nothing to the Envoy of %s', async (_, node) => {
    const { envoy, control } = await openRelay();
    control.state(5, enforced('/a'));
    await expect(envoy(node).until(() => false)).rejects.toThrow('this relay serves the Envoy of');
    expect(control.words).toEqual([]);
  });
});

describe("the relay's own socket", () => {
  /** Asks it; gives the status and what it said. */
  const ask = (path: string, method: string, url: string, body?: object) =>
    new Promise<{ status: number | undefined; text: string }>((resolve, reject) => {
      const call = request({ socketPath: path, method, path: url }, async (response) => {
        const chunks: Buffer[] = [];
        for await (const chunk of response) chunks.push(chunk as Buffer);
        resolve({ status: response.statusCode, text: Buffer.concat(chunks).toString() });
      });
      call.on('error', reject);
      call.end(body === undefined ? undefined : JSON.stringify(body));
    });

  test('answers as that of a proxy, and presses the button for Envoy', async () => {
    const { relay, dir, clock, control, envoy, confirmed } = await openRelay();
    const path = join(dir, 'state/proxy.sock');
    const local = await listenLocally({ path, proxy: relay, clock, onAct: () => {} });
    closeLater(() => local.close());
    control.state(5, enforced('/a'));
    expect((await ask(path, 'GET', '/healthz')).status).toBe(200);
    expect((await ask(path, 'GET', '/readyz')).text).toBe('{"ready":true}\n');
    const released = await ask(path, 'POST', '/v1/release', { reason: 'all else is down' });
    expect(JSON.parse(released.text)).toMatchObject({
      waiting: expect.stringContaining('no Envoy is connected'),
    });
    const one = envoy();
    await confirmed();
    expect(one.isEnforcing).toBe(false);
    const armed = await ask(path, 'POST', '/v1/arm', {});
    expect(armed.text).toBe('{"ended":1}\n');
    expect(one.isEnforcing).toBe(true);
    const state = JSON.parse((await ask(path, 'GET', '/v1/state')).text) as object;
    expect(state).toMatchObject({
      stateVersion: 5,
      envoys: [{ id: NODE, state: 'confirmed' }],
      verdict: { kind: 'confirmed' },
      releases: [],
    });
    const { text } = await ask(path, 'GET', '/metrics');
    expect(text).toContain('interlock_relay_envoys 1\n');
    expect(text).toContain('interlock_relay_confirmed 1\n');
  });
});
