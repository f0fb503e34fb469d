import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http2';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import {
  closeAll,
  DB,
  enforcement,
  httpApp,
  policy,
  startApp,
  WEB,
} from '../../src/proxy/proxy.test-helper.ts';
import { answerOf, ask, http1Program } from './http2.test-helper.ts';
import { h2c, twoProxies } from './two-proxies.test-helper.ts';

afterEach(closeAll);

/** What Node adds to headers for itself. */
function withSymbols(headers: IncomingHttpHeaders): object {
  return Object.fromEntries(
    Object.getOwnPropertySymbols(headers).map((symbol) => [
      symbol,
      (headers as Record<symbol, unknown>)[symbol],
    ]),
  );
}

describe('HTTP/2 before a program that speaks HTTP/1.1', () => {
  it('carries method, path, fields, cookies and who calls; and the answer back', async () => {
    let seen: IncomingMessage | undefined;
    const address = await http1Program((request, response) => {
      seen = request;
      response.setHeader('set-cookie', ['a=1', 'b=2']);
      response.setHeader('connection', 'keep-alive, x-hop');
      response.setHeader('x-hop', 'here');
      response.writeHead(201).end('made');
    });
    const { near, far } = await twoProxies(address);
    const { status, headers, body } = await ask(h2c(near.port), {
      ':path': '/a?b=c',
      cookie: ['x=1', 'y=2'],
      te: 'trailers',
      'x-forwarded-client-cert': 'URI=spiffe://evil',
      x_forwarded_client_cert: 'URI=spiffe://evil',
      'x.forwarded.client.cert': 'URI=spiffe://evil',
    });
    expect([status, String(body), headers['set-cookie']]).toEqual([201, 'made', ['a=1', 'b=2']]);
    expect(headers).not.toHaveProperty('x-hop');
    expect(seen).toMatchObject({ method: 'GET', url: '/a?b=c', httpVersion: '1.1' });
    expect(seen?.headers).toEqual({
      host: 'db',
      cookie: 'x=1; y=2',
      'x-forwarded-client-cert': `By=${DB};URI=${WEB}`,
    });
    expect(far.recorder.lines).toEqual(['GET /a /web ok']);
  });

  it('brings bodies both ways, however they are cut, with their length or without', async () => {
    const address = await http1Program((request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (bytes: Buffer) => parts.push(bytes));
      request.on('end', () => {
        const body = Buffer.concat(parts);
        if (request.headers['x-length'] === 'yes') response.setHeader('content-length', body.length);
        for (const part of parts) response.write(part);
        response.end();
      });
    });
    const { near } = await twoProxies(address);
    const session = h2c(near.port);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(100_000), { maxLength: 6 }),
        fc.boolean(),
        fc.boolean(),
        async (cuts, a, b) => {
          const parts = cuts.map((length) => randomBytes(length));
          const sent = Buffer.concat(parts);
          const stream = session.request({
            ':method': 'POST',
            ':path': '/',
            ':authority': 'db',
            ...(a ? { 'content-length': sent.length } : {}),
            'x-length': b ? 'yes' : 'no',
          });
          const answer = answerOf(stream);
          for (const part of parts) stream.write(part);
          stream.end();
          const { status, body } = await answer;
          expect(status).toBe(200);
          expect(body.equals(sent)).toBe(true);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('brings an empty body that has ended before there was a way on', async () => {
    let length: string | undefined;
    const address = await http1Program((request, response) => {
      request.resume().on('end', () => response.end('got it'));
      length = request.headers['transfer-encoding'];
    });
    for (let i = 0; i < 20; i++) {
      const { near } = await twoProxies(address);
      const stream = h2c(near.port).request(
        { ':method': 'POST', ':path': '/', ':authority': 'db' },
        { endStream: false },
      );
      stream.end();
      expect(String((await answerOf(stream)).body)).toBe('got it');
    }
    expect(length).toBe('chunked');
  });

  it('uses the connections to the program again', async () => {
    const sockets = new Set<unknown>();
    const address = await http1Program((request, response) => {
      sockets.add(request.socket);
      response.end('x');
    });
    const { near } = await twoProxies(address);
    const session = h2c(near.port);
    for (let i = 0; i < 10; i++) expect((await ask(session, { ':path': '/' })).status).toBe(200);
    expect(sockets.size).toBe(1);
  });

  it('asks once more over a new connection where the program had just closed the one that rested', async () => {
    let connections = 0;
    const app = await startApp((socket) => {
      connections++;
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
        socket.once('data', () => socket.destroy());
      });
    });
    const { near } = await twoProxies(app.address);
    const session = h2c(near.port);
    expect((await ask(session, { ':path': '/1' })).status).toBe(200);
    expect((await ask(session, { ':path': '/2' })).status).toBe(200);
    expect(connections).toBe(2);
    // What has a body may have been acted upon.
    expect((await ask(session, { ':method': 'POST', ':path': '/3' }, 'x')).status).toBe(502);
  });

  it('answers HEAD, 204 and 304 without a body, and passes interim answers on', async () => {
    const address = await http1Program((request, response) => {
      if (request.url === '/hints') response.writeEarlyHints({ link: '</x>; rel=preload' });
      if (request.url === '/none') response.statusCode = 204;
      if (request.url === '/same') response.statusCode = 304;
      response.end(request.url === '/none' || request.url === '/same' ? undefined : 'body');
    });
    const { near } = await twoProxies(address);
    const session = h2c(near.port);
    expect(await ask(session, { ':path': '/', ':method': 'HEAD' })).toMatchObject({
      status: 200,
      body: Buffer.alloc(0),
    });
    expect(await ask(session, { ':path': '/none' })).toMatchObject({ status: 204, body: Buffer.alloc(0) });
    expect(await ask(session, { ':path': '/same' })).toMatchObject({ status: 304, body: Buffer.alloc(0) });
    expect(await ask(session, { ':path': '/hints' })).toMatchObject({ status: 200, interim: [103] });
  });

  it('does not let an answer that breaks off look complete', async () => {
    const app = await startApp((socket) =>
      socket.once('data', (bytes: Buffer) => {
        const how = /GET \/(\w+)/.exec(String(bytes))?.[1];
        const head = 'HTTP/1.1 200 OK\r\n';
        if (how === 'length') socket.end(`${head}content-length: 100\r\n\r\npart`);
        else if (how === 'chunks') socket.end(`${head}transfer-encoding: chunked\r\n\r\n4\r\npart\r\n`);
        else if (how === 'bad') socket.write(`${head}transfer-encoding: chunked\r\n\r\n4\r\npartXX`);
        else if (how === 'head') socket.write('HTTP/1.1 200 OK\r\nbad header: x\r\n\r\n');
        else socket.end(`${head}\r\nall of it`);
      }),
    );
    const { near } = await twoProxies(app.address);
    const session = h2c(near.port);
    for (const path of ['/length', '/chunks', '/bad']) {
      expect(await ask(session, { ':path': path })).toMatchObject({ status: 200, code: 2 });
    }
    expect((await ask(session, { ':path': '/head' })).status).toBe(502);
    expect(await ask(session, { ':path': '/close' })).toMatchObject({
      code: 0,
      body: Buffer.from('all of it'),
    });
  });

  it('refuses with 403 and a fixed text, and the streams beside it go on', async () => {
    const app = await httpApp('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
    const rules = [{ name: 'web', from: [{ workload: WEB }], to: [{ http: { paths: ['/open/x'] } }] }];
    const { near, far } = await twoProxies(app.address, { enforcements: [enforcement([policy(rules)])] });
    const session = h2c(near.port);
    const [refused, large, fine] = await Promise.all([
      ask(session, { ':path': '/shut' }),
      ask(session, { ':path': '/shut', ':method': 'POST' }, Buffer.alloc(1_000_000)),
      ask(session, { ':path': '/shut/..//open/%78?q=/../' }),
    ]);
    expect([refused.status, String(refused.body)]).toEqual([403, 'access denied\n']);
    expect(refused.headers).toEqual({
      ':status': 403,
      'content-type': 'text/plain',
      'content-length': '14',
      ...withSymbols(refused.headers),
    });
    expect(large.status).toBe(403);
    expect(fine.status).toBe(200);
    expect(app.requests).toHaveLength(1);
    expect(app.requests[0]).toMatch(/^GET \/open\/x\?q=\/\.\.\/ HTTP\/1\.1\r\n/);
    expect(far.recorder.lines.toSorted()).toEqual([
      'GET /open/x /web ok',
      'GET /shut /web denied',
      'POST /shut /web denied',
    ]);
  });
});
