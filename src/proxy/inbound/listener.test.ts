import { once } from 'node:events';
import { connect as connectTls } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { parseCrl } from '../../identity/index.ts';
import { contextOptions } from '../../workload/index.ts';
import { TestAuthority, TestClock, TestView } from '../../workload/testing.ts';
import { proxyHeader } from '../proxy-protocol/index.ts';
import {
  area,
  closeAll,
  db,
  DB,
  dial,
  dialPlain,
  enforcement,
  httpApp,
  inbound,
  policy,
  readAll,
  readUntil,
  root,
  startApp,
  until,
  view,
  web,
  WEB,
} from '../proxy.test-helper.ts';

afterEach(closeAll);

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const GET = 'GET /a HTTP/1.1\r\nHost: db\r\n\r\n';
const FROM = { host: '198.51.100.7', port: 4711 };
const TO = { host: '192.0.2.1', port: 443 };
const echo = () => startApp((socket) => socket.pipe(socket));
const tcpRule = (from: string) => policy([{ name: 'r', from: [{ workload: from }], to: [{ tcp: {} }] }]);

describe('a strict port', () => {
  it.each([
    ['plain HTTP', GET],
    ['garbage', '\x00\x01\x02garbage\r\n\r\n'],
    ['a TLS record of garbage', '\x16\x03\x01\x00\x05hello'],
    ['a PROXY header, version 1', `${proxyHeader('v1', FROM, TO).toString('latin1')}${GET}`],
    ['a PROXY header, version 2', `${proxyHeader('v2', FROM, TO).toString('latin1')}${GET}`],
  ])('refuses %s, and records it under the true address', async (_, bytes) => {
    const app = await httpApp(OK);
    const { port, recorder, context, log } = await inbound(app.address);
    const socket = await dialPlain(port);
    socket.write(bytes, 'latin1');
    expect(await readAll(socket)).not.toContain('HTTP');
    await until(() => recorder.accesses.length > 0);
    expect(recorder.lines).toEqual(['tcp 127.0.0.1 denied']);
    expect([app.sockets.length, context.counters.refused]).toEqual([0, 1]);
    // No policy has denied it: one line, and nothing that the target would have to decide.
    expect([log.map(({ event }) => event), recorder.accesses[0]?.judgement]).toEqual([
      ['refused'],
      undefined,
    ]);
  });

  it.each([
    [
      'of another authority',
      () => new TestView(new TestAuthority('example.org').svid('/web'), [root.bundle()]),
    ],
    ['outside the area of its authority', () => web],
    ['that is revoked', () => web],
  ])('refuses an identity %s', async (what, caller) => {
    const app = await httpApp(OK);
    const source = view('/db');
    const callerView = caller();
    if (what === 'that is revoked') {
      const stranger = root.svid('/gone');
      source.set({ crls: [parseCrl(root.crl(stranger))] });
      const { port, recorder } = await inbound(app.address, { source });
      const socket = await dial(port, new TestView(stranger, [root.bundle()]));
      expect(await readAll(socket)).toBe('');
      expect(recorder.lines).toEqual(['tcp 127.0.0.1 denied']);
      return;
    }
    const scopes = what.startsWith('outside') ? { scopes: new Map([[area.signer.keyId, ['/other/']]]) } : {};
    const { port, recorder, log } = await inbound(app.address, { source, ...scopes });
    const socket = await dial(port, callerView);
    socket.write(GET);
    expect(await readAll(socket)).toBe('');
    expect(recorder.lines).toEqual(['tcp 127.0.0.1 denied']);
    expect(log[0]?.event).toBe('refused');
    expect(app.sockets).toHaveLength(0);
  });

  it('refuses a caller without a certificate', async () => {
    const app = await httpApp(OK);
    const { port, recorder } = await inbound(app.address);
    const socket = connectTls({
      port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      ALPNProtocols: ['http/1.1'],
    });
    socket.on('error', () => {});
    await once(socket, 'secureConnect');
    socket.write(GET);
    expect(await readAll(socket)).toBe('');
    expect(recorder.lines).toEqual(['tcp 127.0.0.1 denied']);
  });

  it('says nothing of whoever opens a connection and leaves', async () => {
    const { port, recorder, context } = await inbound({ host: '127.0.0.1', port: 1 });
    const socket = await dialPlain(port);
    await until(() => context.counters.accepted === 1);
    socket.destroy();
    await until(() => context.counters.open === 0);
    expect(recorder.lines).toEqual([]);
  });

  it('gives up on a handshake that stalls', async () => {
    const { port, context } = await inbound({ host: '127.0.0.1', port: 1 }, { timeouts: { handshake: 20 } });
    const socket = await dialPlain(port);
    socket.write('\x16\x03\x01', 'latin1');
    await readAll(socket);
    await until(() => context.counters.open === 0);
    expect(context.counters.refused).toBe(1);
  });
});

