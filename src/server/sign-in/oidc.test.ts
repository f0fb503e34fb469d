import { createSecretKey } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { seal } from '../keys/sealing.ts';
import { realTimers } from '../timers.ts';
import { type Browser, secretOf, type TestHttp, testHttp } from '../http/testing.test-helper.ts';
import { startProvider, type TestProvider, throughProvider } from './provider.test-helper.ts';

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

const cookieName = () => `interlock-${new URL(plane.origin).port}-oidc`;
/** How often the provider was asked about a code. */
const questions = () => provider.asked.filter((path) => path.startsWith('/token')).length;
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
      trustDomain: 'example.org',
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
  test('for the second time, also with another code', async () => {
    const browser = plane.browser();
    const back = await throughProvider(browser, 'olga');
    const kept = new Map(browser.cookies.get(new URL(plane.origin).host));
    await browser.ask(back.href);
    const before = questions();
    for (const code of [undefined, 'another', 'and-another']) {
      const thief = plane.browser();
      thief.cookies.set(new URL(plane.origin).host, new Map(kept));
      if (code !== undefined) back.searchParams.set('code', code);
      expect((await thief.ask(back.href)).headers.get('location')).toBe('/sign-in?fault=refused');
      expect(thief.session).toBeUndefined();
    }
    expect(questions()).toBe(before);
  });

  test('in another browser than the one that began: nobody signs a victim in as somebody else', async () => {
    const attacker = plane.browser();
    const back = await throughProvider(attacker, 'olga');
    const victim = plane.browser();
    expect((await victim.ask(back.href)).headers.get('location')).toBe('/sign-in?fault=expired');
    // Also in one that has begun a sign-in of its own.
    const before = questions();
    await victim.ask('/v1/sign-in/oidc');
    expect((await victim.ask(back.href)).headers.get('location')).toBe('/sign-in?fault=refused');
    expect(victim.session).toBeUndefined();
    expect(questions()).toBe(before);
  });

  test('with what somebody made up, and the provider is not asked', async () => {
    const text = { state: 's', nonce: 'n', verifier: 'w'.repeat(43), to: '/', until: Date.now() + 60_000 };
    const plain = Buffer.from(JSON.stringify(text));
    const foreign = seal(createSecretKey(Buffer.alloc(32, 1)), 'sign-in oidc', plain);
    const before = questions();
    for (const value of [
      plain.toString('base64url'),
      plain.toString('base64'),
      foreign,
      'x',
      'A'.repeat(5000),
    ]) {
      const stranger = plane.browser();
      stranger.cookies.set(new URL(plane.origin).host, new Map([[cookieName(), value]]));
      const answer = await stranger.ask('/v1/sign-in/oidc/callback?code=c&state=s');
      expect(answer.headers.get('location')).toBe('/sign-in?fault=expired');
    }
    expect(questions()).toBe(before);
  });

  test('with a cookie that was changed in any place', async () => {
    const browser = plane.browser();
    const back = await throughProvider(browser, 'olga');
    const jar = browser.cookies.get(new URL(plane.origin).host) ?? new Map<string, string>();
    const bytes = Buffer.from(jar.get(cookieName()) ?? '', 'base64');
    const before = questions();
    for (const at of [0, 11, 12, Math.floor(bytes.length / 2), bytes.length - 17, bytes.length - 1]) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 1;
      const forger = plane.browser();
      forger.cookies.set(new URL(plane.origin).host, new Map([[cookieName(), changed.toString('base64')]]));
      expect((await forger.ask(back.href)).headers.get('location')).toBe('/sign-in?fault=expired');
    }
    expect(questions()).toBe(before);
    // The one that was not changed is good.
    expect((await browser.ask(back.href)).headers.get('location')).toBe('/');
  });

  test('for another sign-in than the one that goes on, which is not ended by it', async () => {
    const browser = plane.browser();
    const back = await throughProvider(browser, 'olga');
    const led = await browser.ask('/v1/sign-in/oidc/callback?code=x&state=y');
    expect(led.headers.get('location')).toBe('/sign-in?fault=refused');
    expect((await browser.ask(back.href)).headers.get('location')).toBe('/');
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

describe('whoever begins sign-ins without end', () => {
  let flooded: TestHttp;
  let asked: TestProvider;
  beforeAll(async () => {
    asked = await startProvider();
    // All of it happens at one moment: how fast this machine is says nothing.
    const now = Date.now();
    flooded = await testHttp(
      {
        signIn: {
          oidc: { issuer: asked.issuer, clientId: 'interlock', scopes: ['openid'], groupsClaim: 'groups' },
          clientSecret: 'a secret of thirty-two characters',
          tokens: [],
          roles: [],
        },
      },
      { timers: { ...realTimers, now: () => now } },
    );
    asked.allow(`${flooded.origin}/v1/sign-in/oidc/callback`);
  });
  afterAll(async () => {
    await flooded.close();
    await asked.close();
  });
  const leads = async (answer: Response) => new URL(answer.headers.get('location') ?? '', flooded.origin);

  test('makes us ask the provider for its settings once, and about few codes that are made up', async () => {
    const faults = [];
    for (let i = 0; i < 16; i++) {
      const browser = flooded.browser();
      const { searchParams } = await leads(await browser.ask('/v1/sign-in/oidc'));
      const state = searchParams.get('state') ?? '';
      const back = `/v1/sign-in/oidc/callback?code=made-up-${i}&state=${state}&iss=${encodeURIComponent(asked.issuer)}`;
      faults.push((await leads(await browser.ask(back))).searchParams.get('fault'));
    }
    // Ten, and the one of each second that is let through all the same.
    expect(faults).toEqual(Array.from({ length: 16 }, (_, i) => (i < 11 ? 'refused' : 'too-many')));
    expect(asked.asked.filter((path) => path.includes('openid-configuration'))).toHaveLength(1);
    const tokens = asked.asked.filter((path) => path.startsWith('/token')).length;
    expect(tokens).toBe(11);
  });

  test('is told to wait', async () => {
    let fault: string | null = null;
    for (let i = 0; i < 40 && fault === null; i++)
      fault = (await leads(await flooded.browser().ask('/v1/sign-in/oidc'))).searchParams.get('fault');
    expect(fault).toBe('too-many');
  });
});
