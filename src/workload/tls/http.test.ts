import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import { connect as connectHttp2, createServer as createHttp2, createSecureServer } from 'node:http2';
import { Agent, createServer as createHttps, get, request, type RequestOptions } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, createServer as createTls, type TLSSocket } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import type { InterlockError } from '../../access/index.ts';
import { certificateToPem, parseCrl } from '../../identity/index.ts';
import { TestAuthority, TestView } from '../testing.ts';
import { MtlsAgent } from './agent.ts';
import { authorizeAny, authorizeId } from './authorize.ts';
import { contextOptions } from './context.ts';
import { peerOf } from './peer.ts';
import { guardServer, mtlsClientOptions, mtlsServerOptions } from './raw.ts';
import { toHttpServer } from './server.ts';
import { closeAll, closeLater, dial, read, serve, until } from './tls.test-helper.ts';

const root = new TestAuthority('example.org');
const bundles = [root.bundle()];
const view = (path: string) => new TestView(root.svid(path), bundles);
const db = authorizeId('spiffe://example.org/db');
const web = authorizeId('spiffe://example.org/web');

afterEach(closeAll);

function fetchText(options: RequestOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = get(options, (response: IncomingMessage) => {
      let text = '';
      response.on('data', (bytes: Buffer) => (text += String(bytes)));
      response.on('end', () => resolve(text));
    });
    outgoing.on('error', reject);
  });
}

/** An HTTP server behind our own TLS server, that says who calls it. */
async function serveHttp(source: TestView) {
  const calls: string[] = [];
  const http = createServer((incoming, response) => {
    calls.push(peerOf(incoming.socket)?.spiffeId ?? 'nobody');
    response.end(`you are ${calls.at(-1)}`);
  });
  const served = await serve(source, { authorize: web, onConnection: toHttpServer(http) });
  return { ...served, calls };
}

describe('HTTP over mutual TLS', () => {
  it('tells the handler who is calling', async () => {
    const { port } = await serveHttp(view('/db'));
    const agent = closeLater(
      Object.assign(new MtlsAgent({ source: view('/web'), authorize: db }), { close() {} }),
    );
    const options = { port, host: '127.0.0.1', agent };
    expect(await fetchText(options)).toBe('you are spiffe://example.org/web');
    agent.destroy();
  });

  it('never reaches the handler for a caller that is turned away', async () => {
    const { port, calls, refusals } = await serveHttp(view('/db'));
    const agent = new MtlsAgent({ source: view('/stranger'), authorize: db });
    await expect(fetchText({ port, host: '127.0.0.1', agent })).rejects.toThrow(/hang up|ECONNRESET/);
    expect(calls).toEqual([]);
    expect(refusals).toHaveLength(1);
    agent.destroy();
  });

  it('writes no request to a server that is not the one expected', async () => {
    const received: string[] = [];
    const { port } = await serve(view('/impostor'), {
      onConnection: (socket) => void socket.on('data', (bytes) => received.push(String(bytes))),
    });
    const agent = new MtlsAgent({ source: view('/web'), authorize: db });
    await expect(fetchText({ port, host: '127.0.0.1', agent })).rejects.toMatchObject({ code: 'forbidden' });
    expect(received).toEqual([]);
    agent.destroy();
  });

  it('reuses a connection until the own SVID is renewed, then uses a new one', async () => {
    const { port, server } = await serveHttp(view('/db'));
    const source = view('/web');
    const agent = new MtlsAgent({ source, authorize: db });
    const ports = new Set<number | undefined>();
    const options = { port, host: '127.0.0.1', agent };
    const call = () =>
      new Promise<void>((resolve, reject) => {
        const outgoing = get(options, (response) => {
          ports.add(response.socket.localPort);
          response.resume().on('end', resolve);
        });
        outgoing.on('error', reject);
      });
    await call();
    await call();
    expect(ports.size).toBe(1);
    expect(server.size).toBe(1);
    // Renewed while a request is on its way: it ends as it began, and its connection is not used again.
    const busy = call();
    await new Promise(setImmediate);
    source.set({ svid: root.svid('/web') });
    await busy;
    await call();
    expect(ports.size).toBe(2);
    await until(() => server.size === 1);
    // Renewed while it is idle: closed at once.
    source.set({ svid: root.svid('/web') });
    await until(() => server.size === 0);
    agent.destroy();
  });

  it('carries HTTP/2', async () => {
    const seen: (string | undefined)[] = [];
    const http2 = createHttp2((incoming, response) => {
      seen.push(peerOf(incoming.stream.session?.socket ?? {})?.spiffeId);
      response.end();
    });
    const { port } = await serve(view('/db'), { alpn: ['h2'], onConnection: toHttpServer(http2) });
    const { socket } = await dial(port, view('/web'), { alpn: ['h2'], authorize: db });
    expect(socket.alpnProtocol).toBe('h2');
    const session = connectHttp2('https://db', { createConnection: () => socket });
    const status = await new Promise((resolve) => {
      const stream = session.request({ ':path': '/' });
      stream.on('response', (headers) => resolve(headers[':status']));
      stream.end();
    });
    expect(status).toBe(200);
    expect(seen).toEqual(['spiffe://example.org/web']);
    session.destroy();
  });
});