describe('a permissive port', () => {
  const permissive = { enforcements: [enforcement(undefined, 'permissive')] };

  it('takes mutual TLS and plain text, and records who came in plain text', async () => {
    const app = await httpApp(OK);
    const { port, recorder } = await inbound(app.address, permissive);
    const secure = await dial(port);
    secure.write(GET);
    await readUntil(secure, /ok$/);
    const plain = await dialPlain(port);
    plain.write(GET.replace('\r\n\r\n', '\r\nx-forwarded-client-cert: URI=spiffe://example.org/web\r\n\r\n'));
    await readUntil(plain, /ok$/);
    expect(recorder.lines).toEqual(['GET /a /web ok', 'GET /a 127.0.0.1 ok']);
    expect(recorder.plain).toEqual([expect.objectContaining({ address: '127.0.0.1', isMutual: false })]);
    // Plain text proves nobody: the program is told of nobody.
    expect(app.requests[1]).not.toContain('client-cert');
  });

  it('tells them apart by the first byte alone, however slowly the rest comes', async () => {
    const app = await httpApp(OK);
    const { port } = await inbound(app.address, permissive);
    const plain = await dialPlain(port);
    for (const byte of GET) {
      plain.write(byte);
      await new Promise(setImmediate);
    }
    expect(await readUntil(plain, /ok$/)).toBe(OK);
    const record = await dialPlain(port);
    record.write('\x16\x03\x01\x00\x05hello', 'latin1');
    expect(await readAll(record)).not.toContain('HTTP');
  });

  it('records nobody who only looks whether it listens', async () => {
    const app = await httpApp(OK);
    const { port, context, recorder } = await inbound(app.address, permissive);
    const look = await dialPlain(port);
    look.end();
    await readAll(look);
    await until(() => context.counters.open === 0);
    expect(recorder.plain).toEqual([]);
    const plain = await dialPlain(port);
    plain.write(GET);
    await readUntil(plain, /ok$/);
    expect(recorder.plain).toHaveLength(1);
  });

  it('judges a plain caller by its address', async () => {
    const app = await httpApp(OK);
    const rules = policy([
      { name: 'near', from: [{ unauthenticated: { from: '127.0.0.2/32' } }], to: [{ http: {} }] },
    ]);
    const { port, recorder } = await inbound(app.address, {
      enforcements: [enforcement([rules], 'permissive')],
    });
    const plain = await dialPlain(port);
    plain.write(GET);
    expect(await readUntil(plain, /denied/)).toContain('403');
    expect(recorder.lines).toEqual(['GET /a 127.0.0.1 denied']);
  });

  it('lets a server speak first where the caller waits for it', async () => {
    const app = await startApp((socket) => socket.write('220 hello'));
    const clock = new TestClock();
    const { port, context } = await inbound(app.address, {
      ...permissive,
      clock,
      route: { protocol: 'tcp' },
    });
    const plain = await dialPlain(port);
    await until(() => context.counters.accepted === 1 && clock.next !== undefined);
    clock.advance(context.timeouts.silence);
    expect(await readUntil(plain, /hello/)).toBe('220 hello');
  });

  it('follows the stage for the connections that come after a change', async () => {
    const app = await httpApp(OK);
    const { port, verdicts } = await inbound(app.address, permissive);
    const before = await dialPlain(port);
    before.write(GET);
    await readUntil(before, /ok$/);
    verdicts.replace([enforcement(undefined, 'strict')]);
    const after = await dialPlain(port);
    after.write(GET);
    expect(await readAll(after)).not.toContain('200');
    before.write(GET);
    expect(await readUntil(before, /ok$/)).toBe(OK);
    verdicts.replace([enforcement(undefined, 'plaintext')]);
    const plain = await dialPlain(port);
    plain.write(GET);
    expect(await readUntil(plain, /ok$/)).toBe(OK);
  });
});

