import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { InterlockError } from '../../access/index.ts';
import { ManualTimers } from '../../node/manual-timers.test-helper.ts';
import { ConsoleFiles } from './console-files.ts';
import { Health } from './health.ts';
import { httpNames } from './serve.ts';
import { secretOf, type TestHttp, testHttp } from './testing.test-helper.ts';

const JSON_TYPE = { 'content-type': 'application/json' };

describe('over TLS with the own SVID', () => {
  let plane: TestHttp;
  beforeAll(async () => {
    plane = await testHttp({ tls: 'svid' });
  });
  afterAll(() => plane.close());

  test("the certificate is the control plane's own, cookies are bound to the host, and browsers stay with https", async () => {
    const body = JSON.stringify({ secret: await secretOf(plane.serving) });
    const { headers, name } = await new Promise<{
      headers: NodeJS.Dict<string | string[]>;
      name: string | undefined;
    }>((resolve, reject) => {
      const call = request(
        `${plane.origin}/v1/sign-in/link`,
        // The name is a SPIFFE ID: it is looked at below.
        { method: 'POST', headers: { ...JSON_TYPE, origin: plane.origin }, rejectUnauthorized: false },
        (answer) => {
          const socket = answer.socket as unknown as { getPeerCertificate(): { subjectaltname?: string } };
          const name = socket.getPeerCertificate().subjectaltname;
          answer.resume();
          answer.on('end', () => resolve({ headers: answer.headers, name }));
        },
      );
      call.on('error', reject);
      call.end(body);
    });
    expect(name).toBe('URI:spiffe://example.org/interlock/server');
    expect(headers['set-cookie']?.[0]).toMatch(
      /^__Host-interlock-session=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=\d+; Secure$/,
    );
    expect(headers['strict-transport-security']).toMatch(/^max-age=\d{8}/);
    expect(plane.origin).toMatch(/^https:/);
  });
});

