import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../access/index.ts';
import { createRequest, formatBundle, generateKey, parseBundle } from '../identity/index.ts';
import {
  DEFAULT_AUTHORITY_TTL,
  initialise,
  realTimers,
  type ServeOptions,
  serveIdentity,
  type Serving,
} from './index.ts';
import { UID_RULE, WHO } from './testing.test-helper.ts';

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

const lines: { message: string; fields: Readonly<Record<string, unknown>> }[] = [];
const write = (fields: Readonly<Record<string, unknown>>, message: string) =>
  void lines.push({ message, fields });
const log = { info: write, warn: write, error: write };

function newDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'interlock-serve-'));
  undo.push(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

async function serve(state: string, over: Partial<ServeOptions> = {}): Promise<Serving> {
  const listen = { host: '127.0.0.1', port: 0 };
  const serving = await serveIdentity({
    state,
    listen,
    timers: realTimers,
    log,
    version: 'test',
    checkAnswers: true,
    ...over,
  });
  undo.push(() => serving.close());
  return serving;
}

async function setUp(state: string, trustDomain: string, issuer?: string): Promise<void> {
  const settings = {
    trustDomain,
    algorithm: 'ec-p256',
    authorityTtl: DEFAULT_AUTHORITY_TTL,
    root: 'self',
  } as const;
  await initialise(state, issuer === undefined ? settings : { ...settings, issuer }, WHO, realTimers);
}

async function domain(trustDomain: string, issuer?: string): Promise<string> {
  const state = newDir();
  await setUp(state, trustDomain, issuer);
  return state;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  // The tests look into whatever JSON comes back.
  readonly body: Record<string, never>;
}

/** One call of the API. */
function call(state: string, method: string, path: string, body?: unknown): Promise<Answer> {
  const headers = body === undefined ? {} : { 'content-type': 'application/json' };
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath: join(state, 'api.sock'), method, path, headers }, (response) => {
      let text = '';
      response.on('data', (chunk) => (text += String(chunk)));
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          type: response.headers['content-type'] ?? '',
          body: JSON.parse(text) as Answer['body'],
        }),
      );
    });
    sent.on('error', reject);
    sent.end(body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body));
  });
}

const get = (port: number, path: string) =>
  new Promise<{ status: number; text: string }>((resolve, reject) => {
    // What the endpoint shows is public; its certificate is another test's matter.
    httpsRequest({ host: '127.0.0.1', port, path, rejectUnauthorized: false }, (response) => {
      let text = '';
      response.on('data', (chunk) => (text += String(chunk)));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    })
      .on('error', reject)
      .end();
  });

describe('the API', () => {
  let kept: { state: string; serving: Serving } | undefined;
  /** One control plane for tests that change nothing. */
  const shared = async () => {
    if (kept === undefined) {
      const state = mkdtempSync(join(tmpdir(), 'interlock-serve-'));
      await setUp(state, 'example.org');
      const listen = { host: '127.0.0.1', port: 0 };
      kept = {
        state,
        serving: await serveIdentity({ state, listen, timers: realTimers, log, version: 'test' }),
      };
    }
    return kept.state;
  };
  afterAll(async () => {
    await kept?.serving.close();
    if (kept !== undefined) rmSync(kept.state, { recursive: true, force: true });
  });

  test('is for the owner alone', async () => {
    const state = await domain('example.org');
    await serve(state);
    expect(statSync(join(state, 'api.sock')).mode & 0o777).toBe(0o600);
  });

  test('takes rules, explains them, makes tokens, and writes who did it into the log', async () => {
    const state = await domain('example.org');
    await serve(state);
    expect((await call(state, 'POST', '/v1/rules', { yaml: UID_RULE })).body).toMatchObject({
      created: ['by-uid'],
    });
    expect((await call(state, 'POST', '/v1/rules', { yaml: UID_RULE })).body).toMatchObject({
      unchanged: ['by-uid'],
    });
    const attributes = { unix: { uid: 7, gid: 7, groups: [] } };
    const explained = await call(state, 'POST', '/v1/rules/explain', { attributes });
    expect(explained.body).toMatchObject({
      rules: [{ identity: { spiffeId: 'spiffe://example.org/uid/7' } }],
    });
    const token = await call(state, 'POST', '/v1/join-tokens', { agent: 'n1' });
    expect(token.body).toMatchObject({ token: expect.stringMatching(/^ijt_/) });
    const { body } = await call(state, 'GET', '/v1/audit');
    expect(body).toMatchObject({
      entries: expect.arrayContaining([expect.objectContaining({ act: 'rules.apply', who: 'local' })]),
    });
    expect(JSON.stringify(body)).not.toContain('ijt_');
    expect((await call(state, 'GET', '/v1/audit/verify')).body).toEqual({ isWhole: true });
  });

  test.each([
    ['POST', '/v1/rules', '{"yaml"', 400, 'usage'],
    ['POST', '/v1/rules', { yaml: 'kind: Nonsense' }, 422, 'invalid_document'],
    ['POST', '/v1/rules', { yaml: UID_RULE, more: 1 }, 400, 'usage'],
    ['DELETE', '/v1/rules/none', undefined, 404, 'not_found'],
    ['POST', '/v1/join-tokens', { agent: '../x' }, 400, 'usage'],
    ['POST', '/v1/agents/example.org%2Fx/evict', {}, 404, 'not_found'],
    ['POST', '/v1/agents/no%20id/evict', {}, 400, 'usage'],
    ['DELETE', '/v1/revocations/example.org%2Fx', undefined, 404, 'not_found'],
    ['POST', '/v1/authorities/zz/taint', { overMs: 1 }, 404, 'not_found'],
    ['POST', '/v1/authorities/csr', {}, 409, 'conflict'],
    ['GET', '/v1/identities?limit=0', undefined, 400, 'usage'],
    ['GET', '/v2/anything', undefined, 404, 'not_found'],
    ['POST', '/v1/cutovers', { id: 'c', from: 'default', to: 'none', share: 0.1 }, 409, 'conflict'],
    [
      'PUT',
      '/v1/federation',
      { trustDomain: 'example.org', endpointUrl: 'https://x/', profile: 'https_web' },
      422,
      'invalid_document',
    ],
    ['POST', '/v1/revocations', { serial: 'abcdef' }, 404, 'not_found'],
  ])('answers %s %s %j with %i as a problem', async (method, path, body, status, code) => {
    const state = await shared();
    const answer = await call(state, method, path, body);
    expect(answer).toMatchObject({ status, type: 'application/problem+json', body: { status, code } });
  });
});

