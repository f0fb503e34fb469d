import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { afterEach, describe, expect, test } from 'vitest';
import { isInterlockError } from '../../access/index.ts';
import {
  bundleWith,
  type Credential,
  jwtKey,
  rootOf,
  svidOf,
} from '../../identity/bundle/authorities.test-helper.ts';
import {
  type Bundle,
  certificateToPem,
  checkRelationship,
  exportPkcs8,
  FederationClient,
  formatBundle,
  MAX_BUNDLE_BYTES,
  parseBundle,
  type Timers,
} from '../../identity/index.ts';
import { bundleFetcher, publicEndpoint } from './index.ts';

// OpenSSL looks at the real clock for https_web; what our verifier sees is this same instant.
const NOW = Date.now();
const HOUR = 3_600_000;
const PEER = 'peer.example';
const ID = `spiffe://${PEER}/server`;
const ROOT = rootOf(PEER, NOW);
const STRANGER = rootOf(PEER, NOW);
const SERVED = svidOf(ID, ROOT, NOW, ['localhost']);
const BUNDLE: Bundle = bundleWith({
  trustDomain: PEER,
  x509Authorities: [ROOT.der],
  jwtAuthorities: [jwtKey('k').authority],
  sequence: 1,
  refreshHint: 60,
});

/** Timers that fire when the test says. */
class ManualTimers implements Timers {
  readonly #waiting = new Set<() => void>();
  readonly #now: number;

  constructor(now: number = NOW) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  after(_ms: number, run: () => void): () => void {
    this.#waiting.add(run);
    return () => this.#waiting.delete(run);
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  fire(): void {
    for (const run of this.#waiting) run();
  }
}

const servers: { close(): unknown; closeAllConnections(): void }[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});

async function listen(server: Server | ReturnType<typeof createHttpServer>): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // A server that listens on an address has one.
  return (server.address() as AddressInfo).port;
}

async function serve(handler: RequestListener, { key, der }: Credential = SERVED, more: Buffer[] = []) {
  const seen = { requests: 0, resumed: [] as boolean[], closed: Promise.resolve() };
  const cert = [der, ...more].map(certificateToPem).join('');
  const pkcs8 = { key: exportPkcs8(key), format: 'der', type: 'pkcs8' } as const;
  const server = createServer({ key: toPem(pkcs8.key), cert }, (request, response) => {
    seen.requests++;
    handler(request, response);
  });
  server.on('secureConnection', (socket: TLSSocket) => {
    seen.resumed.push(socket.isSessionReused());
    seen.closed = new Promise((resolve) => socket.once('close', () => resolve()));
  });
  const port = await listen(server);
  return { seen, server, url: `https://localhost:${port}/bundle` };
}

function toPem(pkcs8: Buffer): string {
  return `-----BEGIN PRIVATE KEY-----\n${pkcs8.toString('base64')}\n-----END PRIVATE KEY-----\n`;
}

const web = (endpointUrl: string) =>
  checkRelationship({ trustDomain: PEER, endpointUrl, profile: 'https_web' }, 'example.org');
const spiffe = (endpointUrl: string, endpointSpiffeId: string = ID) =>
  checkRelationship(
    { trustDomain: PEER, endpointUrl, profile: 'https_spiffe', endpointSpiffeId },
    'example.org',
  );
const CA = [certificateToPem(ROOT.der)];
const fetchWith = (now = NOW, ca: readonly string[] | undefined = CA) =>
  bundleFetcher({ timers: new ManualTimers(now), ca });
const never = new AbortController().signal;
const good: RequestListener = (_request, response) => response.end(formatBundle(BUNDLE));

async function outcomeOf(fetching: Promise<Uint8Array>): Promise<string> {
  try {
    await fetching;
    return 'fetched';
  } catch (error) {
    return isInterlockError(error) ? `${error.code}: ${error.message}` : String(error);
  }
}

