import { afterAll, beforeAll, expect, test } from 'vitest';
import { pathOf } from '../../api/index.ts';
import { LOCAL, OPERATOR, type TestApi, testApi } from './testing.test-helper.ts';

const CART = 'spiffe://example.org/ns/shop/sa/cart';
let api: TestApi;
beforeAll(async () => {
  api = await testApi();
});
afterAll(() => api.close());

const policy = (name: string, path: string, workload = CART) => `apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: ${name} }
spec:
  protects: { workload: ${workload} }
  rules: [ { name: web, from: [ { trustDomain: example.org } ], to: [ { http: { paths: [ "${path}" ] } } ] } ]
`;
const source = { name: 'acme/policies//' };

async function sync(body: object): Promise<{ status: number; answer: Record<string, unknown> }> {
  const path = pathOf('policies.sync', { workload: CART });
  const text = JSON.stringify({ yaml: '', source, version: null, ...body });
  const answer = await api.ask(OPERATOR, 'PUT', path, { body: text });
  return { status: answer.status, answer: (await answer.json()) as Record<string, unknown> };
}

async function rollout(): Promise<{ version: string; target: string[]; stage: string }> {
  const answer = await api.ask(LOCAL, 'GET', pathOf('rollouts.get', { workload: CART }));
  return (await answer.json()) as { version: string; target: string[]; stage: string };
}

test('a target set is made what a directory says: all of it, at the version that was looked at, with where it is from', async () => {
  const yaml = `${policy('one', '/a')}---\n${policy('two', '/b')}`;
  const commit = 'a'.repeat(40);
  expect(await sync({ yaml, source: { ...source, commit }, marks: { one: 'x1', two: 'x2' } })).toMatchObject({
    status: 200,
    answer: { created: ['one', 'two'], changed: [], removed: [], unchanged: [], change: expect.any(String) },
  });
  const { version } = await rollout();
  const next = { yaml: policy('one', '/c'), remove: ['two'] };
  // Who has looked at nothing, or at something older, changes nothing.
  for (const old of [null, 'older'])
    expect(await sync({ ...next, version: old })).toMatchObject({
      status: 409,
      answer: { code: 'conflict' },
    });
  expect((await rollout()).version).toBe(version);
  expect(await sync({ ...next, version })).toMatchObject({
    status: 200,
    answer: { created: [], changed: ['one'], removed: ['two'] },
  });
  expect(await rollout()).toMatchObject({ target: ['one'], stage: 'draft' });
  const audit = await api.ask(LOCAL, 'GET', '/v1/audit?act=policy.sync');
  const { entries } = (await audit.json()) as { entries: object[] };
  expect(entries).toMatchObject([
    { what: CART, details: { source: source.name, commit, created: ['one', 'two'], marks: { one: 'x1' } } },
    { what: CART, details: { source: source.name, changed: ['one'], removed: ['two'] } },
  ]);
});

test('what is the same is noted, and the rollout stays as it is', async () => {
  const before = await rollout();
  const { answer } = await sync({ version: before.version, marks: { one: 'x3' } });
  expect(answer).toEqual({ created: [], changed: [], removed: [], unchanged: [] });
  expect(await rollout()).toEqual(before);
});

test.each([
  ['a policy of another workload', { yaml: policy('one', '/a', `${CART}2`) }, 422, 'invalid_document'],
  ['a policy to be removed that is not there', { remove: ['none'] }, 404, 'not_found'],
  ['a policy given and to be removed', { yaml: policy('one', '/z'), remove: ['one'] }, 400, 'usage'],
  ['a commit that is none', { source: { ...source, commit: '../x' } }, 400, 'usage'],
  ['a mark of a policy that is not there', { marks: { none: 'x' } }, 400, 'usage'],
  ['no source', { source: undefined }, 400, 'usage'],
  ['a document that is none', { yaml: 'kind: AccessPolicy' }, 422, 'invalid_document'],
])('%s is refused, and nothing is changed', async (_, body, status, code) => {
  const before = await rollout();
  expect(await sync({ version: before.version, ...body })).toMatchObject({ status, answer: { code } });
  expect(await rollout()).toEqual(before);
});
