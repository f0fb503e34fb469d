import { beforeAll, describe, expect, test } from 'vitest';
import { context, MINUTE, NOW, tokenIssuer, usedTokens } from './example.test-helper.ts';
import { OidcAttestor } from './index.ts';

const ISSUER = 'https://ci.example';
type Issuer = Awaited<ReturnType<typeof tokenIssuer>>;
let old: Issuer;
let fresh: Issuer;
beforeAll(async () => {
  old = await tokenIssuer(ISSUER, 'ES256', 'k1');
  fresh = await tokenIssuer(ISSUER, 'ES256', 'k2');
});

/** An issuer found by discovery: what it publishes, a clock, and how often it was asked. */
function world() {
  const state = {
    now: NOW,
    keys: [old.jwk] as object[],
    discovery: { issuer: ISSUER, jwks_uri: `${ISSUER}/keys` } as object,
    down: false,
    asked: [] as string[],
  };
  const attestor = new OidcAttestor({
    issuers: [{ issuer: ISSUER, audience: 'interlock', when: 'true', agent: 'claims.sub' }],
    used: usedTokens(),
    fetchText: (url) => {
      state.asked.push(url);
      if (state.down) return Promise.reject(new Error('ECONNREFUSED'));
      return Promise.resolve(JSON.stringify(url.endsWith('/keys') ? { keys: state.keys } : state.discovery));
    },
    now: () => state.now,
  });
  let made = 0;
  const attest = async (by: Issuer = old) => {
    const at = state.now / 1000;
    const token = await by.sign({ sub: `j${++made}`, iat: at, exp: at + 300 });
    return (await attestor.attest(Buffer.from(token), context(state.now))).name;
  };
  return { state, attest };
}

describe('the keys of an issuer', () => {
  test('are found by discovery and kept', async () => {
    const { state, attest } = world();
    expect([await attest(), await attest()]).toEqual(['j1', 'j2']);
    expect(state.asked).toEqual([`${ISSUER}/.well-known/openid-configuration`, `${ISSUER}/keys`]);
  });

  test('are asked for once by all who come at the same time', async () => {
    const { state, attest } = world();
    await Promise.all([attest(), attest(), attest()]);
    expect(state.asked).toHaveLength(2);
  });

  test('are asked for again when a token names a new one, and after a while', async () => {
    const { state, attest } = world();
    await attest();
    state.keys = [old.jwk, fresh.jwk];
    state.now += MINUTE;
    expect(await attest(fresh)).toBe('j2');
    expect(state.asked).toHaveLength(4);
    state.keys = [fresh.jwk];
    state.now += 11 * MINUTE;
    await expect(attest(old)).rejects.toThrow(/does not have/);
  });

  test('are not asked for at the pace of whoever sends unknown keys', async () => {
    const { state, attest } = world();
    await attest();
    for (let i = 0; i < 20; i++) await expect(attest(fresh)).rejects.toThrow(/does not have/);
    expect(state.asked.length).toBeLessThanOrEqual(4);
  });

  test('serve for a day while the issuer does not answer, and not longer', async () => {
    const { state, attest } = world();
    await attest();
    state.down = true;
    state.now += 23 * 60 * MINUTE;
    expect(await attest()).toBe('j2');
    state.now += 2 * 60 * MINUTE;
    await expect(attest()).rejects.toMatchObject({ code: 'unavailable' });
  });

  test('that cannot be had at all are a passing fault', async () => {
    const { state, attest } = world();
    state.down = true;
    await expect(attest()).rejects.toMatchObject({ code: 'unavailable' });
    state.down = false;
    state.now += MINUTE;
    expect(await attest()).toBe('j2');
  });

  test.each([
    ['another issuer in its document', { issuer: 'https://evil.example', jwks_uri: `${ISSUER}/keys` }],
    ['no issuer in its document', { jwks_uri: `${ISSUER}/keys` }],
    ['keys over plain http', { issuer: ISSUER, jwks_uri: 'http://ci.example/keys' }],
    ['no address of keys', { issuer: ISSUER }],
  ])('%s: nothing is accepted', async (_what, discovery) => {
    const { state, attest } = world();
    state.discovery = discovery;
    await expect(attest()).rejects.toMatchObject({ code: 'unavailable' });
  });
});