test('behind a reverse proxy that ends TLS, links, origins and cookies are those of its address', async () => {
  const plane = await testHttp({ url: new URL('https://interlock.example.com') });
  try {
    expect((await plane.serving.makeLink?.())?.url).toMatch(/^https:\/\/interlock\.example\.com\/sign-in#/);
    const port = plane.serving.http?.port ?? 0;
    const body = JSON.stringify({ secret: await secretOf(plane.serving) });
    const ask = (origin: string) =>
      raw(
        port,
        `POST /v1/sign-in/link HTTP/1.1\r\nHost: interlock.example.com\r\nOrigin: ${origin}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
      );
    expect(await ask('http://interlock.example.com')).toMatch(/^HTTP\/1\.1 403 /);
    const answer = await ask('https://interlock.example.com');
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(answer).toMatch(/set-cookie: __Host-interlock-session=.*; Secure/i);
  } finally {
    await plane.close();
  }
});

describe('an address', () => {
  const at = (host: string, more: object = {}) => httpNames({ host, port: 7080, ...more });
  const url = new URL('https://interlock.example.com');
  test('beyond this machine needs TLS, and every address of it a name', () => {
    expect(at('127.0.0.1')).toBe('http://127.0.0.1:7080');
    expect(at('::1')).toBe('http://[::1]:7080');
    expect(at('10.0.0.7', { tls: 'svid' })).toBe('https://10.0.0.7:7080');
    expect(at('0.0.0.0', { tls: 'svid', url })).toBe('https://interlock.example.com');
    for (const host of ['0.0.0.0', '10.0.0.7', '::', 'interlock.example.com', '127.0.0.1.example.com'])
      expect(() => at(host, { url })).toThrow(expect.objectContaining({ code: 'usage' }));
    expect(() => at('0.0.0.0', { tls: 'svid' })).toThrow(/--http-url/);
  });
});

describe('the console', () => {
  const dir = mkdtempSync(join(tmpdir(), 'interlock-console-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  mkdirSync(join(dir, 'dist', 'assets'), { recursive: true });
  writeFileSync(join(dir, 'secret.txt'), 'secret');
  writeFileSync(join(dir, 'dist', 'index.html'), '<html><head><title>x</title></head></html>');
  writeFileSync(join(dir, 'dist', 'assets', 'index-BOP5sLAL.js'), 'plain');
  writeFileSync(join(dir, 'dist', 'assets', 'index-BOP5sLAL.js.br'), 'packed');
  writeFileSync(join(dir, 'dist', 'icon.svg'), '<svg/>');
  symlinkSync('../secret.txt', join(dir, 'dist', 'leak.txt'));
  const files = new ConsoleFiles(join(dir, 'dist'));
  const ask = (path: string, headers: Readonly<Record<string, string>> = {}) =>
    files.answer(new Request('http://x/', { headers }), path, false);

  test('keeps what is named by its content for good, and asks for the rest each time', async () => {
    const hashed = ask('/assets/index-BOP5sLAL.js');
    expect(hashed?.headers.get('cache-control')).toContain('immutable');
    expect([hashed?.headers.get('content-type'), await hashed?.text()]).toEqual([
      'text/javascript; charset=utf-8',
      'plain',
    ]);
    expect(ask('/icon.svg')?.headers.get('cache-control')).toBe('no-cache');
    const etag = ask('/icon.svg')?.headers.get('etag') ?? '';
    expect(ask('/icon.svg', { 'if-none-match': etag })?.status).toBe(304);
  });

  test('is sent packed to who takes that', async () => {
    const packed = ask('/assets/index-BOP5sLAL.js', { 'accept-encoding': 'gzip, br' });
    expect([packed?.headers.get('content-encoding'), await packed?.text()]).toEqual(['br', 'packed']);
    const refused = ask('/assets/index-BOP5sLAL.js', { 'accept-encoding': 'br;q=0' });
    expect([refused?.headers.get('content-encoding'), refused?.headers.get('vary')]).toEqual([
      null,
      'accept-encoding',
    ]);
  });

  test('has one page for all its paths, with a nonce that is new each time and no inline script', async () => {
    const html = { accept: 'text/html' };
    const pages = await Promise.all(
      ['/', '/workloads', '/index.html'].map(async (path) => {
        const answer = ask(path, html);
        const nonce = /nonce="([\w-]{22})"/.exec((await answer?.text()) ?? '')?.[1] ?? 'none';
        expect(answer?.headers.get('content-security-policy')).toContain(`style-src 'self' 'nonce-${nonce}'`);
        return nonce;
      }),
    );
    expect(new Set(pages).size).toBe(3);
  });

  test('has what the map needs on its way with the first page, and with no other one', async () => {
    const built = join(dir, 'with-map');
    mkdirSync(built);
    writeFileSync(
      join(built, 'index.html'),
      '<html><head><script src="/assets/index.js"></script></head></html>',
    );
    const chunks = {
      'index.html': { file: 'assets/index.js', css: ['assets/index.css'] },
      'src/map/index.tsx': {
        file: 'assets/map.js',
        css: ['assets/map.css'],
        imports: ['index.html', '_parts'],
      },
      _parts: { file: 'assets/parts.js', imports: ['src/map/index.tsx'] },
      'src/audit/index.tsx': { file: 'assets/audit.js' },
    };
    writeFileSync(join(built, 'manifest.json'), JSON.stringify(chunks));
    const page = async (path: string) => {
      const answer = new ConsoleFiles(built).answer(
        new Request('http://x/', { headers: { accept: 'text/html' } }),
        path,
        false,
      );
      return [...((await answer?.text()) ?? '').matchAll(/<link rel="(\w+)".* href="([^"]+)"/g)].map(
        ([, rel, href]) => `${rel} ${href}`,
      );
    };
    expect(await page('/')).toEqual([
      'modulepreload /assets/map.js',
      'modulepreload /assets/parts.js',
      'preload /assets/map.css',
      'preload /assets/index.css',
      'preload /v1/me',
      'preload /v1/graph?by=workload',
    ]);
    expect(await page('/audit')).toEqual([]);
  });

  test.each([
    '/../secret.txt',
    '/%2e%2e/secret.txt',
    '/assets/../../secret.txt',
    '/leak.txt',
    '/assets',
    '/__proto__',
    '/assets/index-BOP5sLAL.js.br',
    '\\..\\secret.txt',
  ])('has nothing at %s', (path) => {
    expect(ask(path)).toBeUndefined();
  });

  test('that is not built says how to build it', async () => {
    const none = new ConsoleFiles(join(dir, 'none'));
    const answer = none.answer(new Request('http://x/'), '/', false);
    expect([none.isBuilt, await answer?.text()]).toEqual([
      false,
      expect.stringContaining('npm run build:console'),
    ]);
  });
});

describe('readiness', () => {
  test('names what fails and nothing more; many who ask at once cost one look', async () => {
    let looks = 0;
    const health = new Health(
      [
        { name: 'good', run: async () => void looks++ },
        { name: 'refused', run: () => Promise.reject(new InterlockError('state', 'x', 'a secret path')) },
        { name: 'broken', run: () => Promise.reject(new Error('a secret fault')) },
      ],
      new ManualTimers(),
    );
    const [one, two] = await Promise.all([health.look(), health.look()]);
    expect(one).toEqual({ isReady: false, checks: { good: 'ok', refused: 'state', broken: 'fault' } });
    expect([two, looks]).toEqual([one, 1]);
  });

  test('is no answer where a store does not answer within a second', async () => {
    const timers = new ManualTimers();
    const health = new Health([{ name: 'store', run: () => new Promise(() => {}) }], timers);
    const looked = health.look();
    await timers.advance(1000);
    expect(await looked).toEqual({ isReady: false, checks: { store: 'no answer' } });
  });

  test('ends when the control plane begins to stop', async () => {
    const health = new Health([], new ManualTimers());
    expect((await health.look()).isReady).toBe(true);
    health.stopping();
    expect((await health.look()).isReady).toBe(false);
  });
});

/** What the server answers to these very bytes. */
function raw(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    let text = '';
    socket.on('data', (chunk) => (text += chunk.toString()));
    socket.on('end', () => resolve(text));
    socket.on('error', reject);
  });
}
