import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../access/index.ts';
import { type TestHttp, testHttp } from '../http/testing.test-helper.ts';
import { realTimers } from '../timers.ts';
import { BearerTokens } from './bearer.ts';
import { RoleMap } from './roles.ts';

const CI_AUDIENCE = 'https://interlock.example.com';
const REPOSITORY = 'repo:acme/shop:ref:refs/heads/main';
const CLI_SUBJECT = 'a-user';

/** An issuer of CI tokens: its keys, and who may sign in its name. */
async function startIssuer() {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256', use: 'sig' };
  const server: Server = createServer((request, response) => {
    const body = request.url === '/keys' ? { keys: [jwk] } : { issuer, jwks_uri: `${issuer}/keys` };
    response.setHeader('content-type', 'application/json').end(JSON.stringify(body));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const issuer = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
  const token = (
    claims: Record<string, unknown>,
    { key = privateKey, ends = 600 }: { key?: CryptoKey; ends?: number } = {},
  ) => {
    const now = Math.floor(Date.now() / 1000);
    const all = {
      iss: issuer,
      aud: CI_AUDIENCE,
      sub: REPOSITORY,
      iat: now - 700,
      exp: now + ends,
      ...claims,
    };
    return new SignJWT(all).setProtectedHeader({ alg: 'ES256', kid: 'one' }).sign(key);
  };
  const close = () => new Promise((closed) => server.close(closed));
  return { issuer, token, close };
}

let ci: Awaited<ReturnType<typeof startIssuer>>;
let people: Awaited<ReturnType<typeof startIssuer>>;
let plane: TestHttp;
beforeAll(async () => {
  [ci, people] = [await startIssuer(), await startIssuer()];
  plane = await testHttp({
    signIn: {
      oidc: {
        issuer: people.issuer,
        clientId: 'interlock',
        scopes: ['openid'],
        groupsClaim: 'groups',
        cli: { clientId: 'interlock-cli', scopes: ['openid'] },
      },
      tokens: [{ issuer: ci.issuer, audience: CI_AUDIENCE }],
      roles: [
        { group: 'platform', roles: ['operator'] },
        { issuer: ci.issuer, subject: REPOSITORY, roles: ['operator'] },
        { issuer: ci.issuer, claims: { repository: 'acme/web', protected: true }, roles: ['viewer'] },
        { subject: CLI_SUBJECT, roles: ['breaker'] },
        { spiffe: 'spiffe://example.org/ci/*', roles: ['operator'] },
      ],
    },
  });
});
afterAll(async () => {
  expect(plane.faults).toEqual([]);
  await plane.close();
  await Promise.all([ci.close(), people.close()]);
});

async function me(token: string): Promise<{ status: number; body: unknown }> {
  const answer = await fetch(`${plane.origin}/v1/me`, { headers: { authorization: `Bearer ${token}` } });
  return { status: answer.status, body: await answer.json() };
}

describe('the token of a CI job', () => {
  test('gives the roles of its subject', async () => {
    expect(await me(await ci.token({}))).toEqual({
      status: 200,
      body: {
        who: `user:${ci.issuer}#${REPOSITORY}`,
        roles: ['viewer', 'operator'],
        isLocal: false,
        trustDomain: 'example.org',
      },
    });
  });

  test('gives the roles of claims only where every one of them is as written', async () => {
    const sub = 'other';
    const both = await me(await ci.token({ sub, repository: 'acme/web', protected: true }));
    const one = await me(await ci.token({ sub, repository: 'acme/web', protected: 'true' }));
    expect([both.body, one.status]).toEqual([expect.objectContaining({ roles: ['viewer'] }), 403]);
  });

  test('gives no role by a group that it says of itself, nor by the subject of another issuer', async () => {
    expect((await me(await ci.token({ sub: 'x', groups: ['platform'] }))).status).toBe(403);
    expect((await me(await ci.token({ sub: CLI_SUBJECT }))).status).toBe(403);
  });

  const wrong: readonly (readonly [string, () => Promise<string>])[] = [
    ['for another audience', () => ci.token({ aud: 'somebody-else' })],
    ['without an audience', () => ci.token({ aud: undefined })],
    ['that has expired', () => ci.token({}, { ends: -120 })],
    ['without an end', () => ci.token({ exp: undefined })],
    ['that lives for a month', () => ci.token({}, { ends: 30 * 86_400 })],
    ['of an issuer that nobody named', () => ci.token({ iss: 'https://evil.example' })],
    ['by the key of another issuer', () => people.token({ iss: ci.issuer })],
    ['without a subject', () => ci.token({ sub: '' })],
    ['that is nothing', async () => 'x.y.z'],
    ['without a signature', async () => `${(await ci.token({})).split('.').slice(0, 2).join('.')}.`],
  ];
  test.each(wrong)('%s proves nothing', async (_, token) => {
    const { status, body } = await me(await token());
    expect([status, body]).toEqual([401, expect.objectContaining({ code: 'untrusted' })]);
  });

  test('is not made good by a cookie beside it', async () => {
    const browser = await plane.signedIn();
    const headers = { authorization: 'Bearer x.y.z' };
    expect((await browser.ask('/v1/me', { headers })).status).toBe(401);
  });
});

test('the ID token of the command line gives the roles of its groups and of its subject', async () => {
  const aud = 'interlock-cli';
  const groups = ['staff', 'platform'];
  const { body } = await me(await people.token({ aud, sub: CLI_SUBJECT, groups }));
  expect(body).toMatchObject({ roles: ['viewer', 'operator', 'breaker'] });
  // That of the browser's client is not for here.
  expect((await me(await people.token({ aud: 'interlock', groups }))).status).toBe(401);
});

describe('the JWT-SVID of a workload', () => {
  const svid = (path: string, audience: string) =>
    plane.serving.plane.issuing.jwt({
      spiffeId: parseSpiffeId(`spiffe://example.org${path}`),
      audience: [audience],
      ttl: 300_000,
      agent: '',
      rule: '',
    });
  const OURS = 'spiffe://example.org/interlock/server';

  test('gives the roles of its SPIFFE ID, where it is meant for this control plane', async () => {
    const { token } = await svid('/ci/deploy', OURS);
    expect(await me(token)).toMatchObject({
      status: 200,
      body: { who: 'spiffe://example.org/ci/deploy', roles: ['viewer', 'operator'] },
    });
    expect((await me((await svid('/ci/deploy', 'somebody-else')).token)).status).toBe(401);
    expect((await me((await svid('/ns/shop/sa/web', OURS)).token)).status).toBe(403);
  });

  test('is worth nothing once its identity is revoked', async () => {
    const { token } = await svid('/ci/old', OURS);
    expect((await me(token)).status).toBe(200);
    await plane.serving.plane.revoking.revokeId('test', parseSpiffeId('spiffe://example.org/ci/old'), 'gone');
    expect((await me(token)).status).toBe(401);
  });
});

test('a token has one timer, however many streams it opens', async () => {
  const config = {
    tokens: [{ issuer: ci.issuer, audience: CI_AUDIENCE }],
    roles: [{ issuer: ci.issuer, subject: REPOSITORY, roles: ['viewer' as const] }],
  };
  const ends: (() => void)[] = [];
  const timers = {
    ...realTimers,
    after: (_: number, run: () => void) => {
      ends.push(run);
      return () => {};
    },
  };
  const { registry } = plane.serving.plane;
  const bearer = new BearerTokens({ config, roles: new RoleMap(config), registry, timers });
  const token = await ci.token({});
  const streams = [(await bearer.callerOf(token)).ended, (await bearer.callerOf(token)).ended];
  expect(ends).toHaveLength(1);
  for (const end of ends) end();
  expect(streams.map((ended) => ended?.aborted)).toEqual([true, true]);
});

// The last one: it uses up what may fail in a minute from here.
test('tokens that fail again and again are answered with a wait; cookies and tokens that were good are not', async () => {
  const good = await ci.token({});
  expect((await me(good)).status).toBe(200);
  let last: Response | undefined;
  for (let i = 0; i < 40; i++) {
    last = await fetch(`${plane.origin}/v1/me`, { headers: { authorization: `Bearer x.y.${i}` } });
    await last.body?.cancel();
  }
  expect(last?.status).toBe(429);
  expect(Number(last?.headers.get('retry-after'))).toBeGreaterThan(0);
  expect((await me(good)).status).toBe(200);
  expect((await (await plane.signedIn()).ask('/v1/me')).status).toBe(200);
});
