import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createTls } from 'node:https';
import { createServer as createTcp, type Socket } from 'node:net';
import {
  X509CertificateGenerator,
  SubjectAlternativeNameExtension,
  PemConverter,
} from '../../identity/x509/peculiar.test-helper.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ManualTimers } from '../../node/manual-timers.test-helper.ts';
import { realTimers } from '../timers.ts';
import { post } from './post.ts';

let server: Server;
let port = 0;
const seen: { url: string; headers: IncomingMessage['headers']; body: string }[] = [];
beforeAll(async () => {
  server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    seen.push({ url: request.url ?? '', headers: request.headers, body });
    if (request.url === '/away') response.writeHead(429, { 'retry-after': '120' }).end('SECRET ANSWER');
    else if (request.url === '/moved') response.writeHead(302, { location: '/elsewhere' }).end();
    else if (request.url === '/endless') {
      response.writeHead(200);
      // As much as the receiver's end takes: nobody reads it.
      response.write('x'.repeat(1024 * 1024));
    } else response.end('ok');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  port = typeof address === 'object' && address !== null ? address.port : 0;
});
afterAll(
  () =>
    new Promise((closed) => {
      server.close(closed);
      server.closeAllConnections();
    }),
);

const to = (path: string, host = '127.0.0.1') => ({
  url: new URL(`http://${host}:${port}${path}`),
  allowPrivate: true,
});
const what = { headers: { 'webhook-id': 'msg_1' }, body: '{"a":"ä"}' };

describe('a body that is sent', () => {
  test('arrives as JSON with its headers', async () => {
    expect(await post(to('/'), what, { timers: realTimers })).toEqual({ status: 200 });
    expect(seen.at(-1)).toMatchObject({
      body: what.body,
      headers: { 'content-type': 'application/json', 'webhook-id': 'msg_1', host: `127.0.0.1:${port}` },
    });
  });

  test('gives the status and the pause that is asked for, and nothing of the answer', async () => {
    expect(await post(to('/away'), what, { timers: realTimers })).toEqual({ status: 429, pauseMs: 120_000 });
  });

  test('follows no redirect', async () => {
    expect(await post(to('/moved'), what, { timers: realTimers })).toEqual({ status: 302 });
    expect(seen.at(-1)?.url).toBe('/moved');
  });

  test('does not wait for an answer that does not end', async () => {
    expect(await post(to('/endless'), what, { timers: realTimers })).toEqual({ status: 200 });
  });

  test('goes to the addresses that were judged, whatever the name says a moment later', async () => {
    let asked = 0;
    const resolve = async () => [{ address: asked++ === 0 ? '127.0.0.1' : '127.9.9.9', family: 4 }];
    expect(await post(to('/', 'hooks.test'), what, { timers: realTimers, resolve })).toEqual({ status: 200 });
    expect([asked, seen.at(-1)?.headers.host]).toEqual([1, `hooks.test:${port}`]);
  });
});

describe('a receiver', () => {
  test('whose name leads to this machine gets nothing unless that is allowed', async () => {
    const before = seen.length;
    const resolve = async () => [{ address: '127.0.0.1', family: 4 }];
    const target = { url: new URL(`https://hooks.test:${port}/SECRET`), allowPrivate: false };
    await expect(post(target, what, { timers: realTimers, resolve })).rejects.toMatchObject({
      code: 'forbidden',
      message: expect.not.stringContaining('SECRET'),
    });
    expect(seen.length).toBe(before);
  });

  test('that takes the connection and says nothing is given up after a time', async () => {
    const timers = new ManualTimers();
    const sockets: Socket[] = [];
    const silent = createTcp((socket) => sockets.push(socket.on('error', () => {})));
    silent.listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const address = silent.address();
    const at = typeof address === 'object' && address !== null ? address.port : 0;
    const connected = once(silent, 'connection');
    const sent = post({ url: new URL(`http://127.0.0.1:${at}/SECRET`), allowPrivate: true }, what, {
      timers,
    });
    const refused = sent.catch((error: unknown) => error);
    await connected;
    await timers.advance(10_000);
    expect(await refused).toMatchObject({
      code: 'unavailable',
      message: '127.0.0.1 did not answer within 10 s',
    });
    // The connection does not stay behind.
    const [socket] = sockets;
    if (socket?.closed === false) await once(socket.resume(), 'close');
    await new Promise((closed) => silent.close(closed));
  });

  test('that is not there is named without its address', async () => {
    const free = createTcp();
    free.listen(0, '127.0.0.1');
    await once(free, 'listening');
    const address = free.address();
    const at = typeof address === 'object' && address !== null ? address.port : 0;
    await new Promise((closed) => free.close(closed));
    await expect(
      post({ url: new URL(`http://127.0.0.1:${at}/SECRET`), allowPrivate: true }, what, {
        timers: realTimers,
      }),
    ).rejects.toMatchObject({ code: 'unavailable', message: '127.0.0.1 does not answer (ECONNREFUSED)' });
  });

  test('with a certificate that nobody vouches for gets nothing, and one of its own authority does', async () => {
    const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
    const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const certificate = await X509CertificateGenerator.createSelfSigned({
      name: 'CN=hooks.test',
      keys,
      signingAlgorithm: algorithm,
      extensions: [new SubjectAlternativeNameExtension([{ type: 'dns', value: 'hooks.test' }])],
    });
    const key = PemConverter.encode(await crypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY');
    const bodies: string[] = [];
    const secured = createTls({ key, cert: certificate.toString('pem') }, async (request, response) => {
      for await (const chunk of request) bodies.push(String(chunk));
      response.end();
    });
    secured.listen(0, '127.0.0.1');
    await once(secured, 'listening');
    const address = secured.address();
    const at = typeof address === 'object' && address !== null ? address.port : 0;
    const resolve = async () => [{ address: '127.0.0.1', family: 4 }];
    const parts = { timers: realTimers, resolve };
    const target = (host: string) => ({ url: new URL(`https://${host}:${at}/`), allowPrivate: true });
    const ca = certificate.toString('pem');
    await expect(post(target('hooks.test'), what, parts)).rejects.toMatchObject({
      message: 'hooks.test does not answer (DEPTH_ZERO_SELF_SIGNED_CERT)',
    });
    // Another name than the one of the certificate.
    await expect(post({ ...target('other.test'), ca }, what, parts)).rejects.toMatchObject({
      message: 'other.test does not answer (ERR_TLS_CERT_ALTNAME_INVALID)',
    });
    expect(bodies).toEqual([]);
    expect(await post({ ...target('hooks.test'), ca }, what, parts)).toEqual({ status: 200 });
    expect(bodies).toEqual([what.body]);
    await new Promise((closed) => {
      secured.close(closed);
      secured.closeAllConnections();
    });
  });
});
