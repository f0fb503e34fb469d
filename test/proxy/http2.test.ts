import type { ServerResponse } from 'node:http';
import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { afterEach, describe, expect, it } from 'vitest';
import type { SpiffeId } from '../../src/access/index.ts';
import {
  closeAll,
  DB,
  enforcement,
  httpApp,
  inbound,
  policy,
  startApp,
  until,
  view,
  WEB,
  web,
} from '../../src/proxy/proxy.test-helper.ts';
import { TestClock } from '../../src/workload/testing.ts';
import { answerOf, ask, http1Program, http2Listening, http2Program } from './http2.test-helper.ts';
import { h2c, outboundHttp2, twoProxies } from './two-proxies.test-helper.ts';

afterEach(closeAll);

const speaksH2 = { inbound: { programSpeaks: 'h2' } } as const;
const denied = enforcement([policy([])]);

describe('HTTP/2 before a program that speaks it', () => {
  it('carries trailers of requests that announce them, and of answers', async () => {
    let seen: IncomingHttpHeaders | undefined;
    const address = await http2Program((stream) => {
      stream.on('trailers', (trailers) => {
        seen = trailers;
      });
      stream.on('data', () => {});
      stream.on('end', () => {
        stream.respond({ ':status': 200 }, { waitForTrailers: true });
        stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': ['a', 'b'] }));
        stream.end('body');
      });
    });
    const { near } = await twoProxies(address, speaksH2);
    const stream = h2c(near.port).request(
      { ':method': 'POST', ':path': '/', ':authority': 'db', trailer: 'x-digest' },
      { waitForTrailers: true },
    );
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-digest': '1' }));
    const answer = answerOf(stream);
    stream.end('body');
    expect(await answer).toMatchObject({
      status: 200,
      body: Buffer.from('body'),
      trailers: { 'x-sum': 'a, b' },
    });
    expect(seen).toMatchObject({ 'x-digest': '1' });
  });

  it('leaves out trailers that nobody announced, and those that would add to what was judged', async () => {
    let seen: IncomingHttpHeaders | undefined;
    const address = await http2Program((stream) => {
      stream.on('trailers', (trailers) => {
        seen = trailers;
      });
      stream.on('data', () => {});
      stream.on('end', () => {
        stream.respond({ ':status': 200 });
        stream.end('body');
      });
    });
    const { near } = await twoProxies(address, speaksH2);
    const fields = { 'x-tenant': 'a', trailer: 'x-digest, X-Tenant, range' };
    const stream = h2c(near.port).request(
      { ':method': 'POST', ':path': '/', ':authority': 'db', ...fields },
      { waitForTrailers: true },
    );
    stream.on('wantTrailers', () =>
      stream.sendTrailers({ 'x-other': '1', 'x-digest': '2', x_tenant: 'b', 'x-tenant': 'c', range: 'd' }),
    );
    const answer = answerOf(stream);
    stream.end('body');
    expect(await answer).toMatchObject({ status: 200 });
    expect(Object.entries(seen ?? {})).toEqual([['x-digest', '2']]);
  });

  it('ends a request whose trailers say who calls', async () => {
    const address = await http2Program((stream) => stream.resume());
    const { near } = await twoProxies(address, speaksH2);
    const stream = h2c(near.port).request(
      { ':method': 'POST', ':path': '/', ':authority': 'db', trailer: 'x' },
      { waitForTrailers: true },
    );
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-forwarded-client-cert': 'URI=spiffe://evil' }));
    const answer = answerOf(stream);
    stream.end('body');
    expect(await answer).toMatchObject({ status: 0, code: 1 });
  });

  it.each([2, 7, 8, 11])('passes the code %i of a reset on, both ways', async (code) => {
    let atProgram: number | undefined;
    let arrived = false;
    const address = await http2Program((stream, headers) => {
      stream.resume();
      if (headers[':path'] === '/program') stream.close(code);
      else {
        arrived = true;
        stream.on('close', () => (atProgram = stream.rstCode));
      }
    });
    const { near, far } = await twoProxies(address, speaksH2);
    const session = h2c(near.port);
    expect(await ask(session, { ':path': '/program' })).toMatchObject({ status: 0, code });
    const stream = session.request({ ':path': '/client', ':method': 'POST', ':authority': 'db' });
    stream.on('error', () => {});
    stream.write('x');
    await until(() => far.context.counters.open === 1 && arrived);
    stream.close(code);
    await until(() => atProgram !== undefined);
    expect(atProgram).toBe(code);
  });

  it('holds no more than windows of what a slow reader does not read, and the streams beside it go on', async () => {
    let sent = 0;
    const address = await http2Program((stream, headers) => {
      stream.respond({ ':status': 200 });
      if (headers[':path'] === '/small') {
        stream.end('small');
        return;
      }
      const chunk = Buffer.alloc(65_536);
      const fill = () => {
        while (sent < 64 * 1024 * 1024) {
          sent += chunk.length;
          if (!stream.write(chunk)) return;
        }
        stream.end();
      };
      stream.on('drain', fill);
      fill();
    });
    const { near } = await twoProxies(address, speaksH2);
    const session = h2c(near.port);
    const slow = session.request({ ':path': '/large', ':authority': 'db' });
    await new Promise((resolve) => slow.once('response', resolve));
    for (let i = 0; i < 50; i++)
      expect(String((await ask(session, { ':path': '/small' })).body)).toBe('small');
    let before = -1;
    while (before !== sent) {
      before = sent;
      expect((await ask(session, { ':path': '/small' })).status).toBe(200);
    }
    expect(sent).toBeLessThan(2 * 1024 * 1024);
    let read = 0;
    slow.on('data', (bytes: Buffer) => (read += bytes.length));
    await new Promise((resolve) => slow.once('end', resolve));
    expect(read).toBe(sent);
  });

  it('holds no more than windows of what a slow program does not read', async () => {
    const held: ServerHttp2Stream[] = [];
    const address = await http2Program((stream, headers) => {
      if (headers[':path'] === '/small') {
        stream.respond({ ':status': 200 });
        stream.end('small');
      } else held.push(stream);
    });
    const { near } = await twoProxies(address, speaksH2);
    const session = h2c(near.port);
    const upload = session.request({ ':path': '/large', ':method': 'POST', ':authority': 'db' });
    let sent = 0;
    const chunk = Buffer.alloc(65_536);
    const fill = () => {
      do sent += chunk.length;
      while (upload.write(chunk) && sent < 64 * 1024 * 1024);
    };
    upload.on('drain', fill);
    fill();
    let before = -1;
    while (before !== sent || held.length === 0) {
      before = sent;
      for (let i = 0; i < 20; i++) expect((await ask(session, { ':path': '/small' })).status).toBe(200);
    }
    expect(sent).toBeLessThan(2 * 1024 * 1024);
    upload.on('error', () => {});
    upload.close();
  });
});