describe("options for Node's own servers and clients", () => {
  async function listen(server: {
    listen(port: number, host: string, done: () => void): unknown;
    address(): unknown;
  }) {
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    return (server.address() as AddressInfo).port;
  }

  it('a guarded https server answers the expected, and no one else reaches its handler', async () => {
    const source = view('/db');
    const calls: (string | undefined)[] = [];
    const refused: InterlockError[] = [];
    const policy = {
      source,
      authorize: web,
      onRefused: ({ error }: { error: InterlockError }) => refused.push(error),
    };
    const server = createHttps(mtlsServerOptions(policy), (incoming, response) => {
      calls.push(peerOf(incoming.socket)?.spiffeId);
      response.end('ok');
    });
    const unguard = guardServer(server, policy);
    const port = await listen(server);
    const ask = (path: string) =>
      fetchText({
        port,
        host: '127.0.0.1',
        agent: false,
        ...mtlsClientOptions({ source: view(path), authorize: db }),
      });
    expect(await ask('/web')).toBe('ok');
    await expect(ask('/stranger')).rejects.toThrow(/hang up|ECONNRESET/);
    expect(calls).toEqual(['spiffe://example.org/web']);
    expect(refused).toEqual([expect.objectContaining({ code: 'forbidden' })]);
    const renewed = root.svid('/db');
    source.set({ svid: renewed });
    const { peer } = await dial(port, view('/web'));
    expect(peer.chain[0]?.serial).toBe(renewed.chain[0]?.serial);
    unguard();
    server.close();
    server.closeAllConnections();
  });

  it('a guarded http2 server lets no stranger open a session', async () => {
    const source = view('/db');
    const server = createSecureServer(mtlsServerOptions({ source, authorize: web }));
    let sessions = 0;
    server.on('session', () => sessions++);
    const unguard = guardServer(server, { source, authorize: web });
    const port = await listen(server);
    const stranger = await dial(port, view('/stranger'), { alpn: ['h2'] });
    expect(await read(stranger.socket)).toBe('');
    expect(sessions).toBe(0);
    const friend = await dial(port, view('/web'), { alpn: ['h2'] });
    expect(await read(friend.socket)).not.toBe('');
    expect(sessions).toBe(1);
    unguard();
    friend.socket.destroy();
    server.close();
  });

  it.each([
    ['of another ID', () => view('/impostor')],
    ['of another authority', () => new TestView(new TestAuthority('example.org').svid('/db'), bundles)],
    ['that is revoked', () => view('/db')],
  ])('a client sends nothing to a server %s', async (what, make) => {
    const source = make();
    const received: string[] = [];
    const server = createTls({
      ...contextOptions(source.state.svid),
      requestCert: true,
      rejectUnauthorized: false,
    });
    server.on('secureConnection', (socket: TLSSocket) => {
      socket.on('error', () => {});
      socket.on('data', (bytes) => received.push(String(bytes)));
    });
    server.on('tlsClientError', () => {});
    const port = await listen(server);
    const client = view('/web');
    if (what === 'that is revoked') client.set({ crls: [parseCrl(root.crl(source.state.svid))] });
    const options = mtlsClientOptions({ source: client, authorize: db });
    const failure = await new Promise<Error>((resolve) => {
      const outgoing = request({ port, host: '127.0.0.1', method: 'POST', agent: false, ...options });
      outgoing.on('error', resolve);
      outgoing.end('secret');
    });
    expect(failure.message).toMatch(/expected|unable to|self-signed|unknown|revoked|signature/);
    const bare = connectTls({ port, host: '127.0.0.1', ...options });
    bare.write('secret');
    await new Promise((resolve) => bare.on('error', resolve));
    expect(received).toEqual([]);
    server.close();
  });

  it('keep https.Agent from resuming a session, which would skip the check', async () => {
    const source = view('/db');
    // A server of somebody else's, with tickets.
    const server = createTls({ ...contextOptions(source.state.svid), secureOptions: 0 }, (socket) => {
      socket.on('error', () => {});
      socket.end('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
    });
    const port = await listen(server);
    const agent = new Agent({ keepAlive: false });
    const client = view('/web');
    const reused: boolean[] = [];
    const ask = () =>
      new Promise<void>((resolve, reject) => {
        const outgoing = get(
          {
            port,
            host: '127.0.0.1',
            agent,
            ...mtlsClientOptions({ source: client, authorize: db }),
            // Even where a program allows tickets again.
            secureOptions: 0,
          },
          (response) => {
            reused.push((response.socket as TLSSocket).isSessionReused());
            response.resume();
            response.socket.once('close', () => resolve());
          },
        );
        outgoing.on('error', reject);
      });
    await ask();
    await ask();
    expect(reused).toEqual([false, false]);
    client.set({ crls: [parseCrl(root.crl(source.state.svid))] });
    await expect(ask()).rejects.toThrow('revoked');
    server.close();
  });
});

const OPENSSL = (() => {
  try {
    return execFileSync('openssl', ['version'], { encoding: 'utf8' }).trim();
  } catch {
    console.log('No openssl on PATH: its s_client is not run against our server.');
    return undefined;
  }
})();

describe.skipIf(OPENSSL === undefined)('openssl s_client', () => {
  it.each(['-tls1_3', '-tls1_2'])(
    '%s gets no session that a second connection could resume',
    async (version) => {
      const dir = mkdtempSync(join(tmpdir(), 's_client-'));
      try {
        const { svid } = view('/web').state;
        writeFileSync(join(dir, 'cert.pem'), svid.chain.map(({ der }) => certificateToPem(der)).join(''));
        writeFileSync(join(dir, 'key.pem'), svid.key.export({ type: 'pkcs8', format: 'pem' }), {
          mode: 0o600,
        });
        writeFileSync(join(dir, 'root.pem'), certificateToPem(root.certificate.der));
        const { port } = await serve(view('/db'), {
          authorize: authorizeAny(),
          onConnection: (s) => void s.end('hello'),
        });
        const run = (...more: string[]) =>
          new Promise<string>((resolve) => {
            const args = [
              's_client',
              '-connect',
              `127.0.0.1:${port}`,
              version,
              '-cert',
              'cert.pem',
              '-key',
              'key.pem',
            ];
            const child = execFile(
              'openssl',
              [...args, '-CAfile', 'root.pem', '-ign_eof', ...more],
              { cwd: dir },
              (_e, out) => resolve(out),
            );
            child.stdin?.end();
          });
        const first = await run('-sess_out', 'session.pem');
        expect(first).toContain('Verify return code: 0 (ok)');
        expect(first).toContain('hello');
        expect(first).toMatch(/^New, TLS/m);
        expect(readFileSync(join(dir, 'session.pem'), 'utf8')).toContain('SESSION');
        const second = await run('-sess_in', 'session.pem');
        expect(second).toMatch(/^New, TLS/m);
        expect(second).not.toMatch(/^Reused/m);
      } finally {
        rmSync(dir, { recursive: true });
      }
    },
  );
});