describe('federation', () => {
  const ID = 'spiffe://peer.example/interlock/server';
  // Nothing listens there.
  const peer = { trustDomain: 'peer.example', endpointUrl: 'https://127.0.0.1:1/bundle' };
  const spiffe = { ...peer, profile: 'https_spiffe', endpointSpiffeId: ID };

  test('with an https_spiffe endpoint needs a bundle that its ID can be checked by', async () => {
    const state = await domain('example.org');
    await serve(state);
    const put = (body: object) => call(state, 'PUT', '/v1/federation', body);
    expect(await put(spiffe)).toMatchObject({
      status: 422,
      body: { code: 'invalid_document', detail: expect.stringContaining('give its first one with --bundle') },
    });
    const elsewhere = { ...spiffe, endpointSpiffeId: 'spiffe://hub.example/server' };
    const bundle = formatBundle({ trustDomain: 'peer.example', x509Authorities: [], jwtAuthorities: [] });
    expect(await put({ ...elsewhere, bundle })).toMatchObject({
      status: 422,
      body: { detail: expect.stringContaining('federate with hub.example first') },
    });
    expect((await call(state, 'GET', '/v1/federation')).body).toMatchObject({ peers: [] });
    expect(await put({ ...spiffe, bundle })).toMatchObject({ status: 200 });
    // Its bundle is known by now, and our own is always.
    await until(async () => (await put(spiffe)).status === 200);
    expect(await put({ ...spiffe, endpointSpiffeId: 'spiffe://example.org/hub' })).toMatchObject({
      status: 200,
    });
  });

  test('does not call fresh what was never fetched', async () => {
    const state = await domain('example.org');
    await serve(state);
    const added = await call(state, 'PUT', '/v1/federation', { ...peer, profile: 'https_web' });
    expect(added.body).toMatchObject({ state: 'not_fetched', authorities: 0 });
    const looked = await call(state, 'POST', '/v1/federation/peer.example/refresh');
    expect(looked.body).toMatchObject({ state: 'failing', authorities: 0 });
  });
});