describe('an https_web endpoint', () => {
  test('whose name an authority vouches for gives its bundle', async () => {
    const { url, seen } = await serve(good);
    const bytes = await fetchWith()(web(`${url}?x=1`), undefined, never);
    expect(parseBundle(bytes, PEER)).toStrictEqual(BUNDLE);
    expect(seen.requests).toBe(1);
  });

  test('of an authority that is not trusted, of another name or of another time gets no request', async () => {
    const expired = svidOf(ID, ROOT, NOW - 2 * HOUR, ['localhost']);
    const cases: [Credential, string][] = [
      [svidOf(ID, STRANGER, NOW, ['localhost']), 'untrusted: '],
      [svidOf(ID, ROOT, NOW, ['elsewhere.example']), 'untrusted: '],
      [svidOf(ID, ROOT, NOW), 'untrusted: '],
      [expired, 'untrusted: '],
    ];
    for (const [credential, expected] of cases) {
      const { url, seen } = await serve(good, credential);
      expect(await outcomeOf(fetchWith()(web(url), BUNDLE, never))).toContain(expected);
      expect(seen.requests).toBe(0);
    }
  });

  test('is not trusted by the public authorities where no other is given', async () => {
    const { url } = await serve(good);
    const fetchBundle = bundleFetcher({ timers: new ManualTimers() });
    expect(await outcomeOf(fetchBundle(web(url), BUNDLE, never))).toContain('untrusted: ');
  });
});

describe('an https_spiffe endpoint', () => {
  test('that proves its SPIFFE ID by its domain’s bundle gives its bundle, whatever its name', async () => {
    const { url } = await serve(good, svidOf(ID, ROOT, NOW));
    const bytes = await fetchWith(NOW, [])(spiffe(url), BUNDLE, never);
    expect(parseBundle(bytes, PEER)).toStrictEqual(BUNDLE);
  });

  test('that does not prove it gets no request', async () => {
    const other = { ...BUNDLE, trustDomain: 'other.example' };
    const cases: [string, Credential, Bundle | undefined, number, string][] = [
      [
        'another ID',
        svidOf(`spiffe://${PEER}/web`, ROOT, NOW),
        BUNDLE,
        NOW,
        `the endpoint is spiffe://${PEER}/web and not ${ID}`,
      ],
      ['the same ID of another root', svidOf(ID, STRANGER, NOW), BUNDLE, NOW, 'untrusted'],
      ['a certificate that is not valid yet', SERVED, BUNDLE, NOW - 2 * HOUR, 'untrusted'],
      ['a certificate that has ended', SERVED, BUNDLE, NOW + 2 * HOUR, 'untrusted'],
      ['the authority itself', ROOT, BUNDLE, NOW, 'untrusted'],
      ['nothing to judge by', SERVED, undefined, NOW, 'there is no bundle to authenticate'],
      ['the bundle of another domain with its root', SERVED, other, NOW, 'untrusted'],
      ['a bundle that withdrew trust', SERVED, { ...BUNDLE, x509Authorities: [] }, NOW, 'untrusted'],
    ];
    for (const [what, credential, trust, now, expected] of cases) {
      const { url, seen } = await serve(good, credential);
      const outcome = await outcomeOf(fetchWith(now)(spiffe(url), trust, never));
      expect(outcome, what).toMatch(/^untrusted: /);
      expect(outcome, what).toContain(expected);
      expect(seen.requests, what).toBe(0);
    }
  });
});