describe('a PROXY header', () => {
  const trusting = (route: object, more: object = {}) => ({
    route: { protocol: 'tcp' as const, ...route },
    ...more,
  });

  it.each(['v1', 'v2'] as const)('%s of a trusted address is believed before TLS', async (version) => {
    const app = await echo();
    const { port, recorder } = await inbound(
      app.address,
      trusting({ trustProxyHeader: { addresses: ['127.0.0.0/8'], workloads: [] } }),
    );
    const plain = await dialPlain(port);
    // In pieces: a header may be cut anywhere.
    for (const byte of proxyHeader(version, FROM, TO)) {
      plain.write(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    const tls = connectTls({ socket: plain, ...contextOptions(web.state.svid), rejectUnauthorized: false });
    tls.write('hello');
    expect(await readUntil(tls, /hello/)).toBe('hello');
    expect(recorder.accesses[0]?.caller).toMatchObject({
      address: FROM.host,
      port: FROM.port,
      isMutual: true,
    });
    tls.destroy();
  });

  it('of a trusted address is due: without it the connection is refused', async () => {
    const app = await echo();
    const { port, recorder } = await inbound(
      app.address,
      trusting({ trustProxyHeader: { addresses: ['127.0.0.1/32'], workloads: [] } }),
    );
    const plain = await dialPlain(port);
    plain.write('hello');
    expect(await readAll(plain)).toBe('');
    expect(recorder.lines).toEqual(['tcp 127.0.0.1 denied']);
  });

  it('of a trusted workload is believed inside TLS, and the workload is still the caller', async () => {
    const app = await echo();
    const { port, recorder } = await inbound(
      app.address,
      trusting({ trustProxyHeader: { addresses: [], workloads: [WEB] } }),
    );
    const socket = await dial(port);
    socket.write(Buffer.concat([proxyHeader('v2', FROM, TO), Buffer.from('hello')]));
    expect(await readUntil(socket, /hello/)).toBe('hello');
    expect(recorder.accesses[0]?.caller).toMatchObject({ address: FROM.host, principal: { id: WEB } });
  });

  it.each(['v1', 'v2'] as const)(
    '%s of a stranger inside TLS ends the connection, and is recorded',
    async (version) => {
      const app = await echo();
      const { port, recorder, log } = await inbound(
        app.address,
        trusting({ trustProxyHeader: { addresses: [], workloads: [WEB] } }),
      );
      const socket = await dial(port, view('/job'));
      for (const byte of proxyHeader(version, FROM, TO)) {
        socket.write(Buffer.from([byte]));
        await new Promise(setImmediate);
      }
      expect(await readAll(socket)).toBe('');
      expect(recorder.lines).toEqual(['tcp /job denied']);
      expect(log.map(({ event }) => event)).toEqual(['refused']);
      expect(log[0]?.reason).toContain('PROXY');
    },
  );

  it('is sent to the program, one connection for each caller', async () => {
    const app = await httpApp(OK);
    const { port } = await inbound(app.address, { route: { sendProxyHeader: 'v1' } });
    for (let i = 0; i < 2; i++) {
      const socket = await dial(port);
      socket.write(GET);
      await readUntil(socket, /ok$/);
      expect(app.requests.join('')).toContain(
        `PROXY TCP4 127.0.0.1 127.0.0.1 ${socket.localPort} ${app.address.port}\r\n`,
      );
    }
    expect(app.sockets).toHaveLength(2);
  });
});

describe('a connection whose bytes are not looked at', () => {
  it.each([
    ['is recorded as a call that went well once the program answers', true, 'ok'],
    ['is recorded without an answer when it ends', false, 'error'],
  ])('%s', async (_, answers, outcome) => {
    const app = await startApp((socket) =>
      answers ? socket.pipe(socket) : socket.resume().once('end', () => socket.end()),
    );
    const { port, recorder } = await inbound(app.address, { route: { protocol: 'tcp' } });
    const socket = await dial(port);
    socket.write('x');
    await until(() => app.sockets.length === 1);
    if (answers) await readUntil(socket, /x/);
    else socket.destroy();
    await until(() => recorder.accesses.length > 0);
    expect(recorder.lines).toEqual([`tcp /web ${outcome}`]);
  });

  it('is recorded after a minute without an answer, and only once', async () => {
    const app = await startApp((socket) => socket.on('data', () => {}));
    const clock = new TestClock();
    const { port, recorder } = await inbound(app.address, { clock, route: { protocol: 'tcp' } });
    const socket = await dial(port);
    socket.write('x');
    await until(() => app.sockets.length === 1);
    expect(recorder.lines).toEqual([]);
    clock.advance(60_000);
    expect(recorder.lines).toEqual(['tcp /web error']);
    app.sockets[0]?.write('late');
    expect(await readUntil(socket, /late/)).toBe('late');
    expect(recorder.lines).toEqual(['tcp /web error']);
  });
});

describe('open connections', () => {
  it('are cut after the grace when policy no longer allows them, and only those', async () => {
    const app = await echo();
    const clock = new TestClock();
    const { port, verdicts, listener, context } = await inbound(app.address, {
      clock,
      route: { protocol: 'tcp' },
    });
    const one = await dial(port);
    const other = await dial(port, view('/job'));
    for (const socket of [one, other]) {
      socket.write('x');
      await readUntil(socket, /x/);
    }
    verdicts.replace([enforcement([tcpRule('spiffe://example.org/job')])]);
    expect(listener.rejudge(1_000)).toBe(1);
    clock.advance(999);
    one.write('y');
    expect(await readUntil(one, /y/)).toBe('y');
    clock.advance(1);
    expect(await readAll(one)).toBe('');
    other.write('z');
    expect(await readUntil(other, /z/)).toBe('z');
    expect(context.counters.cut).toBe(1);
  });

  it('are cut after the grace when the exception that they rest on has ended, and new ones are refused at once', async () => {
    const app = await echo();
    const clock = new TestClock();
    const until = new Date(clock.now() + 1_000).toISOString();
    const exception = {
      name: 'r',
      from: [{ workload: WEB }],
      to: [{ tcp: {} }],
      until,
    };
    const { port, listener, recorder } = await inbound(app.address, {
      clock,
      route: { protocol: 'tcp' },
      enforcements: [enforcement([policy([exception])])],
    });
    const socket = await dial(port);
    socket.write('x');
    await readUntil(socket, /x/);
    expect(listener.rejudge(1_000)).toBe(0);
    clock.advance(1_000);
    expect(listener.rejudge(1_000)).toBe(1);
    expect(await readAll(await dial(port))).toBe('');
    expect(recorder.lines).toContain('tcp /web denied');
    socket.write('y');
    expect(await readUntil(socket, /y/)).toBe('y');
    clock.advance(1_000);
    expect(await readAll(socket)).toBe('');
  });

  it('stay where policy allows them again within the grace', async () => {
    const app = await echo();
    const clock = new TestClock();
    const { port, verdicts, listener } = await inbound(app.address, { clock, route: { protocol: 'tcp' } });
    const socket = await dial(port);
    socket.write('x');
    await readUntil(socket, /x/);
    verdicts.replace([enforcement([tcpRule('spiffe://example.org/job')])]);
    listener.rejudge(1_000);
    verdicts.replace([enforcement(undefined)]);
    clock.advance(1_000);
    socket.write('y');
    expect(await readUntil(socket, /y/)).toBe('y');
  });

  it('are judged again and again without anything piling up on them', async () => {
    const app = await echo();
    const clock = new TestClock();
    const { port, verdicts, listener } = await inbound(app.address, { clock, route: { protocol: 'tcp' } });
    const socket = await dial(port);
    socket.write('x');
    await readUntil(socket, /x/);
    const warnings: Error[] = [];
    const warn = (warning: Error) => warnings.push(warning);
    process.on('warning', warn);
    for (let i = 0; i < 30; i++) {
      verdicts.replace([enforcement([tcpRule('spiffe://example.org/job')])]);
      expect(listener.rejudge(1_000)).toBe(1);
      verdicts.replace([enforcement(undefined)]);
      clock.advance(1_000);
    }
    socket.write('y');
    expect(await readUntil(socket, /y/)).toBe('y');
    process.off('warning', warn);
    // Node warns of more than ten listeners for one event.
    expect(warnings).toEqual([]);
  });

  it('are cut when their peer is revoked', async () => {
    const app = await echo();
    const source = view('/db');
    const stranger = root.svid('/gone');
    const { port } = await inbound(app.address, { source, route: { protocol: 'tcp' } });
    const cut = await dial(port, new TestView(stranger, [root.bundle()]));
    const kept = await dial(port);
    for (const socket of [cut, kept]) {
      socket.write('x');
      await readUntil(socket, /x/);
    }
    source.set({ crls: [parseCrl(root.crl(stranger))] });
    expect(await readAll(cut)).toBe('');
    kept.write('y');
    expect(await readUntil(kept, /y/)).toBe('y');
  });

  it('go on through renewals under load, and none is refused', async () => {
    const app = await httpApp(OK);
    const source = view('/db');
    const { port, recorder } = await inbound(app.address, { source });
    const callers = await Promise.all(Array.from({ length: 8 }, () => dial(port)));
    for (let round = 0; round < 5; round++) {
      const late = dial(port);
      source.set({ svid: view('/db').state.svid });
      callers.push(await late);
      await Promise.all(
        callers.map((socket) => {
          socket.write(GET);
          return readUntil(socket, /ok$/);
        }),
      );
    }
    expect(new Set(recorder.lines)).toEqual(new Set(['GET /a /web ok']));
    const certificate = callers.at(-1)?.getPeerX509Certificate()?.serialNumber;
    expect(certificate).not.toBe(callers[0]?.getPeerX509Certificate()?.serialNumber);
  });

  it('beyond the limit are closed at once, and room that is made is used', async () => {
    const app = await httpApp(OK);
    const { port, context } = await inbound(app.address, { limits: { connections: 2, perAddress: 2 } });
    const first = await dial(port);
    await dial(port);
    await expect(dial(port)).rejects.toThrow('no mutual TLS');
    expect(context.counters.busy).toBe(1);
    first.destroy();
    await until(() => context.counters.open === 1);
    const socket = await dial(port);
    socket.write(GET);
    expect(await readUntil(socket, /ok$/)).toBe(OK);
  });

  it('end when the port drains: idle ones at once, busy ones after their answer, the rest at the deadline', async () => {
    const answers: (() => void)[] = [];
    const app = await startApp((socket) => socket.on('data', () => answers.push(() => socket.write(OK))));
    const { port, listener } = await inbound(app.address);
    const [idle, busy, stuck] = [await dial(port), await dial(port), await dial(port)];
    busy.write(GET);
    stuck.write(GET);
    await until(() => answers.length === 2);
    const drained = listener.drain(50);
    expect(await readAll(idle)).toBe('');
    await expect(dial(port)).rejects.toThrow('no mutual TLS');
    for (const answer of answers.slice(0, 1)) answer();
    expect(await Promise.race([readAll(busy), readAll(stuck)])).toContain('connection: close');
    await drained;
    expect(listener.size).toBe(0);
  });

  it('of a workload that no state names are taken with mutual TLS only, and nothing is denied', async () => {
    const app = await httpApp(OK);
    const { port, recorder } = await inbound(app.address);
    const socket = await dial(port);
    socket.write(GET);
    await readUntil(socket, /ok$/);
    expect(recorder.accesses[0]?.judgement).toEqual({
      allowed: true,
      before: { allowed: true, decidedBy: 'no-policy' },
    });
    expect([DB, db.state.svid.spiffeId]).toEqual([DB, DB]);
  });
});