/** Waits for what follows by itself. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setImmediate(resolve));
}

describe('the public endpoints', () => {
  test('show the bundle, and the OpenID documents where there is an issuer', async () => {
    const state = await domain('example.org', 'https://oidc.example.org');
    const serving = await serve(state, { endpoints: { host: '127.0.0.1', port: 0 } });
    const port = serving.endpointsPort ?? 0;
    expect(parseBundle((await get(port, '/bundle')).text, 'example.org').x509Authorities).toHaveLength(1);
    const discovery = JSON.parse((await get(port, '/.well-known/openid-configuration')).text);
    expect(discovery.issuer).toBe('https://oidc.example.org');
    expect(JSON.parse((await get(port, '/keys')).text).keys).toHaveLength(1);
    expect((await get(port, '/other')).status).toBe(404);
  });
});

const CHILD_RULE = (name: string, prefixes: string) => `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: ${name} }
spec:
  spiffeId: /authorities/${name}
  nodes: { selectors: ["agent:id:spiffe://example.org/interlock/agent/join_token/${name}"] }
  downstream: ${prefixes}
`;

describe('a child authority', () => {
  async function childOf(
    parent: string,
    port: number,
    name: string,
    state = newDir(),
  ): Promise<[string, Serving]> {
    const { body } = await call(parent, 'POST', '/v1/join-tokens', { agent: name });
    const { token } = body as unknown as { token: string };
    return [state, await serve(state, { parent: { address: `127.0.0.1:${port}`, joinToken: token } })];
  }
  test('is limited to its prefixes, and follows the bundle and the revocations of its parent', async () => {
    const state = await domain('example.org');
    const parent = await serve(state);
    await call(state, 'POST', '/v1/rules', { yaml: CHILD_RULE('pay', '{ prefixes: ["/area/pay/"] }') });
    const [, child] = await childOf(state, parent.port, 'pay');
    const { registry, authorities } = child.plane;
    expect(registry.domain).toMatchObject({
      trustDomain: 'example.org',
      root: 'parent',
      prefixes: ['/area/pay/'],
    });
    const chain = authorities.slots.flatMap(({ intermediates }) => intermediates);
    expect(chain.map(({ prefixes }) => prefixes)).toEqual([['/area/pay/']]);
    await until(
      () => parent.plane.desk.bundles.current.version > 0 && registry.upstream.bundle !== undefined,
    );
    const roots = () => registry.ownBundle.x509Authorities.map((der) => der.toString('hex'));
    expect(roots()).toEqual(
      parent.plane.registry.ownBundle.x509Authorities.map((der) => der.toString('hex')),
    );
    await call(state, 'POST', '/v1/authorities/prepare', {});
    await until(() => roots().length === 2);
    await call(state, 'POST', '/v1/revocations', { spiffeId: 'spiffe://example.org/uid/1' });
    await until(() => registry.revocations.current.value.spiffeIds.has('spiffe://example.org/uid/1'));
    const outside = child.plane.issuing.leaf({
      kind: 'workload',
      spiffeId: 'spiffe://example.org/area/other/x' as never,
      csr: createRequest(generateKey('ec-p256')),
      ttl: 1000,
      agent: '',
      rule: '',
    });
    await expect(outside).rejects.toMatchObject({
      code: 'forbidden',
      message: expect.stringContaining('prefixes'),
    });
  });

  test('starts again without its parent, with all that it had from it', async () => {
    const state = await domain('example.org');
    const parent = await serve(state);
    await call(state, 'POST', '/v1/rules', { yaml: CHILD_RULE('pay', '{ prefixes: ["/area/pay/"] }') });
    const [childState, child] = await childOf(state, parent.port, 'pay');
    const address = `127.0.0.1:${parent.port}`;
    const bundle = child.plane.registry.ownBundle.x509Authorities.length;
    await child.close();
    await parent.close();
    const again = await serve(childState, { parent: { address } });
    expect(again.plane.registry.ownBundle.x509Authorities).toHaveLength(bundle);
    const leaf = await again.plane.store.issued({ kind: 'server', liveAt: Date.now() });
    expect(leaf).toHaveLength(1);
  });

  test('without a rule that lets it be one is refused', async () => {
    const state = await domain('example.org');
    const parent = await serve(state);
    await expect(childOf(state, parent.port, 'pay')).rejects.toMatchObject({
      code: 'forbidden',
      message: expect.stringContaining('downstream'),
    });
  });

  test('with a trust domain of its own is federated without a manual step', async () => {
    const state = await domain('example.org');
    const parent = await serve(state);
    await call(state, 'POST', '/v1/rules', { yaml: CHILD_RULE('b', '{ trustDomains: [b.example] }') });
    const [, child] = await childOf(state, parent.port, 'b', await domain('b.example'));
    await until(() => parent.plane.registry.foreignBundles.has('b.example'));
    await until(() => child.plane.registry.foreignBundles.has('example.org'));
    const theirs = child.plane.authorities.slots[0]?.root.der;
    expect(parent.plane.registry.foreignBundles.get('b.example')?.x509Authorities).toEqual([theirs]);
  });

  test('publishes the bundles of the trust domains that its rule names, and no other', async () => {
    const state = await domain('example.org');
    const { plane } = await serve(state);
    await call(state, 'POST', '/v1/rules', { yaml: CHILD_RULE('b', '{ trustDomains: [b.example] }') });
    const id = parseSpiffeId('spiffe://example.org/interlock/agent/join_token/b');
    const agent = {
      agent: { id, attestor: 'join_token' },
      selectors: [`agent:id:${id}`],
      claims: {},
    };
    const partner = formatBundle({ trustDomain: 'partner.example', x509Authorities: [], jwtAuthorities: [] });
    await expect(
      plane.children.publish(agent, 'partner.example', Buffer.from(partner)),
    ).rejects.toMatchObject({ code: 'forbidden', message: expect.stringContaining('trustDomains') });
    expect(plane.registry.foreignBundles.size).toBe(0);
    await plane.children.publish(agent, 'b.example', Buffer.from(partner));
    expect([...plane.registry.foreignBundles.keys()]).toEqual(['b.example']);
    await expect(plane.children.sign(agent, Buffer.alloc(0), 0)).rejects.toMatchObject({ code: 'forbidden' });
  });
});
