import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Caller, NEEDS, ROLES, ROUTE_NAMES, ROUTES } from '../../api/index.ts';
import { callerWith, LOCAL, somePath, type TestApi, testApi } from './testing.test-helper.ts';

let api: TestApi;
beforeAll(async () => {
  api = await testApi();
});
afterAll(() => api.close());

/** A caller who may do all of a role and no more has it beside that of a viewer. */
const CALLERS: readonly (readonly [string, Caller | undefined])[] = [
  ['nobody', undefined],
  ['somebody without a role', callerWith()],
  ...ROLES.map((role) => [role, callerWith('viewer', role)] as const),
  ['local', LOCAL],
];

/** What the table means, in other words than the program's. */
function expected(need: (typeof NEEDS)[number], caller: Caller | undefined): 'refused' | 'unknown' | 'taken' {
  if (need === 'anyone') return 'taken';
  if (caller === undefined) return 'unknown';
  if (caller === LOCAL) return 'taken';
  const roles: ReadonlySet<string> = caller.roles;
  return roles.has(need) ? 'taken' : 'refused';
}

describe.each(ROUTE_NAMES.map((name) => ({ name, ...ROUTES[name] })))(
  '$method $path needs $need',
  ({ name, method, need }) => {
    test.each(CALLERS)('%s', async (_, caller) => {
      const controller = new AbortController();
      // A body that no route takes: whoever may call is told so, and nothing is changed.
      const answer = await api.ask(caller, method, somePath(name), {
        ...(method === 'GET' ? {} : { body: '{"never": 1}' }),
        signal: controller.signal,
      });
      const verdict = answer.status === 401 ? 'unknown' : answer.status === 403 ? 'refused' : 'taken';
      expect(verdict).toBe(expected(need, caller));
      if (verdict !== 'taken') {
        expect(answer.headers.get('content-type')).toBe('application/problem+json');
        expect(await answer.json()).toMatchObject({
          code: verdict === 'unknown' ? 'untrusted' : 'forbidden',
        });
      }
      if (!answer.bodyUsed) await answer.body?.cancel();
      controller.abort();
      expect(api.faults).toEqual([]);
    });
  },
);

test('every role and need of the table is asked for by some route', () => {
  const asked = new Set<string>(ROUTE_NAMES.map((name) => ROUTES[name].need));
  expect([...NEEDS].filter((need) => !asked.has(need))).toEqual([]);
});

test('who may not call is refused before anything of the body is read', async () => {
  const body = `{"yaml": "${'x'.repeat(17 * 1024 * 1024)}"}`;
  const statuses = [];
  for (const caller of [undefined, callerWith('viewer'), callerWith('viewer', 'operator')])
    statuses.push((await api.ask(caller, 'POST', '/v1/policies', { body })).status);
  expect(statuses).toEqual([401, 403, 413]);
});
