import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, type Socket } from 'node:net';
import { Hono } from 'hono';
import { expect, test } from 'vitest';
import { SERVER_LIMITS } from '../api/limits.ts';
import { realTimers } from '../timers.ts';
import { limitConnections } from './connections.ts';
import { listenHttp } from './listen.ts';

test('one address has so many connections and no more, until it closes some', async () => {
  const server = createServer((_, response) => response.end('ok'));
  const accepted: Socket[] = [];
  server.on('connection', (socket) => accepted.push(socket));
  limitConnections(server, { all: 100, each: 3 }, () => false);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  /** One more connection, and whether the server answers on it or closes it. */
  const open = async (): Promise<{ socket: Socket; isTaken: boolean }> => {
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    const answer = new Promise<boolean>((resolve) => {
      socket.once('data', () => resolve(true)).once('close', () => resolve(false));
    });
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    return { socket, isTaken: await answer };
  };
  const opened = [await open(), await open(), await open(), await open()];
  expect(opened.map(({ isTaken }) => isTaken)).toEqual([true, true, true, false]);
  const [first] = accepted;
  const gone = first && once(first, 'close');
  opened[0]?.socket.destroy();
  await gone;
  const again = await open();
  expect(again.isTaken).toBe(true);
  for (const { socket } of [...opened, again]) socket.destroy();
  await new Promise((closed) => server.close(closed));
});

test.each([
  ['headers that do not end', 'GET / HTTP/1.1\r\nHost: x\r\nx-y: z'],
  ['a body that does not end', 'POST / HTTP/1.1\r\nHost: x\r\ncontent-length: 100\r\n\r\n{'],
])('%s are cut off', async (_, bytes) => {
  // The same limits, sooner.
  const limits = {
    ...SERVER_LIMITS,
    headersTimeout: 50,
    requestTimeout: 100,
    connectionsCheckingInterval: 10,
  };
  const listening = await listenHttp({ host: '127.0.0.1', port: 0, timers: realTimers, limits });
  const asked = new Hono();
  asked.post('/', async (context) => context.text(await context.req.text().catch(() => '')));
  listening.serve(asked);
  const socket = connect(listening.port, '127.0.0.1').on('error', () => {});
  let answer = '';
  socket.on('data', (chunk) => (answer += String(chunk)));
  socket.write(bytes);
  await new Promise((closed) => socket.once('close', closed));
  expect(answer === '' || answer.startsWith('HTTP/1.1 408 ')).toBe(true);
  await listening.close();
});

test('headers of more than 16 KiB are refused', async () => {
  const listening = await listenHttp({ host: '127.0.0.1', port: 0, timers: realTimers });
  const answer = await fetch(`http://127.0.0.1:${listening.port}/`, {
    headers: { 'x-y': 'z'.repeat(17_000) },
  });
  expect(answer.status).toBe(431);
  await answer.body?.cancel();
  await listening.close();
});