describe('an answer', () => {
  const cases: readonly (readonly [string, RequestListener, string])[] = [
    [
      'a redirect',
      (_request, response) => response.writeHead(302, { location: 'https://evil.example' }).end(),
      'unavailable: .* redirect \\(302\\)',
    ],
    ['status 404', (_request, response) => response.writeHead(404).end(), 'unavailable: .* status 404'],
    ['status 204', (_request, response) => response.writeHead(204).end(), 'unavailable: .* status 204'],
    [
      'a compressed body',
      (_request, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end('x'),
      'unavailable: .* compressed',
    ],
    [
      'a body beyond the limit',
      (_request, response) => response.end(Buffer.alloc(MAX_BUNDLE_BYTES + 1)),
      'limit: ',
    ],
    [
      'a body that breaks off',
      (_request, response) => {
        response.writeHead(200, { 'content-length': '100' }).write('{');
        response.socket?.destroy();
      },
      'unavailable: ',
    ],
    ['no answer but an end', (_request, response) => response.socket?.destroy(), 'unavailable: '],
    [
      'headers beyond the limit',
      (_request, response) => response.writeHead(200, { x: 'x'.repeat(100_000) }).end(),
      'unavailable: ',
    ],
  ];
  test.each(cases)('that is %s is an error', async (_what, handler, expected) => {
    const { url } = await serve(handler);
    const outcome = await outcomeOf(fetchWith()(web(`${url}?token=secret`), undefined, never));
    expect(outcome).toMatch(new RegExp(`^${expected}`));
    expect(outcome).not.toContain('secret');
    expect(outcome).not.toContain('evil');
  });

  test('of just the limit is taken', async () => {
    const { url } = await serve((_request, response) => response.end(Buffer.alloc(MAX_BUNDLE_BYTES)));
    expect(await outcomeOf(fetchWith()(web(url), undefined, never))).toBe('fetched');
  });

  test('that does not come in time, or is not waited for any more, ends the connection', async () => {
    for (const end of ['time-out', 'abort'] as const) {
      for (const isBegun of [false, true]) {
        const timers = new ManualTimers();
        const abort = new AbortController();
        const giveUp = (): void => (end === 'abort' ? abort.abort() : timers.fire());
        // Node tells here that an answer has begun; the fetch then waits for the rest of its body.
        const onBegun = (): void => void setImmediate(giveUp);
        subscribe('http.client.response.finish', onBegun);
        const { url, seen } = await serve((_request, response) => {
          if (isBegun) response.write('{');
          else giveUp();
        });
        const fetching = bundleFetcher({ timers, ca: CA })(web(url), undefined, abort.signal);
        const reason = end === 'abort' ? 'called off' : 'did not answer within 10 s';
        expect(await outcomeOf(fetching), `${end} ${isBegun}`).toContain(reason);
        unsubscribe('http.client.response.finish', onBegun);
        await seen.closed;
        expect(timers.waiting).toBe(0);
      }
    }
  });

  test('is not waited for where it was called off before', async () => {
    const { url, seen } = await serve(good);
    expect(await outcomeOf(fetchWith()(web(url), undefined, AbortSignal.abort()))).toContain('called off');
    expect(seen.requests).toBe(0);
  });

  test('from what speaks no TLS, or does not listen, is an error', async () => {
    const plain = createHttpServer(good);
    const port = await listen(plain);
    const relationship = web(`https://localhost:${port}/`);
    expect(await outcomeOf(fetchWith()(relationship, undefined, never))).toContain('unavailable: ');
    plain.close();
    plain.closeAllConnections();
    await new Promise((resolve) => plain.once('close', resolve));
    expect(await outcomeOf(fetchWith()(relationship, undefined, never))).toContain('unavailable: ');
  });
});

test('no session is resumed, though the server offers tickets', async () => {
  const { url, seen } = await serve(good);
  const fetchBundle = fetchWith();
  for (let i = 0; i < 3; i++) await fetchBundle(spiffe(url), BUNDLE, never);
  expect(seen.resumed).toEqual([false, false, false]);
});

test('a peer that rotates its root is followed, and one that swaps it at once is not', async () => {
  const next = rootOf(PEER, NOW);
  let published = BUNDLE;
  const { url, server } = await serve((_request, response) => response.end(formatBundle(published)), SERVED);
  const client = new FederationClient({
    timers: new ManualTimers(),
    random: () => 0,
    onBundle: () => {},
    fetchBundle: fetchWith(),
  });
  client.setRelationships([spiffe(url)], new Map([[PEER, { bundle: BUNDLE }]]));
  const show = ({ key, der }: Credential): void =>
    server.setSecureContext({ key: toPem(exportPkcs8(key)), cert: certificateToPem(der) });

  published = { ...BUNDLE, x509Authorities: [ROOT.der, next.der], sequence: 2 };
  expect(await client.refresh(PEER)).toMatchObject({ failures: 0, bundle: { sequence: 2 } });
  show(svidOf(ID, next, NOW));
  published = { ...published, x509Authorities: [next.der], sequence: 3 };
  expect(await client.refresh(PEER)).toMatchObject({ failures: 0, bundle: { sequence: 3 } });

  show(svidOf(ID, STRANGER, NOW));
  published = { ...published, x509Authorities: [STRANGER.der], sequence: 4 };
  const status = await client.refresh(PEER);
  expect(status).toMatchObject({ failures: 1, bundle: { sequence: 3 }, lastFault: { code: 'untrusted' } });
  client.stop();
});

describe('what this server publishes', () => {
  const endpoint = (bundle: () => Bundle | undefined, issuer?: string) =>
    publicEndpoint({ bundle, bundlePath: '/bundle', issuer });

  test('the bundle can be fetched, and caches keep it for half its refresh hint', async () => {
    const answer = endpoint(() => BUNDLE);
    const { url } = await serve((request, response) => {
      const { status, headers, body } = answer(request.url ?? '');
      response.writeHead(status, headers).end(body);
    });
    expect(parseBundle(await fetchWith()(web(url), undefined, never), PEER)).toStrictEqual(BUNDLE);
    expect(answer('/bundle').headers).toMatchObject({
      'content-type': 'application/json',
      'cache-control': 'public, max-age=30',
    });
  });

  test('an issuer adds the OpenID document and its keys, and nothing else is there', () => {
    const answer = endpoint(() => BUNDLE, 'https://oidc.peer.example');
    const paths = [
      '/bundle',
      '/keys',
      '/.well-known/openid-configuration',
      '/',
      '/bundle/',
      '/__proto__',
      '',
    ];
    expect(paths.map((path) => answer(path).status)).toEqual([200, 200, 200, 404, 404, 404, 404]);
    expect(JSON.parse(answer('/keys').body)).toMatchObject({
      keys: [{ kid: 'k', use: 'sig', alg: 'ES256' }],
    });
    expect(JSON.parse(answer('/.well-known/openid-configuration').body)).toMatchObject({
      jwks_uri: 'https://oidc.peer.example/keys',
    });
    expect(endpoint(() => BUNDLE)('/keys').status).toBe(404);
    const below = endpoint(() => BUNDLE, 'https://peer.example/id/');
    expect(JSON.parse(below('/id/.well-known/openid-configuration').body)).toMatchObject({
      jwks_uri: 'https://peer.example/id/keys',
    });
    expect([below('/id/keys').status, below('/keys').status]).toEqual([200, 404]);
    expect(() => endpoint(() => BUNDLE, 'http://peer.example')).toThrow('an issuer is an https URL');
  });

  test('it is always the bundle of now; before there is one it is not cached', () => {
    let bundle: Bundle | undefined;
    const answer = endpoint(() => bundle);
    expect(answer('/bundle')).toMatchObject({ status: 503, headers: { 'cache-control': 'no-store' } });
    bundle = BUNDLE;
    expect(answer('/bundle').body).toBe(formatBundle(BUNDLE));
    expect(answer('/bundle')).toBe(answer('/bundle'));
    bundle = { ...BUNDLE, sequence: 2 };
    expect(answer('/bundle').body).toContain('"spiffe_sequence":2');
  });
});
