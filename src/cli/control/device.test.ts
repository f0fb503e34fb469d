import { chmodSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Browser, type TestHttp, testHttp } from '../../server/http/testing.test-helper.ts';
import { startProvider, type TestProvider } from '../../server/sign-in/provider.test-helper.ts';
import { type Invitation, refreshed, revoke, signInByDevice } from './device.ts';
import { keepSignIn, readSignIns, wayIn } from './sign-in.ts';

let provider: TestProvider;
let plane: TestHttp;
const dir = mkdtempSync(join(tmpdir(), 'interlock-device-'));
beforeAll(async () => {
  provider = await startProvider();
  provider.allow('http://127.0.0.1:1/unused');
  provider.groups.set('olga', ['platform']);
  plane = await testHttp({
    signIn: {
      oidc: {
        issuer: provider.issuer,
        clientId: 'interlock',
        scopes: ['openid'],
        groupsClaim: 'groups',
        cli: { clientId: 'interlock-cli', scopes: ['openid', 'offline_access'] },
      },
      tokens: [],
      roles: [{ group: 'platform', roles: ['operator'] }],
    },
  });
});
afterAll(async () => {
  expect(plane.faults).toEqual([]);
  await plane.close();
  await provider.close();
  rmSync(dir, { recursive: true, force: true });
});

/** A person types the code at the provider, signs in there, and agrees. */
async function approve({ direct }: Invitation, user: string): Promise<void> {
  const browser = new Browser(provider.issuer);
  let { url, answer } = await browser.follow(direct ?? '');
  for (let i = 0; i < 6; i++) {
    const page = await answer.text();
    if (!page.includes('<form')) return;
    const fields: Record<string, string> = page.includes('name="login"')
      ? { login: user, password: 'any' }
      : {};
    const sent = await browser.submit(page, url, fields);
    const to = sent.answer.headers.get('location');
    if (to === null) ({ url, answer } = sent);
    else ({ url, answer } = await browser.follow(new URL(to, sent.url).href));
  }
}

const rolesOf = async (token: string) => {
  const answer = await fetch(`${plane.origin}/v1/me`, { headers: { authorization: `Bearer ${token}` } });
  return [answer.status, ((await answer.json()) as { roles?: unknown }).roles];
};

test('a code typed in any browser signs the command line in, and its token is renewed and given back', async () => {
  const way = await wayIn(new URL(plane.origin));
  let approved: Promise<void> | undefined;
  const signedIn = await signInByDevice(way, (invitation) => {
    approved = approve(invitation, 'olga');
  });
  await approved;
  expect(await rolesOf(signedIn.token)).toEqual([200, ['viewer', 'operator']]);
  const next = await refreshed(signedIn);
  expect(await rolesOf(next?.token ?? '')).toEqual([200, ['viewer', 'operator']]);
  expect(await revoke(next ?? signedIn)).toBe(true);
  expect(await refreshed(next ?? signedIn)).toBeUndefined();
});

test('what is kept is for its owner alone, by control plane, and refused where others may read it', () => {
  const file = join(dir, 'deep', 'sign-in.json');
  keepSignIn(file, 'https://a.example', { token: 'one' });
  keepSignIn(file, 'https://b.example', { token: 'two' });
  keepSignIn(file, 'https://a.example', undefined);
  expect([...readSignIns(file)]).toEqual([['https://b.example', { token: 'two' }]]);
  expect([statSync(file).mode & 0o777, statSync(join(dir, 'deep')).mode & 0o777]).toEqual([0o600, 0o700]);
  chmodSync(file, 0o640);
  expect(() => readSignIns(file)).toThrow(expect.objectContaining({ code: 'forbidden' }));
});

test('a control plane that names a provider in plain text is not believed', async () => {
  const other = await testHttp({
    signIn: {
      oidc: {
        issuer: 'http://login.example',
        clientId: 'x',
        scopes: ['openid'],
        groupsClaim: 'groups',
        cli: { clientId: 'y', scopes: ['openid'] },
      },
      tokens: [],
      roles: [],
    },
  });
  try {
    await expect(wayIn(new URL(other.origin))).rejects.toMatchObject({ code: 'untrusted' });
  } finally {
    await other.close();
  }
});
