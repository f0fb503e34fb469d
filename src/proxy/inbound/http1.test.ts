import { afterEach, describe, expect, it } from 'vitest';
import {
  closeAll,
  DB,
  dial,
  enforcement,
  httpApp,
  inbound,
  policy,
  readAll,
  readUntil,
  startApp,
  until,
  WEB,
  web,
  view,
} from '../proxy.test-helper.ts';

afterEach(closeAll);

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const GET = 'GET /a HTTP/1.1\r\nHost: db\r\n\r\n';
const rule = (paths: string[], methods = ['GET']) =>
  policy([{ name: 'web', from: [{ workload: WEB }], to: [{ http: { methods, paths } }] }]);

describe('HTTP/1.1 through mutual TLS', () => {
  it('reaches the program with the bytes that were sent, and who sent them', async () => {
    const app = await httpApp(OK);
    const { port, recorder } = await inbound(app.address);
    const socket = await dial(port);
    socket.write('GET /a?b HTTP/1.1\r\nhost: db\r\nX-Odd:   spaced \r\n\r\n');
    expect(await readUntil(socket, /ok$/)).toBe(OK);
    expect(app.requests).toEqual([
      `GET /a?b HTTP/1.1\r\nx-forwarded-client-cert: By=${DB};URI=${WEB}\r\nhost: db\r\nX-Odd:   spaced \r\n\r\n`,
    ]);
    expect(recorder.lines).toEqual(['GET /a /web ok']);
    expect(recorder.accesses[0]?.caller).toMatchObject({
      isMutual: true,
      group: 'X25519MLKEM768',
      address: '127.0.0.1',
    });
  });

  it('takes away what callers say of who they are, in any spelling', async () => {
    const app = await httpApp(OK);
    const { port } = await inbound(app.address);
    const socket = await dial(port);
    socket.write(
      'GET / HTTP/1.1\r\nHost: db\r\nX-FORWARDED-Client-Cert: URI=spiffe://evil\r\nx_forwarded_client_cert: URI=spiffe://evil\r\nx-forwarded-client-cert: a\r\n\r\n',
    );
    await readUntil(socket, /ok$/);
    expect(app.requests[0]?.match(/client.cert/gi)).toHaveLength(1);
    expect(app.requests[0]).not.toContain('evil');
  });

  it('sends on the path that was judged', async () => {
    const app = await httpApp(OK);
    const { port, recorder } = await inbound(app.address, {
      enforcements: [enforcement([rule(['/public/x'])])],
    });
    const socket = await dial(port);
    socket.write('GET /private/..//public/%78?a=/../b HTTP/1.1\r\nHost: db\r\n\r\n');
    await readUntil(socket, /ok$/);
    expect(app.requests[0]).toMatch(/^GET \/public\/x\?a=\/\.\.\/b HTTP\/1\.1\r\n/);
    expect(recorder.lines).toEqual(['GET /public/x /web ok']);
  });

  it('refuses with 403 and tells the caller nothing; the rule goes to the log', async () => {
    const app = await httpApp(OK);
    const denying = policy([]);
    const { port, recorder, log } = await inbound(app.address, {
      enforcements: [
        enforcement([
          {
            ...denying,
            spec: {
              ...denying.spec,
              deny: [{ name: 'no-web', from: [{ workload: WEB }], to: [{ http: {} }] }],
            },
          },
        ]),
      ],
    });
    const socket = await dial(port);
    socket.write(GET + GET);
    const answers = await readUntil(socket, /denied\n[^]*denied\n/);
    expect(answers.match(/HTTP\/1.1 403/g)).toHaveLength(2);
    expect(answers).not.toMatch(/rule|policy|no-web|spiffe|interlock/i);
    expect(app.requests).toEqual([]);
    expect(recorder.lines).toEqual(['GET /a /web denied', 'GET /a /web denied']);
    expect(log[0]).toMatchObject({ event: 'denied', reason: 'deny db/no-web', workload: DB });
  });

  it('does not read the body of a refused request, and closes', async () => {
    const { port } = await inbound(
      { host: '127.0.0.1', port: 1 },
      { enforcements: [enforcement([policy([])])] },
    );
    const socket = await dial(port);
    socket.write('POST /a HTTP/1.1\r\nHost: db\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n');
    expect(await readAll(socket)).toMatch(/^HTTP\/1.1 403 [^]*connection: close\r\n/);
  });

  it('judges every request of a connection by the set of that moment', async () => {
    const app = await httpApp(OK);
    const { port, verdicts, recorder } = await inbound(app.address);
    const socket = await dial(port);
    socket.write(GET);
    expect(await readUntil(socket, /ok$/)).toContain('200');
    verdicts.replace([enforcement([rule(['/other'])])]);
    socket.write(GET);
    expect(await readUntil(socket, /denied\n$/)).toContain('403');
    verdicts.replace([enforcement(undefined, 'strict', [rule(['/other'])])]);
    socket.write(GET);
    expect(await readUntil(socket, /ok$/)).toContain('200');
    expect(
      recorder.accesses.map(({ judgement }) => [judgement?.before.decidedBy, judgement?.after?.allowed]),
    ).toEqual([
      ['no-policy', undefined],
      ['no-rule', false],
      ['no-policy', false],
    ]);
  });

  it('answers requests that come at once in their order', async () => {
    const app = await httpApp((request) => {
      const path = /GET (\S+)/.exec(request)?.[1] ?? '';
      return `HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`;
    });
    const { port } = await inbound(app.address, { enforcements: [enforcement([rule(['/1', '/3', '/4'])])] });
    const socket = await dial(port);
    socket.write([1, 2, 3, 4].map((n) => `GET /${n} HTTP/1.1\r\nHost: db\r\n\r\n`).join(''));
    const text = await readUntil(socket, /\/4$/);
    expect(text.match(/\/[1-4]$|\/[134](?=HTTP)|denied/gm)).toEqual(['/1', 'denied', '/3', '/4']);
    expect(app.requests).toHaveLength(3);
  });

  it('uses a connection to the program for the next request, whoever sends it', async () => {
    const app = await httpApp(OK);
    const { port } = await inbound(app.address);
    for (const caller of [web, view('/job')]) {
      const socket = await dial(port, caller);
      socket.write(GET);
      await readUntil(socket, /ok$/);
    }
    expect(app.sockets).toHaveLength(1);
    expect(app.requests.map((text) => /URI=\S+\/(\w+)/.exec(text)?.[1])).toEqual(['web', 'job']);
  });

  it('opens another connection where the one at rest had been closed unseen', async () => {
    const app = await httpApp(OK);
    const { port, recorder } = await inbound(app.address);
    const socket = await dial(port);
    socket.write(GET);
    await readUntil(socket, /ok$/);
    // The program closes just as the next request comes.
    app.sockets[0]?.resetAndDestroy();
    socket.write(GET);
    expect(await readUntil(socket, /ok$/)).toContain('200');
    expect(recorder.lines).toEqual(['GET /a /web ok', 'GET /a /web ok']);
  });
});

