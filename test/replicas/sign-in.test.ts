import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Browser } from '../../src/server/http/testing.test-helper.ts';
import {
  startProvider,
  type TestProvider,
  throughProvider,
} from '../../src/server/sign-in/provider.test-helper.ts';
import { CALLBACK_PATH } from '../../src/server/sign-in/through-provider.ts';
import { hasPostgres, newPostgresUrl } from '../../src/store/postgres/server.test-helper.ts';
import { newKeyFile, SharedPlane } from './planes.test-helper.ts';

/** As the balancer in front of both of them is called. */
const NAME = 'https://interlock.example.com';

describe.skipIf(!hasPostgres)('behind one name, two control planes of one database', () => {
  let provider: TestProvider;
  let a: SharedPlane;
  let b: SharedPlane;

  beforeAll(async () => {
    provider = await startProvider();
    provider.groups.set('olga', ['platform']);
    provider.allow(NAME + CALLBACK_PATH);
    const [url, keyFile] = [await newPostgresUrl(), newKeyFile()];
    const signIn = {
      oidc: { issuer: provider.issuer, clientId: 'interlock', scopes: ['openid'], groupsClaim: 'groups' },
      clientSecret: 'a secret of thirty-two characters',
      tokens: [],
      roles: [{ group: 'platform', roles: ['operator' as const] }],
    };
    const http = { host: '127.0.0.1', port: 0, url: new URL(NAME), signIn };
    const serve = { http };
    [a, b] = await Promise.all([
      SharedPlane.start({ url, keyFile, serve }),
      SharedPlane.start({ url, keyFile, serve }),
    ]);
  }, 60_000);
  afterAll(async () => {
    await Promise.all([a?.close(), b?.close()]);
    await provider.close();
  }, 30_000);

  const at = (plane: SharedPlane) => `http://127.0.0.1:${plane.serving.http?.port}`;
  const questions = () => provider.asked.filter((path) => path.startsWith('/token')).length;

  test('finish the sign-in that the other one began, once, and both know who it is', async () => {
    const browser = new Browser(at(a));
    const back = await throughProvider(browser, 'olga', '/workloads');
    expect(back.origin).toBe(NAME);
    // The cookies of the one name go to whichever of the two the balancer chooses.
    const cookies = browser.cookies.get(new URL(at(a)).host) ?? new Map<string, string>();
    const begun = new Map(cookies);
    const other = new Browser(at(b));
    other.cookies.set(new URL(at(b)).host, cookies);
    const answer = await other.ask(back.pathname + back.search);
    expect(answer.headers.get('location')).toBe('/workloads');
    for (const each of [browser, other])
      expect(await (await each.ask('/v1/me')).json()).toMatchObject({ who: `user:${provider.issuer}#olga` });
    // The same once more, at either: the provider is not asked again.
    expect(questions()).toBe(1);
    for (const plane of [a, b]) {
      const thief = new Browser(at(plane));
      thief.cookies.set(new URL(at(plane)).host, new Map(begun));
      expect((await thief.ask(back.pathname + back.search)).headers.get('location')).toBe(
        '/sign-in?fault=refused',
      );
    }
    expect(questions()).toBe(1);
    expect([...a.faults, ...b.faults]).toEqual([]);
  });
});
