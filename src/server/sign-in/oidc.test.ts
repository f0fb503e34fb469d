import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Browser, secretOf, type TestHttp, testHttp } from '../http/testing.test-helper.ts';
import { startProvider, type TestProvider } from './provider.test-helper.ts';

let provider: TestProvider;
let plane: TestHttp;
beforeAll(async () => {
  provider = await startProvider();
  provider.groups.set('olga', ['platform', 'staff']).set('vera', ['staff']).set('nobody', []);
  plane = await testHttp({
    signIn: {
      oidc: {
        issuer: provider.issuer,
        clientId: 'interlock',
        scopes: ['openid'],
        groupsClaim: 'groups',
      },
      clientSecret: 'a secret of thirty-two characters',
      tokens: [],
      roles: [
        { group: 'platform', roles: ['operator', 'approver'] },
        { group: 'staff', roles: ['viewer'] },
      ],
    },
  });
  provider.allow(`${plane.origin}/v1/sign-in/oidc/callback`);
});
afterAll(async () => {
  await plane.close();
  await provider.close();
});

const isBack = (url: URL) => url.pathname === '/v1/sign-in/oidc/callback';

/** From the button to the provider, through its forms, and to the address that it leads back to. */
async function throughProvider(browser: Browser, user: string, to = '/'): Promise<URL> {
  let { url, answer } = await browser.follow(`/v1/sign-in/oidc?to=${encodeURIComponent(to)}`, isBack);
  // The provider asks for the user, then for consent.
  for (let i = 0; i < 4 && !isBack(url); i++) {
    const page = await answer.text();
    const fields: Record<string, string> = page.includes('name="login"')
      ? { login: user, password: 'any' }
      : {};
    const sent = await browser.submit(page, url, fields);
    await sent.answer.body?.cancel();
    const next = new URL(sent.answer.headers.get('location') ?? '', sent.url);
    ({ url, answer } = isBack(next) ? { url: next, answer } : await browser.follow(next.href, isBack));
  }
  expect(isBack(url)).toBe(true);
  return url;
}

const meOf = async (browser: Browser) => (await browser.ask('/v1/me')).json();

describe('a person signs in through the provider', () => {
  test('gets the roles of its groups, and is led to the path it came from', async () => {
    const browser = plane.browser();
    const back = await throughProvider(browser, 'olga', '/workloads?stage=shadow#x');
    const answer = await browser.ask(back.href);
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/workloads?stage=shadow#x']);
    expect(await meOf(browser)).toEqual({
      who: `user:${provider.issuer}#olga`,
      roles: ['viewer', 'operator', 'approver'],
      isLocal: false,
    });
  });

  test('as a viewer may look and change nothing', async () => {
    const browser = plane.browser();
    await (await browser.ask((await throughProvider(browser, 'vera')).href)).body?.cancel();
    expect(await meOf(browser)).toMatchObject({ roles: ['viewer'] });
    expect((await browser.post('/v1/join-tokens', { agent: 'a' })).status).toBe(403);
  });

  test('without a group that a rule names gets no session', async () => {
    const browser = plane.browser();
    const answer = await browser.ask((await throughProvider(browser, 'nobody')).href);
    expect(answer.headers.get('location')).toBe('/sign-in?fault=no-role');
    expect(browser.session).toBeUndefined();
  });

  test('is led to no other site afterwards', async () => {
    const browser = plane.browser();
    const back = await throughProvider(browser, 'olga', '//evil.example/x');
    expect((await browser.ask(back.href)).headers.get('location')).toBe('/');
  });
});

describe('what comes back from the provider is refused', () => {
  test('for the second time: the code was used', async () => {
    const browser = plane.browser();
    const back = await throughProvider(browser, 'olga');
    const kept = new Map(browser.cookies.get(new URL(plane.origin).host));
    await browser.ask(back.href);
    const thief = plane.browser();
    thief.cookies.set(new URL(plane.origin).host, kept);
    expect((await thief.ask(back.href)).headers.get('location')).toBe('/sign-in?fault=refused');
    expect(thief.session).toBeUndefined();
  });

  test('in another browser than the one that began: nobody signs a victim in as somebody else', async () => {
    const attacker = plane.browser();
    const back = await throughProvider(attacker, 'olga');
    const victim = plane.browser();
    expect((await victim.ask(back.href)).headers.get('location')).toBe('/sign-in?fault=expired');
    // Also in one that has begun a sign-in of its own.
    await victim.ask('/v1/sign-in/oidc');
    expect((await victim.ask(back.href)).headers.get('location')).toBe('/sign-in?fault=refused');
    expect(victim.session).toBeUndefined();
  });

  test.each(['nonce', 'verifier', 'state'])('with another %s than was begun with', async (what) => {
    const browser = plane.browser();
    const back = await throughProvider(browser, 'olga');
    const jar = browser.cookies.get(new URL(plane.origin).host) ?? new Map<string, string>();
    const [name = '', value = ''] = [...jar].find(([each]) => each.endsWith('-oidc')) ?? [];
    const begun: Record<string, string> = JSON.parse(Buffer.from(value, 'base64url').toString());
    begun[what] = 'w'.repeat(43);
    jar.set(name, Buffer.from(JSON.stringify(begun)).toString('base64url'));
    expect((await browser.ask(back.href)).headers.get('location')).toBe('/sign-in?fault=refused');
    expect(browser.session).toBeUndefined();
  });

  test('with an error of the provider, of which nothing is shown', async () => {
    const browser = plane.browser();
    const { url } = await browser.follow('/v1/sign-in/oidc', (to) => to.origin !== plane.origin);
    const state = url.searchParams.get('state') ?? '';
    const back = `/v1/sign-in/oidc/callback?error=access_denied&error_description=%3Cscript%3E&state=${state}&iss=${encodeURIComponent(provider.issuer)}`;
    const answer = await browser.ask(back);
    expect(answer.headers.get('location')).toBe('/sign-in?fault=refused');
  });
});

test('while the provider is away a link still signs in', async () => {
  const closed = await startProvider();
  await closed.close();
  const alone = await testHttp({
    signIn: {
      oidc: { issuer: closed.issuer, clientId: 'x', scopes: ['openid'], groupsClaim: 'groups' },
      tokens: [],
      roles: [],
    },
  });
  try {
    const browser = alone.browser();
    const answer = await browser.ask('/v1/sign-in/oidc');
    expect(answer.headers.get('location')).toBe('/sign-in?fault=provider-away');
    await browser.post('/v1/sign-in/link', { secret: await secretOf(alone.serving) });
    expect(await meOf(browser)).toMatchObject({ roles: ['viewer', 'operator', 'approver', 'breaker'] });
    expect(alone.faults).toEqual([]);
  } finally {
    await alone.close();
  }
});
