import { once } from 'node:events';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import { TestClock } from '../../workload/testing.ts';
import { Downstream } from '../http1/downstream.ts';
import type { Gate } from '../http1/gate.ts';
import { Pool } from '../http1/pool.ts';
import { DEFAULT_TIMEOUTS } from '../settings.ts';
import {
  closeAll,
  dial,
  enforcement,
  httpApp,
  inbound,
  policy,
  readAll,
  readUntil,
  startApp,
  until,
  view,
} from '../proxy.test-helper.ts';

afterEach(closeAll);

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const GET = 'GET /a HTTP/1.1\r\nHost: db\r\n\r\n';

/** Waits until a number has not grown for many turns of the loop. */
async function settled(read: () => number): Promise<number> {
  let before = -1;
  for (let still = 0; still < 200; ) {
    await new Promise(setImmediate);
    const now = read();
    still = now === before ? still + 1 : 0;
    before = now;
  }
  return before;
}

/** How often a text comes, read to the end of so many. */
function count(socket: Socket, word: string, wanted: number): Promise<void> {
  let found = 0;
  let tail = '';
  return new Promise((resolve) => {
    socket.on('data', (bytes: Buffer) => {
      const text = tail + bytes.toString('latin1');
      const pieces = text.split(word);
      found += pieces.length - 1;
      tail = (pieces.at(-1) ?? '').slice(-(word.length - 1));
      if (found === wanted) resolve();
    });
    socket.resume();
  });
}

describe('a caller that sends and does not read', () => {
  it('is not read from either: answers of the proxy do not pile up', async () => {
    const denied = { enforcements: [enforcement([policy([])])] };
    const { port, recorder } = await inbound({ host: '127.0.0.1', port: 1 }, denied);
    const socket = await dial(port);
    socket.pause();
    const all = 300_000;
    socket.write(GET.repeat(all));
    expect(await settled(() => recorder.accesses.length)).toBeLessThan(all / 2);
    await count(socket, 'access denied\n', all);
    expect(recorder.accesses).toHaveLength(all);
  });

  it('nor do answers of the program', async () => {
    const size = 60_000;
    const app = await httpApp(
      `HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n${'x'.repeat(size - 4)}END\n`,
    );
    const { port } = await inbound(app.address);
    const socket = await dial(port);
    socket.pause();
    const all = 1_000;
    socket.write(GET.repeat(all));
    expect(await settled(() => app.requests.length)).toBeLessThan(all / 2);
    await count(socket, 'END\n', all);
    expect(app.requests).toHaveLength(all);
  });

  it('gets the whole of a last answer, however slowly it reads', async () => {
    const clock = new TestClock();
    const written: (() => void)[] = [];
    const slow = new Duplex({
      read: () => {},
      write: (_chunk, _encoding, done) => void written.push(done),
    });
    const dial = () => () => {};
    const pool = new Pool({ dial, clock, idleMs: 1 });
    const gate: Gate = { admit: () => false, ended: () => {}, added: Buffer.alloc(0), fault: () => {} };
    // Of a socket nothing else is used here.
    const { isIdle } = new Downstream(slow as Socket, { gate, pool, clock, timeouts: DEFAULT_TIMEOUTS });
    expect(isIdle).toBe(true);
    slow.push('GET /a HTTP/1.1\r\nHost: db\r\nConnection: close\r\n\r\n');
    await until(() => written.length === 1);
    clock.advance(DEFAULT_TIMEOUTS.linger + 1);
    expect(slow.destroyed).toBe(false);
    written[0]?.();
    await once(slow, 'finish');
    clock.advance(DEFAULT_TIMEOUTS.linger - 1);
    expect(slow.destroyed).toBe(false);
    clock.advance(1);
    expect(slow.destroyed).toBe(true);
  });
});