describe('HTTP/2 between proxies', () => {
  it('never shares a connection between two identities', async () => {
    const address = await http1Program((request, response) =>
      response.end(String(request.headers['x-forwarded-client-cert'])),
    );
    const shop = view('/shop');
    const SHOP = shop.state.svid.spiffeId;
    const owners = new Map<number, SpiffeId>();
    const far = (await twoProxies(address)).far;
    const near = await outboundHttp2(far.port, {
      sources: new Map([
        [WEB, web],
        [SHOP, shop],
      ]),
      ownerOf: ({ remotePort = 0 }) => owners.get(remotePort) ?? (owners.size % 2 === 0 ? WEB : SHOP),
    });
    const first = h2c(near.port);
    const asWeb = await ask(first, { ':path': '/' });
    owners.set(1, WEB);
    const second = h2c(near.port);
    const asShop = await ask(second, { ':path': '/' });
    expect(String(asWeb.body)).toBe(`By=${DB};URI=${WEB}`);
    expect(String(asShop.body)).toBe(`By=${DB};URI=${SHOP}`);
    const again = await Promise.all([ask(first, { ':path': '/' }), ask(second, { ':path': '/' })]);
    expect(again.map(({ body }) => String(body))).toEqual([String(asWeb.body), String(asShop.body)]);
    expect(far.context.counters.accepted).toBe(2);
  });

  it('takes a new connection under a renewed SVID, and lets what is open end', async () => {
    const waiting: ServerResponse[] = [];
    const address = await http1Program((request, response) => {
      if (request.url === '/slow') waiting.push(response);
      else response.end('quick');
    });
    const own = view('/web');
    const { far } = await twoProxies(address);
    const near = await outboundHttp2(far.port, { sources: new Map([[WEB, own]]) });
    const session = h2c(near.port);
    const slow = ask(session, { ':path': '/slow' });
    await until(() => waiting.length === 1);
    own.set({ svid: view('/web').state.svid });
    expect((await ask(session, { ':path': '/' })).status).toBe(200);
    expect(far.context.counters.accepted).toBe(2);
    for (const response of waiting) response.end('late');
    expect(String((await slow).body)).toBe('late');
    await until(() => far.context.counters.open === 1);
  });

  it('sends nothing to a peer that is not the one expected', async () => {
    const app = await httpApp('');
    const { far } = await twoProxies(app.address);
    const near = await outboundHttp2(far.port, { route: { peer: 'spiffe://example.org/other' as SpiffeId } });
    const answer = await ask(h2c(near.port), { ':path': '/' });
    expect([answer.status, String(answer.body)]).toEqual([503, 'service unavailable\n']);
    expect(app.requests).toEqual([]);
    expect(near.log[0]?.reason).toContain('spiffe://example.org/other');
  });

  it('says so where the peer speaks no HTTP/2', async () => {
    const app = await httpApp('');
    const near = await outboundHttp2((await inbound(app.address)).port);
    expect((await ask(h2c(near.port), { ':path': '/' })).status).toBe(503);
    expect(near.log[0]?.event).toBe('unreachable');
  });

  it('answers 504 where the program says nothing for too long', async () => {
    const clock = new TestClock();
    let asked = 0;
    const address = await http1Program(() => asked++);
    const { near, far } = await twoProxies(address, { clock, timeouts: { exchange: 30_000 } });
    const answer = ask(h2c(near.port), { ':path': '/' });
    await until(() => asked === 1);
    clock.advance(40_000);
    const { status, body } = await answer;
    expect([status, String(body)]).toEqual([504, 'gateway timeout\n']);
    await until(() => far.recorder.lines.length === 1);
    expect(far.recorder.lines).toEqual(['GET / /web error']);
  });

  it('records a call that goes on for a minute, and once', async () => {
    const clock = new TestClock();
    let stream: ServerHttp2Stream | undefined;
    const address = await http2Program((one) => {
      stream = one;
      one.respond({ ':status': 200, 'content-type': 'application/grpc' });
    });
    const { near, far } = await twoProxies(address, { ...speaksH2, clock });
    const call = h2c(near.port).request({
      ':method': 'POST',
      ':path': '/test.Echo/Chat',
      ':authority': 'db',
      'content-type': 'application/grpc',
    });
    const answer = answerOf(call);
    await new Promise((resolve) => call.once('response', resolve));
    expect(far.recorder.accesses).toEqual([]);
    clock.advance(61_000);
    await until(() => far.recorder.accesses.length > 0);
    stream?.end();
    call.end();
    await answer;
    expect(far.recorder.accesses.map(({ outcome }) => outcome)).toEqual(['ok']);
  });

  it('sends again what a peer that drains has refused unseen, where it had no body', async () => {
    let sessions = 0;
    const address = await http2Program((stream, headers) => {
      if (headers[':path'] === '/never' || sessions++ === 0) stream.close(7);
      else {
        stream.respond({ ':status': 200 });
        stream.end('served');
      }
    });
    const { near, far } = await twoProxies(address, speaksH2);
    const session = h2c(near.port);
    expect(String((await ask(session, { ':path': '/' })).body)).toBe('served');
    expect(await ask(session, { ':path': '/never' })).toMatchObject({ status: 0, code: 7 });
    expect(await ask(session, { ':path': '/never', ':method': 'POST' }, 'body')).toMatchObject({
      status: 0,
      code: 7,
    });
    expect(far.recorder.lines.at(0)).toBe('GET / /web ok');
  });

  it('tells the program by a PROXY header who calls, and then shares no connection', async () => {
    const began: string[] = [];
    const { address, server } = await http2Listening((stream) => {
      stream.respond({ ':status': 200 });
      stream.end('x');
    });
    const app = await startApp((socket) => {
      socket.once('data', (bytes: Buffer) => {
        const end = bytes.indexOf('\r\n') + 2;
        began.push(bytes.toString('latin1', 0, end));
        socket.pause();
        socket.unshift(bytes.subarray(end));
        server.emit('connection', socket);
      });
    });
    expect(address.port).toBeGreaterThan(0);
    const { far, near } = await twoProxies(app.address, {
      inbound: { programSpeaks: 'h2', sendProxyHeader: 'v1' },
    });
    const other = await outboundHttp2(far.port);
    for (const port of [near.port, other.port]) {
      const session = h2c(port);
      for (const path of ['/1', '/2']) expect((await ask(session, { ':path': path })).status).toBe(200);
    }
    expect(began).toHaveLength(2);
    expect(began[0]).toMatch(/^PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ \d+\r\n$/);
    expect(new Set(began).size).toBe(2);
  });

  it('denies before anything else: no connection to the program is made', async () => {
    const { near, far } = await twoProxies({ host: '127.0.0.1', port: 1 }, { enforcements: [denied] });
    expect((await ask(h2c(near.port), { ':path': '/' })).status).toBe(403);
    expect(far.log.map(({ event }) => event)).toEqual(['denied']);
  });
});
