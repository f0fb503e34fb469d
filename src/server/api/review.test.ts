import { afterEach, describe, expect, test } from 'vitest';
import { type Answer, type Caller, pathOf, type RouteName, ROUTES } from '../../api/index.ts';
import {
  accessAt,
  cart,
  flipAt,
  reporterOf,
  reportOf,
} from '../enforcement/evidence/evidence.test-helper.ts';
import { realTimers } from '../timers.ts';
import { callerWith, LOCAL, OPERATOR, type TestApi, testApi, VIEWER } from './testing.test-helper.ts';

const APPROVER: Caller = { ...callerWith('viewer', 'approver'), who: 'user:https://id.example#ann' };
const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

async function call<Name extends RouteName>(
  api: TestApi,
  who: Caller,
  name: Name,
  body?: unknown,
  query = '',
): Promise<Answer<Name>> {
  const path = `${pathOf(name, ROUTES[name].path.includes(':') ? { workload: cart } : {})}${query}`;
  const answer = await api.ask(who, ROUTES[name].method, path, {
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const data: unknown = await answer.json();
  if (answer.status !== 200) throw Object.assign(new Error(`${answer.status}`), data);
  return data as Answer<Name>;
}

async function shop(): Promise<TestApi> {
  const api = await testApi();
  undo.push(() => api.close());
  const now = realTimers.now();
  const changed = new Promise<void>((resolve) => api.serving.api.estate.onChange(resolve));
  const get = (text: string) => ({ action: { kind: 'http', port: 80, name: 'GET', text } }) as const;
  const { evidence } = api.serving.enforcing;
  await evidence.take(
    reporterOf(),
    reportOf(1, {
      accesses: [accessAt(now - 1000, { ...get('/items'), ok: 5n }), accessAt(now - 900, get('/once'))],
    }),
  );
  await changed;
  return api;
}

describe('the API of reviews', () => {
  test('carries a workload from its evidence to an approved target, and says who did what', async () => {
    const api = await shop();
    const seen = await call(api, VIEWER, 'reviews.get');
    expect(seen.changes.map(({ kind, rule, doubt }) => [kind, rule.name, doubt?.codes])).toEqual([
      ['added', 'web', undefined],
      ['added', 'web', ['seen-once']],
    ]);
    expect([seen.changes[0]?.evidence.count, seen.bulk, seen.approvals.need]).toEqual([5, true, 1]);
    const [change] = seen.changes.map(({ id }) => id);
    const order = { target: seen.target, changes: [change] };
    const done = await call(api, APPROVER, 'reviews.approve', order);
    expect(done).toMatchObject({ stage: 'draft', approvals: { by: [{ who: APPROVER.who }] } });
    expect([done.changes.length, done.yaml.includes('name: web')]).toEqual([1, true]);
    await expect(call(api, LOCAL, 'reviews.approve', order)).rejects.toMatchObject({
      code: 'conflict',
      detail: expect.stringContaining(`${APPROVER.who} approved 1 change`),
    });
    const edited = { target: done.target, yaml: done.yaml.replace('/items', '/wares') };
    await call(api, OPERATOR, 'reviews.edit', edited);
    const { entries } = await call(api, VIEWER, 'history.get');
    expect(entries.map(({ who, act }) => [who, act])).toEqual([
      [OPERATOR.who, 'review.edit'],
      [APPROVER.who, 'review.approve'],
    ]);
    const pages = await call(api, VIEWER, 'history.get', undefined, '?limit=1');
    const rest = await call(api, VIEWER, 'history.get', undefined, `?limit=1&after=${pages.next}`);
    expect([...pages.entries, ...rest.entries].map(({ act }) => act)).toEqual(entries.map(({ act }) => act));
    const { reviews } = await call(api, VIEWER, 'reviews.list');
    expect(reviews).toMatchObject([{ workload: cart, approvals: { need: 1, by: [] } }]);
    expect(api.faults).toEqual([]);
  });

  test('tells the readers of events that a proposal has changed', async () => {
    const api = await shop();
    const stream = await api.ask(VIEWER, 'GET', '/v1/events');
    const reader = stream.body?.pipeThrough(new TextDecoderStream()).getReader();
    await api.serving.api.reviews.refresh(cart);
    let text = '';
    while (!text.includes('event: proposal')) text += (await reader?.read())?.value ?? 'event: proposal';
    expect(text).toContain(`"id":"${cart}"`);
    await reader?.cancel();
  });

  test('answers a question with a rule that denies on purpose', async () => {
    const api = await shop();
    const { target, changes } = await call(api, VIEWER, 'reviews.get');
    const id = changes[0]?.id;
    await call(api, APPROVER, 'reviews.approve', { target, changes: [id] });
    const { rollouts, evidence } = api.serving.enforcing;
    const rollout = await rollouts.move('user:o', cart, 'shadow');
    const flips = [flipAt(realTimers.now(), { targetVersion: BigInt(rollout.targetVersion ?? 0) })];
    await evidence.take(reporterOf(), reportOf(2, { flips }));
    const asked = await call(api, VIEWER, 'reviews.get');
    expect(asked.questions).toMatchObject([{ text: 'GET /a :80', deniedBy: { decidedBy: 'no-rule' } }]);
    const body = { target: asked.target, questions: asked.questions.map((each) => each.id), reason: 'gone' };
    const done = await call(api, APPROVER, 'reviews.deny', body);
    expect([done.questions, done.policies[0]?.spec.deny.length, done.stage]).toEqual([[], 1, 'shadow']);
  });

  test('refuses what it does not know, and who may not', async () => {
    const api = await shop();
    const { target } = await call(api, VIEWER, 'reviews.get');
    const refused = (who: Caller, name: RouteName, body: unknown, code: string) =>
      expect(call(api, who, name, body)).rejects.toMatchObject({ code });
    await refused(OPERATOR, 'reviews.approve', { target, changes: [] }, 'forbidden');
    await refused(APPROVER, 'reviews.edit', { target, yaml: '' }, 'forbidden');
    await refused(APPROVER, 'reviews.approve', { target, changes: [] }, 'conflict');
    await refused(APPROVER, 'reviews.reject', { target, items: [], reason: 'x' }, 'usage');
    const answer = await api.ask(VIEWER, 'GET', pathOf('reviews.get', { workload: 'example.org/none' }));
    expect(answer.status).toBe(404);
  });
});