describe('requests that a program could understand otherwise', () => {
  it('an upgrade with a body in chunks goes on as a request without an upgrade', async () => {
    const app = await httpApp(OK);
    const { port } = await inbound(app.address);
    const socket = await dial(port);
    socket.write(
      'GET /ws HTTP/1.1\r\nHost: db\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    );
    await readUntil(socket, /ok$/);
    expect(app.requests[0]).not.toMatch(/upgrade/i);
  });

  it('a name that becomes that of the caller in a variable is taken away: "." and all else that is no letter', async () => {
    const app = await httpApp(OK);
    const { port } = await inbound(app.address);
    const socket = await dial(port);
    const names = [..."!#$%&'*+-.^_`|~"]
      .map((c) => `X${c}Forwarded${c}Client${c}Cert: URI=evil\r\n`)
      .join('');
    socket.write(`GET /a HTTP/1.1\r\nHost: db\r\n${names}\r\n`);
    await readUntil(socket, /ok$/);
    expect(app.requests[0]).not.toContain('evil');
  });

  it.each(['Content.Length: 5', 'Content_Length: 5', 'Transfer.Encoding: chunked'])(
    '%s is refused',
    async (field) => {
      const { port } = await inbound({ host: '127.0.0.1', port: 1 });
      const socket = await dial(port);
      socket.write(`POST /a HTTP/1.1\r\nHost: db\r\n${field}\r\n\r\n`);
      expect(await readAll(socket)).toMatch(/^HTTP\/1.1 400 /);
    },
  );

  it.each(['http://db@evil/a', 'http://db#@evil/a', 'http://db:80@evil/'])(
    'the target %s is refused',
    async (target) => {
      const { port } = await inbound({ host: '127.0.0.1', port: 1 });
      const socket = await dial(port);
      socket.write(`GET ${target} HTTP/1.1\r\nHost: ${/\/\/([^@#]*)/.exec(target)?.[1]}\r\n\r\n`);
      expect(await readAll(socket)).toMatch(/^HTTP\/1.1 400 /);
    },
  );

  it('many Connection fields that name many others are refused: each name costs a look at every field', async () => {
    const { port } = await inbound({ host: '127.0.0.1', port: 1 });
    const socket = await dial(port);
    const names = Array.from({ length: 16 }, (_, i) => `x${i}`).join(',');
    socket.write(`GET /a HTTP/1.1\r\nHost: db\r\n${`Connection: ${names}\r\n`.repeat(100)}\r\n`);
    expect(await readAll(socket)).toMatch(/^HTTP\/1.1 400 /);
  });
});

describe('a connection to the program is not used for another caller', () => {
  it('after an answer that began before the request was through', async () => {
    let seen = '';
    const app = await startApp((socket) => {
      socket.on('data', (bytes: Buffer) => {
        seen += bytes.toString('latin1');
        if (seen.endsWith('\r\n\r\n')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no');
        else if (seen.endsWith('abc')) socket.write('k');
      });
    });
    const { port } = await inbound(app.address);
    const socket = await dial(port);
    socket.write('POST /a HTTP/1.1\r\nHost: db\r\nContent-Length: 3\r\n\r\n');
    await readUntil(socket, /o$/);
    socket.write('abc');
    await readUntil(socket, /k$/);
    socket.write(GET);
    await until(() => seen.includes('GET'));
    expect(app.sockets).toHaveLength(2);
  });

  it('after an answer to a body that the program was to ask for, and did not', async () => {
    const app = await httpApp(OK);
    const { port } = await inbound(app.address);
    const first = await dial(port);
    first.write('POST /a HTTP/1.1\r\nHost: db\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc');
    await readUntil(first, /ok$/);
    const second = await dial(port, view('/job'));
    second.write(GET);
    await readUntil(second, /ok$/);
    expect(app.sockets).toHaveLength(2);
  });
});

describe('a PROXY header of a stranger', () => {
  it.each(['', 'PROX'])(
    'does not pass by waiting long after "%s", while the program goes on to speak',
    async (begin) => {
      const app = await startApp(() => {});
      const clock = new TestClock();
      const { port, context, log } = await inbound(app.address, { clock, route: { protocol: 'tcp' } });
      const socket = await dial(port);
      if (begin !== '') socket.write(begin);
      await until(() => app.sockets.length === 1);
      const program = app.sockets[0] as Socket;
      let received = '';
      program.on('data', (bytes: Buffer) => (received += bytes.toString('latin1')));
      for (let i = 0; i < 3; i++) {
        clock.advance(context.timeouts.tunnel - 1000);
        const heard = readUntil(socket, /x/);
        program.write('x');
        await heard;
      }
      socket.write('PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n'.slice(begin.length));
      await readAll(socket);
      expect(received).toBe('');
      expect(log[0]?.reason).toContain('PROXY');
    },
  );
});