describe('bodies', () => {
  it.each([
    ['of a given length', 'Content-Length: 11\r\n\r\nhello world'],
    [
      'in chunks',
      'Trailer: trailer-a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nTrailer-A: b\r\n\r\n',
    ],
  ])('%s go through as they are, in any pieces', async (_, message) => {
    const received: string[] = [];
    const app = await startApp((socket) => {
      let text = '';
      socket.on('data', (bytes: Buffer) => {
        text += bytes.toString('latin1');
        if (!text.endsWith(message)) return;
        received.push(text);
        text = '';
        socket.write(`HTTP/1.1 200 OK\r\n${message}`);
      });
    });
    const { port } = await inbound(app.address);
    const socket = await dial(port);
    for (let i = 0; i < 2; i++) {
      for (const byte of `POST /a HTTP/1.1\r\nHost: db\r\n${message}`) socket.write(byte);
      expect(await readUntil(socket, new RegExp(`${message.slice(-6).replaceAll('\r\n', '\\r\\n')}$`))).toBe(
        `HTTP/1.1 200 OK\r\n${message}`,
      );
    }
    expect(received).toHaveLength(2);
  });

  it.each([
    ['that nobody announced', 'x-a: 1\r\n'],
    ['that another line hides the announcement of', 'Trailer: x-tenant\r\nConnection: trailer\r\n'],
    ['that would add to what was judged', 'Trailer: x-tenant\r\nX_Tenant: a\r\n'],
    ['that no request may have', 'Trailer: range\r\n', 'Range'],
  ])('end before a trailer %s', async (_, fields, name = 'X-Tenant') => {
    const app = await httpApp('');
    const { port, context, log } = await inbound(app.address);
    const socket = await dial(port);
    socket.write(`POST /a HTTP/1.1\r\nHost: db\r\n${fields}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n`);
    socket.write(`0\r\n${name}: b\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: db\r\n\r\n`);
    expect(await readAll(socket)).toMatch(/^HTTP\/1.1 400 /);
    expect(app.requests.join('')).not.toMatch(/: b|smuggled/);
    expect(context.counters.badRequests).toBe(1);
    expect(log[0]?.reason).toContain('as a trailer, which the head does not announce');
  });

  it.each([
    ['HEAD', 'HEAD /a HTTP/1.1', 'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n'],
    ['204', 'GET /a HTTP/1.1', 'HTTP/1.1 204 No Content\r\n\r\n'],
    ['304', 'GET /a HTTP/1.1', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n'],
  ])('are not waited for after %s', async (_, line, response) => {
    const app = await httpApp(response);
    const { port } = await inbound(app.address);
    const socket = await dial(port);
    for (let i = 0; i < 2; i++) {
      socket.write(`${line}\r\nHost: db\r\n\r\n`);
      expect(await readUntil(socket, /\r\n\r\n$/)).toBe(response);
    }
  });

  it('that end with the connection end the caller’s connection as well', async () => {
    const app = await httpApp((_, socket) => {
      setImmediate(() => socket.end('the end'));
      return 'HTTP/1.1 200 OK\r\n\r\nuntil ';
    });
    const { port } = await inbound(app.address);
    const socket = await dial(port);
    socket.write(GET);
    const text = await readAll(socket);
    expect(text).toMatch(/^HTTP\/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end$/);
  });

  it('are not sent before the program asks, where the caller waits for it', async () => {
    const app = await httpApp((request) =>
      request.includes('Expect') ? 'HTTP/1.1 100 Continue\r\n\r\n' : OK,
    );
    const { port } = await inbound(app.address);
    const socket = await dial(port);
    socket.write('POST /a HTTP/1.1\r\nHost: db\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n');
    expect(await readUntil(socket, /\r\n\r\n$/)).toBe('HTTP/1.1 100 Continue\r\n\r\n');
    socket.write('abc');
    expect(await readUntil(socket, /ok$/)).toBe(OK);
    expect(app.requests[1]).toBe('abc');
  });

  it('whose chunks are broken end both connections before the bad byte', async () => {
    const received: string[] = [];
    const app = await startApp((socket) =>
      socket.on('data', (bytes: Buffer) => received.push(String(bytes))),
    );
    const { port, context } = await inbound(app.address);
    const socket = await dial(port);
    socket.write('POST /a HTTP/1.1\r\nHost: db\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n');
    await until(() => received.join('').includes('hello'));
    const closed = new Promise((resolve) => app.sockets[0]?.once('close', resolve));
    socket.write('5\nGET /admin HTTP/1.1\r\n\r\n');
    expect(await readAll(socket)).toMatch(/^HTTP\/1.1 400 /);
    await closed;
    expect(received.join('')).not.toContain('admin');
    expect(context.counters.badRequests).toBe(1);
  });

  it('an answer before the whole request ends the connection after it', async () => {
    const app = await httpApp('HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n');
    const { port, recorder } = await inbound(app.address);
    const socket = await dial(port);
    socket.write('POST /a HTTP/1.1\r\nHost: db\r\nContent-Length: 1000\r\n\r\nsome');
    expect(await readAll(socket)).toBe(
      'HTTP/1.1 413 Too Large\r\nconnection: close\r\nContent-Length: 0\r\n\r\n',
    );
    expect(recorder.lines).toEqual(['POST /a /web error']);
  });
});

describe('programs that do not answer as they must', () => {
  it.each([
    ['no HTTP', 'hello\r\n\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok'],
    ['length and chunks', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok'],
    ['a folded field', 'HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n'],
    ['a bare LF', 'HTTP/1.1 200 OK\nContent-Length: 2\n\nok'],
    [
      'another protocol unasked',
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n',
    ],
    ['a head of 1 MB', `HTTP/1.1 200 OK\r\nX: ${'y'.repeat(1_000_000)}\r\n\r\n`],
    ['no end of interim answers', 'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(20)],
  ])('%s: 502, and the connection is not used again', async (what, response) => {
    const app = await httpApp(response);
    const { port, context, recorder } = await inbound(app.address);
    const socket = await dial(port);
    socket.write(GET);
    const text = await readAll(socket);
    expect(text.replace(/^(HTTP\/1.1 103 Early Hints\r\n\r\n)+/, '')).toMatch(
      /^HTTP\/1.1 502 [^]*bad gateway\n$/,
    );
    expect([what, context.counters.badAnswers, recorder.lines]).toEqual([what, 1, ['GET /a /web error']]);
  });

  it('one that is not there: 503, and a failed access', async () => {
    const app = await httpApp(OK);
    await new Promise((resolve) => app.server.close(resolve));
    const { port, recorder, log } = await inbound(app.address);
    const socket = await dial(port);
    socket.write(GET);
    expect(await readAll(socket)).toMatch(/^HTTP\/1.1 503 /);
    expect(log[0]?.event).toBe('unreachable');
    expect(recorder.lines).toEqual(['GET /a /web failed']);
  });

  it('one that breaks off in the middle breaks the caller off as well', async () => {
    const app = await httpApp((_, socket) => {
      setImmediate(() => socket.resetAndDestroy());
      return 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf';
    });
    const { port, recorder } = await inbound(app.address);
    const socket = await dial(port);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.write(GET);
    expect(await readAll(socket)).not.toContain('502');
    await closed;
    expect(recorder.lines).toEqual(['GET /a /web error']);
  });

  it('what it sends after its answer goes to nobody', async () => {
    const app = await httpApp(`${OK}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`);
    const { port } = await inbound(app.address);
    const socket = await dial(port);
    socket.write(GET);
    expect(await readUntil(socket, /ok$/)).toBe(OK);
    socket.write(GET);
    expect(await readUntil(socket, /ok$/)).toBe(OK);
    expect(app.sockets).toHaveLength(2);
  });
});

describe('a WebSocket', () => {
  const UPGRADE =
    'GET /ws HTTP/1.1\r\nHost: db\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n';
  const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';

  it('is a tunnel once both ends agree, and ends with either', async () => {
    const app = await httpApp((text) =>
      text.includes('Upgrade') || text.includes('upgrade') ? SWITCH : `echo ${text}`,
    );
    const { port, recorder } = await inbound(app.address);
    const socket = await dial(port);
    socket.write(`${UPGRADE}early`);
    expect(await readUntil(socket, /echo early$/)).toBe(
      'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\necho early',
    );
    socket.write(GET);
    expect(await readUntil(socket, /\r\n\r\n$/)).toBe(`echo ${GET}`);
    expect(recorder.lines).toEqual(['GET /ws /web ok']);
    app.sockets[0]?.end();
    expect(await readAll(socket)).toBe('');
  });

  it('that the program does not want is a request like others', async () => {
    const app = await httpApp(OK);
    const { port } = await inbound(app.address);
    const socket = await dial(port);
    socket.write(UPGRADE + GET);
    expect(await readUntil(socket, /ok[^]*ok$/)).toBe(OK + OK);
    expect(app.requests).toHaveLength(2);
  });

  it('is the only protocol that is passed on: h2c is not', async () => {
    const app = await httpApp(OK);
    const { port } = await inbound(app.address);
    const socket = await dial(port);
    socket.write(
      'GET /a HTTP/1.1\r\nHost: db\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n',
    );
    await readUntil(socket, /ok$/);
    expect(app.requests[0]).not.toMatch(/upgrade|http2/i);
  });
});

describe('what is not HTTP/1.1', () => {
  it.each([
    ['bad syntax', 'GET /a HTTP/1.1\r\nHost: db\r\nA : b\r\n\r\n', 400],
    ['a head of 1 MB', `GET /a HTTP/1.1\r\nHost: db\r\nX: ${'y'.repeat(1_000_000)}\r\n\r\n`, 431],
    ['HTTP/2 where it is not spoken', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505],
  ])('%s is answered and closed, and never reaches the program', async (_, bytes, status) => {
    const app = await httpApp(OK);
    const { port, context, recorder } = await inbound(app.address);
    const socket = await dial(port);
    socket.write(bytes);
    expect(await readAll(socket)).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect([app.requests, recorder.lines, context.counters.badRequests]).toEqual([[], [], 1]);
  });

  it('a request smuggled behind another is judged like any other', async () => {
    const app = await httpApp(OK);
    const { port, recorder } = await inbound(app.address, { enforcements: [enforcement([rule(['/a'])])] });
    const socket = await dial(port);
    socket.write(`${GET}GET /admin HTTP/1.1\r\nHost: db\r\n\r\n`);
    await readUntil(socket, /denied/);
    expect(recorder.lines).toEqual(['GET /a /web ok', 'GET /admin /web denied']);
  });
});

describe('HTTP/1.0', () => {
  it('is answered, and the connection ends', async () => {
    const app = await httpApp(OK);
    const { port } = await inbound(app.address);
    const socket = await dial(port);
    socket.write('GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
    expect(await readAll(socket)).toBe('HTTP/1.1 200 OK\r\nconnection: close\r\nContent-Length: 2\r\n\r\nok');
  });
});
