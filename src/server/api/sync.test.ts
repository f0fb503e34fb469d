import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../access/index.ts';
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

test('where a policy was synced from is told with it, as long as it is that one, and who has written of it counts as author', async () => {
  const MAIL = 'spiffe://example.org/ns/shop/sa/mail';
  const path = pathOf('policies.sync', { workload: MAIL });
  const put = async (body: object) => {
    const { version } = await get<{ version?: string }>('rollouts.get', MAIL);
    const sent = { yaml: '', source: { ...source, branch: 'main', commit: 'c'.repeat(40) }, ...body };
    const text = JSON.stringify({ version: version ?? null, ...sent });
    return (await api.ask(OPERATOR, 'PUT', path, { body: text })).status;
  };
  const origins = { one: { file: 'shop/one.yaml', authors: ['git:ann@example.com'] } };
  expect(await put({ yaml: policy('one', '/a', MAIL), marks: { one: 'x' }, origins })).toBe(200);
  const from = {
    source: source.name,
    file: 'shop/one.yaml',
    branch: 'main',
    commit: 'c'.repeat(40),
    authors: ['git:ann@example.com'],
    by: OPERATOR.who,
    at: expect.any(Number),
  };
  const shown = () => get<{ origins: object[] }>('rollouts.get', MAIL);
  expect((await shown()).origins).toEqual([{ policy: 'one', set: 'target', ...from }]);
  const { policies } = await get<{ policies: object[] }>('policies.list', MAIL);
  expect(policies).toMatchObject([{ name: 'one', origin: from }]);
  const rollout = api.serving.enforcing.rollouts.get(parseSpiffeId(MAIL));
  expect(rollout.authors).toEqual([OPERATOR.who, 'git:ann@example.com']);
  // Changed here: it says what it was before that.
  await api.ask(OPERATOR, 'POST', '/v1/policies', {
    body: JSON.stringify({ yaml: policy('one', '/b', MAIL) }),
  });
  expect((await shown()).origins).toMatchObject([{ commit: 'c'.repeat(40), changedSince: true }]);
  await api.ask(OPERATOR, 'POST', '/v1/policies', {
    body: JSON.stringify({ yaml: policy('one', '/a', MAIL) }),
  });
  expect((await shown()).origins).toEqual([{ policy: 'one', set: 'target', ...from }]);
  // Of a history that is cut somebody else may have written as well.
  const cut = { one: { file: 'shop/one.yaml', authors: ['git:bob@example.com'], authorsCut: true } };
  expect(await put({ yaml: policy('one', '/d', MAIL), marks: { one: 'x' }, origins: cut })).toBe(200);
  expect(api.serving.enforcing.rollouts.get(parseSpiffeId(MAIL)).authors).toContain('git:?');
  expect((await shown()).origins).toMatchObject([{ authorsCut: true }]);
  // So is it where something has changed, and no commit says who: the branch was set back, say.
  const { rollouts } = api.serving.enforcing;
  const PAY = parseSpiffeId('spiffe://example.org/ns/shop/sa/pay');
  const none = { yaml: policy('one', '/a', PAY), marks: { one: 'x' }, origins: { one: { file: 'a.yaml' } } };
  const sent = { version: null, source: { ...source, commit: 'c'.repeat(40) }, ...none };
  const at = pathOf('policies.sync', { workload: PAY });
  expect((await api.ask(OPERATOR, 'PUT', at, { body: JSON.stringify(sent) })).status).toBe(200);
  expect(rollouts.get(PAY).authors).toEqual([OPERATOR.who, 'git:?']);
  // Who has taken something away is an author as well; where nobody says who, somebody unknown is.
  const authors = () => api.serving.enforcing.rollouts.get(parseSpiffeId(MAIL)).authors;
  expect(await put({ yaml: policy('two', '/e', MAIL), marks: { two: 'x' } })).toBe(200);
  expect(await put({ remove: ['two'], removedBy: ['git:eve@example.com'] })).toBe(200);
  expect(authors()).toContain('git:eve@example.com');
  expect(await put({ origins })).toBe(400);
  const bad = { one: { file: 'a', authors: ['user:x#ann'] } };
  expect(await put({ marks: { one: 'x' }, origins: bad })).toBe(400);
});

async function get<T>(name: 'rollouts.get' | 'policies.list', workload: string): Promise<T> {
  const answer =
    name === 'rollouts.get'
      ? await api.ask(LOCAL, 'GET', pathOf(name, { workload }))
      : await api.ask(LOCAL, 'GET', `/v1/policies?workload=${encodeURIComponent(workload)}`);
  // What the answer is says its schema, which the test API checks it against.
  return (await answer.json()) as T;
}

