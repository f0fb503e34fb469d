import { createServer, type Socket } from 'node:net';
import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { given, testDomain } from '../api/fixture.test-helper.ts';
import { streamOpener } from './transport.ts';

const undo: (() => void)[] = [];
afterEach(() => {
  for (const step of undo.splice(0)) step();
});

describe('opening the stream to the control plane', () => {
  test('is given up where somebody takes the connection and says nothing', async () => {
    const sockets: Socket[] = [];
    const silent = createServer((socket) => sockets.push(socket.on('error', () => undefined).resume()));
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    undo.push(() => {
      silent.close();
      for (const socket of sockets) socket.destroy();
    });
    const address = silent.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const domain = await testDomain('example.org');
    const own = { ...(await domain.svid(given('interlock/agent/join_token/n1'))), attestor: 'join_token' };
    const access = {
      address: `127.0.0.1:${port}`,
      trust: { bundles: new Map([['example.org', domain.bundle]]) },
      crls: [],
      now: Date.now,
    };
    const ended: (Error | undefined)[] = [];
    const open = streamOpener(
      () => access,
      () => own,
      50,
    );
    const stream = open({ onMessage: () => undefined, onEnd: (error) => ended.push(error) });
    await expect(stream).rejects.toMatchObject({
      code: 'unavailable',
      message: 'the control plane did not let the agent in within 0.05 s',
    });
    expect(ended).toHaveLength(1);
  });
});
