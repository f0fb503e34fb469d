import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { authorizeAny, connectMtls, X509Source } from '../../src/workload/index.ts';
import { Opened } from '../identity/harness.ts';
import { idOf, type RunningProxy } from './processes.ts';
import { Estate, eventually, noShop, policyOf, RULES } from './shop.ts';

const opened = new Opened();
afterAll(() => opened.close());
const alone = noShop('hostile connections');

const TESTER = `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: tester }
spec: { spiffeId: /ns/shop/sa/web, selectors: ["unix:uid:0"], ttl: 1h }
`;
const MIB = 1024 * 1024;
const BIG = 64 * MIB;
/** Descriptors that this process and the proxy may have, less what both need for themselves. */
const IDLE = Math.min(10_000, openFiles() - 500);

function openFiles(): number {
  const limits = readFileSync('/proc/self/limits', 'utf8');
  const most = /^Max open files +\d+ +(\d+)/m.exec(limits)?.[1];
  return Number(most ?? 1024);
}

/** All that comes until the other end closes. */
function all(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    socket.on('data', (bytes: Buffer) => (text += bytes.toString('latin1')));
    socket.on('error', () => {});
    socket.on('close', () => resolve(text));
  });
}

describe.skipIf(alone !== undefined)('a proxy under hostile connections', () => {
  let estate: Estate;
  let proxy: RunningProxy;
  let good: X509Source;
  let port: number;

  const plain = (localAddress = '127.0.0.1') => {
    const socket = connect({ port, host: '127.0.0.1', localAddress });
    socket.on('error', () => {});
    opened.later(() => socket.destroy());
    return socket;
  };
  const mutual = async () => {
    const at = { host: '127.0.0.1', port };
    const { socket } = await connectMtls(at, { source: good, authorize: authorizeAny() });
    socket.on('error', () => {});
    opened.later(() => socket.destroy());
    return socket;
  };
  const get = (path: string, more = '') =>
    `GET ${path} HTTP/1.1\r\nhost: x\r\n${more}connection: close\r\n\r\n`;
  /** Resident memory of the proxy, bytes. */
  const memory = () => {
    const status = readFileSync(`/proc/${proxy.child.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
  };
  /** Who calls as ever is answered as ever. */
  async function serves(): Promise<void> {
    const socket = await mutual();
    socket.write(get('/items'));
    expect(await all(socket)).toMatch(/^HTTP\/1\.1 200 .*hello$/s);
  }

  beforeAll(async () => {
    estate = await Estate.start(opened, { rules: `${RULES}---${TESTER}` });
    good = await X509Source.open({ endpoint: estate.node.endpoint });
    opened.later(() => good.close());
    const chunk = Buffer.alloc(64 * 1024, 'x');
    const server = createServer((request, response) => {
      if (request.url !== '/big') {
        request.resume().on('end', () => response.end('hello'));
        return;
      }
      response.writeHead(200, { 'content-length': BIG });
      let left = BIG;
      const more = () => {
        while (left > 0) {
          left -= chunk.length;
          if (!response.write(chunk)) break;
        }
        if (left <= 0) response.end();
      };
      response.on('drain', more);
      more();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    opened.later(() => {
      server.closeAllConnections();
      server.close();
    });
    const forward = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const timeouts = { handshake: 1500, head: 1000, idle: 60_000, linger: 200 };
    proxy = await estate.proxy('catalogue', {
      inbound: [{ listen: '127.0.0.1:0', forward, port: 8080 }],
      timeouts,
    });
    port = proxy.inbound[0] ?? 0;
    const yaml = policyOf('catalogue', {
      web: { from: ['web'], to: '{ http: { methods: [GET, POST], paths: [/items, /big] } }' },
    });
    const workload = idOf('catalogue');
    await estate.plane.api.post('/v1/policies', { yaml });
    for (const move of [{ to: 'shadow' }, { to: 'canary', share: 1 }, { to: 'enforced' }] as const)
      await estate.plane.api.call('rollouts.move', {
        params: { workload },
        body: { ...move, anyway: 'a test' },
      });
    await estate.run(0, 'authentication', workload, 'strict');
  });

  test('garbage instead of TLS ends the connection, and nothing else', async () => {
    const record = (type: number, length: number, rest: Buffer) =>
      Buffer.concat([Buffer.from([type, 3, 1, length >> 8, length & 255]), rest]);
    const noise = () => {
      const bytes = randomBytes(200);
      // No version of TLS, and no SSL 2.0: else it could be the beginning of something.
      bytes.fill(0xff, 1, 3);
      return bytes;
    };
    const garbage = [
      ...Array.from({ length: 100 }, noise),
      // A record that is too long, an alert, data before the handshake.
      record(22, 65_535, randomBytes(17_000)),
      record(21, 2, Buffer.from([2, 40])),
      record(23, 5, Buffer.from('hello')),
      // SSL 2.0; HTTP.
      Buffer.from('802e0100020015000000100100800200800600400400800700c0', 'hex'),
      Buffer.from(get('/items')),
    ];
    // They break off before there is anything to refuse: a record of no bytes, a ClientHello that says of itself that it
    // is 16 MiB long.
    const unfinished = [
      record(22, 0, Buffer.alloc(0)),
      record(22, 9, Buffer.from([1, 255, 255, 255, 3, 3, 0, 0, 0])),
    ];
    const refused = () => estate.denials('catalogue', ({ from }) => from === 'unauthenticated:127.0.0.1');
    expect(await refused()).toBe(0);
    await Promise.all(
      [...garbage, ...unfinished].map(async (bytes) => {
        const socket = plain();
        socket.write(bytes);
        const answer = await all(socket.end());
        expect(answer).not.toContain('HTTP');
      }),
    );
    // Each that could be refused is in the evidence, once.
    await eventually(async () => (await refused()) >= garbage.length, 'a refusal of each', refused);
    expect(await refused()).toBe(garbage.length);
    await serves();
  });

  test('half a handshake is given its time, and no more', async () => {
    const hello = plain();
    hello.write(Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252]));
    const silent = plain();
    // Both ends by the proxy, without a word from here.
    expect(await Promise.all([all(hello), all(silent)])).toEqual(['', '']);
    await serves();
  });

  test('who stops sending is still answered, and who goes away in the middle leaves nothing open', async () => {
    const half = await mutual();
    half.end(get('/items').replace('connection: close', 'x: y'));
    expect(await all(half)).toMatch(/^HTTP\/1\.1 200 .*hello$/s);
    const gone = await Promise.all(Array.from({ length: 20 }, mutual));
    for (const [i, socket] of gone.entries()) {
      socket.write(
        i % 2 === 0 ? get('/big') : 'POST /items HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhal',
      );
      socket.destroy();
    }
    await openConnections(0);
    await serves();
  });

  test('a head that comes byte by byte is cut off in time; a body may take its time', async () => {
    const slow = await mutual();
    const dribble = setInterval(() => slow.writable && slow.write('x'), 100);
    slow.write('GET /items HTTP/1.1\r\nhost: ');
    expect(await all(slow)).toMatch(/^HTTP\/1\.1 408 /);
    clearInterval(dribble);
    const patient = await mutual();
    patient.write('POST /items HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 15\r\n\r\n');
    let left = 15;
    const body = setInterval(() => left-- > 0 && patient.write('x'), 100);
    expect(await all(patient)).toMatch(/^HTTP\/1\.1 200 /);
    clearInterval(body);
    await serves();
  });

  test('a reader that does not read fills no memory, and gets all of it when it does', async () => {
    const before = memory();
    const readers = await Promise.all(Array.from({ length: 10 }, mutual));
    for (const reader of readers) {
      reader.pause();
      reader.write(get('/big'));
    }
    // What is read meanwhile through the same proxy shows that time has passed for the others as well.
    const other = await mutual();
    other.write(get('/big'));
    let length = 0;
    other.on('data', (bytes: Buffer) => (length += bytes.length));
    await new Promise((resolve) => other.on('close', resolve));
    expect(length).toBeGreaterThan(BIG);
    const grown = memory() - before;
    console.log(
      `10 readers of ${BIG / MIB} MiB that do not read: the proxy has grown by ${Math.round(grown / MIB)} MiB.`,
    );
    // All of it would be 640 MiB.
    expect(grown).toBeLessThan(150 * MIB);
    const [first, ...rest] = readers;
    let read = 0;
    first?.on('data', (bytes: Buffer) => (read += bytes.length));
    first?.resume();
    await new Promise((resolve) => first?.on('close', resolve));
    expect(read).toBeGreaterThan(BIG);
    for (const reader of rest) reader.destroy();
    await serves();
  });

  test('heads of a megabyte are refused, whatever they are made of', async () => {
    const heads = [
      get('/items', `x-long: ${'y'.repeat(MIB)}\r\n`),
      get('/items', 'x: y\r\n'.repeat(MIB / 6)),
      get(`/items?${'y'.repeat(MIB)}`),
      `GET /items HTTP/1.1\r\n${'y'.repeat(MIB)}`,
    ];
    for (const head of heads) {
      const socket = await mutual();
      socket.write(head);
      expect(await all(socket)).toMatch(/^HTTP\/1\.1 4(00|14|31) /);
    }
    await serves();
  });

  test(`${IDLE} idle connections take little memory, and keep nobody waiting`, async () => {
    // In plain text at a port that takes both; a part of them by mutual TLS, which costs a handshake each.
    await estate.run(0, 'authentication', idOf('catalogue'), 'permissive');
    const before = memory();
    const sockets: Socket[] = [];
    const secure = Math.floor(IDLE / 20);
    // From another address than those who call: no address may take all the room there is.
    const idle = async () => {
      const socket = plain('127.0.0.2');
      sockets.push(socket);
      await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
      // It has asked once, in plain text, and then nothing more comes.
      socket.write(get('/items').replace('connection: close', 'x: y'));
      await new Promise((resolve) => socket.once('data', resolve));
    };
    // Some at a time: a handshake has a time limit here, and this process makes the other half of each.
    for (let left = secure; left > 0; left -= 20)
      sockets.push(...(await Promise.all(Array.from({ length: Math.min(20, left) }, mutual))));
    for (let left = IDLE - secure; left > 0; left -= 200)
      await Promise.all(Array.from({ length: Math.min(200, left) }, idle));
    await openConnections(IDLE);
    await serves();
    const grown = memory() - before;
    console.log(
      `${IDLE} idle connections, ${secure} of them mutual TLS: ${Math.round(grown / MIB)} MiB, ${(grown / IDLE / 1024).toFixed(1)} KiB each.`,
    );
    expect(grown).toBeLessThan(400 * MIB);
    for (const socket of sockets) socket.destroy();
    await openConnections(0);
    await serves();
  });

  /** Waits until the proxy has as many connections open. */
  async function openConnections(count: number): Promise<void> {
    const { request } = await import('node:http');
    const now = () =>
      new Promise<number>((resolve, reject) => {
        request({ socketPath: proxy.socketPath, path: '/v1/state' }, (response) => {
          let text = '';
          response.on('data', (bytes: Buffer) => (text += String(bytes)));
          response.on('end', () => resolve((JSON.parse(text) as { connections: number }).connections));
        })
          .on('error', reject)
          .end();
      });
    await eventually(
      async () => (await now()) === count,
      `${count} open connections`,
      async () => [await now(), proxy.log.lines.slice(-5)],
    );
  }
});