describe('the turn of a source', () => {
  const take = async (name: string, holder: string, more: object = {}) => {
    const body = JSON.stringify({ source: name, holder, kind: 'once', forMs: 60_000, ...more });
    const answer = await api.ask(OPERATOR, 'POST', '/v1/syncs', { body });
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
  };
  const [one, two] = ['run-number-one', 'run-number-two'];

  test('is one run’s, and whoever has it not changes nothing from there', async () => {
    expect(await take('turn//', one)).toMatchObject({ status: 200 });
    expect(await take('turn//', one, { kind: 'watch', host: 'ci-7' })).toMatchObject({ status: 200 });
    const refused = await take('turn//', two);
    expect(refused).toMatchObject({ status: 409, body: { code: 'conflict', turn: 'watch' } });
    expect(refused.body['detail']).toMatch(/turn\/\/ is kept in step by .* of user:viewer\+operator on ci-7/);
    // A directory of it is part of it, and what it is a directory of as well; a neighbour is not.
    for (const name of ['turn//prod/', 'turn/']) expect(await take(name, two)).toMatchObject({ status: 409 });
    for (const name of ['turnip//', 'turn', 't']) {
      const answer = await take(name, two);
      expect([name, answer.status]).toEqual([name, name === 'turn' ? 409 : 200]);
    }
    const { version } = await rollout();
    const next = { version, source: { name: 'turn//' }, yaml: policy('three', '/c') };
    expect(await sync(next)).toMatchObject({ status: 409, answer: { turn: 'watch' } });
    expect(await sync({ ...next, source: { name: 'turn//', holder: two } })).toMatchObject({ status: 409 });
    const rules = JSON.stringify({ rules: [], remove: [], source: { name: 'turn//', holder: two } });
    expect((await api.ask(OPERATOR, 'POST', '/v1/rules', { body: rules })).status).toBe(409);
    expect(await sync({ ...next, source: { name: 'turn//', holder: one } })).toMatchObject({ status: 200 });
  });

  test('ends when it is given back, by who has it alone', async () => {
    expect(await take('back//', one)).toMatchObject({ status: 200 });
    expect(await take('back//', two, { forMs: 0 })).toMatchObject({ status: 409 });
    expect(await take('back//', one, { forMs: 0 })).toMatchObject({ status: 200 });
    expect(await take('back//', two)).toMatchObject({ status: 200 });
    expect(await take('back//', one, { forMs: 0 })).toMatchObject({ status: 409 });
  });

  test('of two that take it at once is one’s', async () => {
    const both = await Promise.all([take('race//', one), take('race//', two)]);
    expect(both.map(({ status }) => status).toSorted()).toEqual([200, 409]);
    const answer = await api.ask(LOCAL, 'GET', '/v1/syncs');
    const { syncs } = (await answer.json()) as { syncs: { source: string }[] };
    expect(syncs.filter(({ source: name }) => name === 'race//')).toHaveLength(1);
    // Who knew its holder could go on in its place.
    expect(JSON.stringify(syncs)).not.toContain('run-number');
  });

  test('is no way to keep others from theirs: neither by many names, nor by the beginning of one', async () => {
    const named = (name: string) => take(name, one, { forMs: 600_000 });
    let last = 200;
    let taken = 0;
    for (; last === 200 && taken < 1000; taken++) last = (await named(`many-${taken}//`)).status;
    // With those of the tests before.
    expect([last, taken <= 101]).toEqual([413, true]);
    const body = JSON.stringify({ source: 'own//', holder: two, kind: 'once', forMs: 1000 });
    const other = { ...OPERATOR, who: 'user:https://id.example#other' };
    expect((await api.ask(other, 'POST', '/v1/syncs', { body })).status).toBe(200);
    for (let i = 0; i < taken; i++) await take(`many-${i}//`, one, { forMs: 0 });
    expect((await named('again//')).status).toBe(200);
  });

  test.each([
    ['a control character', { source: 'a\u001b[2Jb//' }],
    ['a character that turns the text', { host: 'ci\u202e7' }],
    ['a line of its own', { branch: 'main\nby ann' }],
  ])('has no name with %s: it is shown to others', async (_, more) => {
    expect(await take('plain//', one, more)).toMatchObject({ status: 400 });
  });
});
