import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Need, type Role, ROLES, ROUTE_NAMES, ROUTES } from '../../api/index.ts';
import { somePath } from '../api/testing.test-helper.ts';
import { SignInDesk } from '../sign-in/desk.ts';
import { type Browser, type TestHttp, testHttp } from './testing.test-helper.ts';

let plane: TestHttp;
const browsers = new Map<string, Browser>();
beforeAll(async () => {
  plane = await testHttp();
  const desk = plane.serving.api.signIn;
  if (!(desk instanceof SignInDesk)) throw new Error('nobody can sign in');
  const { host, port } = new URL(plane.origin);
  for (const role of ROLES) {
    const { secret } = await desk.admit(`user:${role}`, ['viewer', role], 'test');
    const browser = plane.browser();
    browser.cookies.set(host, new Map([[`interlock-${port}-session`, secret]]));
    browsers.set(role, browser);
  }
  browsers.set('nobody', plane.browser());
});
afterAll(async () => {
  expect(plane.faults).toEqual([]);
  await plane.close();
});

/** What the table means over HTTP, where nobody is on the machine's own socket. */
function expected(need: Need, who: string): 'unknown' | 'refused' | 'taken' {
  if (need === 'anyone') return 'taken';
  if (who === 'nobody') return 'unknown';
  return need === 'viewer' || need === (who as Role) ? 'taken' : 'refused';
}

describe.each(ROUTE_NAMES.map((name) => ({ name, ...ROUTES[name] })))(
  '$method $path over HTTP needs $need',
  ({ name, method, need }) => {
    test.each(['nobody', ...ROLES])('%s', async (who) => {
      const answer = await browsers.get(who)?.ask(somePath(name), {
        method,
        // A body that no route takes: nothing is changed.
        ...(method === 'GET'
          ? {}
          : { body: '{"never": 1}', headers: { 'content-type': 'application/json', origin: plane.origin } }),
      });
      await answer?.body?.cancel();
      const verdict = answer?.status === 401 ? 'unknown' : answer?.status === 403 ? 'refused' : 'taken';
      expect(verdict).toBe(expected(need, who));
    });
  },
);
