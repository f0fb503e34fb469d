import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { Server } from '@grpc/grpc-js';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { InterlockError } from '../../access/index.ts';
import { ManualTimers } from '../../node/manual-timers.test-helper.ts';
import { newServerIdentity } from '../identity/server-identity.ts';
import { TestPlane } from '../testing.test-helper.ts';
import { AgentListener, type ServerIdentity } from './listener.ts';

const MOST = 3;
let plane: TestPlane;
let listener: AgentListener;
let server: Server;
let timers: ManualTimers;
let identity: ServerIdentity;
let port = 0;
const refused: string[] = [];

beforeAll(async () => {
  plane = await TestPlane.make();
  timers = new ManualTimers();
  server = new Server();
  ({ identity } = await newServerIdentity(plane.plane, plane.timers.now()));
  listener = new AgentListener({
    host: '127.0.0.1',
    port: 0,
    identity,
    server,
    timers,
    verify: () => {
      throw new InterlockError('untrusted', 'x', 'nobody here has a good certificate');
    },
    onRefused: (_, reason) => refused.push(reason),
    maxStrangers: { all: MOST, each: MOST },
    maxHandshakes: { all: MOST, each: MOST - 1 },
    isExempt: (address) => address === '127.0.0.1',
  });
  port = await listener.listen();
});
afterAll(async () => {
  listener.closeAll();
  server.forceShutdown();
  await plane.remove();
});
beforeEach(() => refused.splice(0));

function open(options: ConnectionOptions & { localAddress?: string } = {}): TLSSocket {
  const socket = connect({
    port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
    ...options,
  });
  return socket.on('error', () => {}).resume();
}
/** Resolves once a connection has ended. */
const ended = (socket: { once(event: 'close', call: () => void): unknown }) =>
  new Promise<void>((resolve) => socket.once('close', resolve));
/** Resolves once the server has said something of HTTP/2: it has taken the connection. */
const taken = (socket: TLSSocket) =>
  new Promise<boolean>((resolve) => {
    socket.once('data', () => resolve(true)).once('close', () => resolve(false));
  });

describe('a connection without a certificate', () => {
  test('is one of so many, and ends after a minute to make room', async () => {
    const sockets = [];
    for (let i = 0; i < MOST; i++) {
      const socket = open();
      sockets.push(socket);
      expect(await taken(socket)).toBe(true);
    }
    const more = open();
    expect(await taken(more)).toBe(false);
    expect(refused).toEqual(['too many connections without a certificate']);
    const all = Promise.all(sockets.map(ended));
    await timers.advance(60_000);
    await all;
    const next = open();
    expect(await taken(next)).toBe(true);
    const over = ended(next);
    await timers.advance(60_000);
    await over;
  });

  test('whose certificate is refused is one of them: anybody can make one', async () => {
    const shown = { key: identity.key, cert: identity.chain };
    const sockets = Array.from({ length: MOST }, () => open(shown));
    expect(await Promise.all(sockets.map(taken))).toEqual(sockets.map(() => true));
    for (const one of [open(shown), open()]) await ended(one);
    expect(refused.filter((reason) => reason.includes('too many'))).toHaveLength(2);
    const gone = Promise.all(sockets.map(ended));
    await timers.advance(60_000);
    await gone;
  });

  test('that speaks no HTTP/2 is closed', async () => {
    const socket = open({ ALPNProtocols: ['http/1.1'] });
    await ended(socket);
    const none = connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
      .on('error', () => {})
      .resume();
    await ended(none);
    expect(refused.length).toBeGreaterThanOrEqual(1);
  });
});

test('bytes that are no TLS are refused', async () => {
  const socket = connectTcp(port, '127.0.0.1')
    .on('error', () => {})
    .resume();
  const over = ended(socket);
  await once(socket, 'connect');
  socket.write('GET / HTTP/1.1\r\n\r\n');
  await over;
  expect(refused).toHaveLength(1);
});

test('less than TLS 1.3 is refused', async () => {
  const socket = open({ minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' });
  await ended(socket);
  expect(refused).toEqual([expect.stringContaining('unsupported protocol')]);
});

test('no session is resumed: each connection is judged anew', async () => {
  const first = open();
  const offered = once(first, 'session');
  expect(await taken(first)).toBe(true);
  // A reference to a session is offered all the same, as TLS 1.3 has it.
  const [session] = (await offered) as [Buffer];
  const over = ended(first);
  first.destroy();
  await over;
  const again = open({ session });
  expect(await taken(again)).toBe(true);
  expect(again.isSessionReused()).toBe(false);
  const end = ended(again);
  again.destroy();
  await end;
});

describe('connections that have not finished their handshake', () => {
  /** The beginning of a ClientHello, and no more. Resolves once the server has it, or has closed. */
  const hold = async (localAddress: string, says = true) => {
    const socket = connectTcp({ port, host: '127.0.0.1', localAddress })
      .on('error', () => {})
      .resume();
    const over = ended(socket);
    await once(socket, 'connect');
    if (says) socket.write(Buffer.from([22, 3, 1, 0, 200, 1, 0]));
    return { socket, over };
  };
  const under = (count: number) => vi.waitUntil(() => listener.crowds.handshakes.open === count, 30_000);

  test('are bounded for one address, and in all: nobody who is quick is turned away for them, and those who dawdle go', async () => {
    const { handshakes } = listener.crowds;
    const before = handshakes.refused;
    const held = [await hold('127.0.0.2'), await hold('127.0.0.2', false)];
    await under(2);
    await (await hold('127.0.0.2')).over;
    expect(refused.filter((reason) => reason === 'too many handshakes at one time')).toHaveLength(1);
    // Somebody else is let in, and makes room again when he is.
    const other = open({ localAddress: '127.0.0.3' });
    expect([await taken(other), handshakes.open]).toEqual([true, 2]);
    held.push(await hold('127.0.0.1'));
    await under(3);
    // A load balancer too is bounded with all others.
    await (await hold('127.0.0.1')).over;
    await (await hold('127.0.0.3')).over;
    expect(handshakes.refused - before).toBe(3);
    await timers.advance(3000);
    // The first one has had its time.
    const late = open({ localAddress: '127.0.0.4' });
    expect(await taken(late)).toBe(true);
    await held[0]?.over;
    expect([handshakes.open, handshakes.refused - before]).toEqual([2, 4]);
    const own = open({ localAddress: '127.0.0.2' });
    expect([await taken(own), handshakes.open]).toEqual([true, 2]);
    for (const each of held) each.socket.destroy();
    await under(0);
    for (const each of [other, late, own]) each.destroy();
  });

  test('leave no trace, however they end', async () => {
    const garbage = await hold('127.0.0.2', false);
    garbage.socket.write('GET / HTTP/1.1\r\n\r\n');
    await garbage.over;
    (await hold('127.0.0.2')).socket.resetAndDestroy();
    (await hold('127.0.0.2', false)).socket.end();
    await under(0);
    const done = open({ localAddress: '127.0.0.2' });
    expect(await taken(done)).toBe(true);
    const over = ended(done);
    done.destroy();
    await over;
    await under(0);
  });
});
