import { afterEach, describe, expect, test } from 'vitest';
import { HOUR_MS } from '../../access/index.ts';
import { ManualTimers } from '../../node/manual-timers.test-helper.ts';
import { type AccessPolicy, readPolicies, writePolicies } from '../../policy/index.ts';
import { readOwners } from '../../rollout/index.ts';
import { access, flip, http, policy, rule } from '../../rollout/review.test-helper.ts';
import { type IdentityStore, openIdentityStore } from '../../store/index.ts';
import { hasPostgres, newPostgresUrl } from '../../store/postgres/server.test-helper.ts';
import { closeAfterEach, openStores } from '../../store/postgres/stores.test-helper.ts';
import { History } from './history.ts';
import {
  cart,
  FakeEstate,
  newStore,
  type Replica,
  replicaOn,
  type ReplicaOptions,
} from './review.test-helper.ts';
import type { Reviews } from './reviews.ts';
import { targetHash } from './target-hash.ts';

closeAfterEach();
const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

const [ANN, BEN, CAT] = [
  'user:https://id.example#ann',
  'user:https://id.example#ben',
  'user:https://id.example#cat',
];

interface Shop extends Replica {
  readonly estate: FakeEstate;
  readonly timers: ManualTimers;
}

/** A cart that the web calls. */
async function shop(over: Partial<ReplicaOptions> = {}): Promise<Shop> {
  const { store, remove } = await newStore();
  undo.push(remove);
  const estate = over.estate ?? new FakeEstate();
  estate.accesses = [access('web', http('GET', '/items'), { n: 5 })];
  const timers = over.timers ?? new ManualTimers();
  return { estate, timers, ...(await replicaOn(store, { ...over, estate, timers })) };
}

const state = async (reviews: Reviews) => {
  const { target, changes, questions } = await reviews.view(cart);
  return { target, changes: changes.map(({ id }) => id), questions: questions.map(({ id }) => id) };
};
const acts = async (store: IdentityStore) =>
  (await store.audit(1, 1000)).map(({ who, act }) => `${who} ${act}`);
const codeOf = (outcome: PromiseSettledResult<unknown>) =>
  outcome.status === 'fulfilled' ? 'done' : String((outcome.reason as { code?: string }).code);

describe('a review', () => {
  test('notes what is new once, with what it is in the audit log, and knows it after a restart', async () => {
    const { reviews, store, estate, timers } = await shop();
    const told: string[] = [];
    reviews.onChange((workload) => told.push(workload));
    await reviews.refresh(cart);
    await reviews.refresh(cart);
    expect([told, await acts(store)]).toEqual([[cart], ['system review.open']]);
    expect((await store.audit(1, 1))[0]).toMatchObject({
      what: cart,
      details: { added: 1, doubts: 0, question: 0 },
    });
    const again = await replicaOn(store, { estate, timers });
    await again.reviews.refresh(cart);
    expect(again.reviews.reviewOf(cart)).toEqual(reviews.reviewOf(cart));
    expect(await acts(store)).toHaveLength(1);
    estate.accesses = [];
    await reviews.refresh(cart);
    // What nobody proposes any more is closed without a word.
    expect([reviews.reviewOf(cart).open, (await acts(store)).length]).toEqual([[], 1]);
  });

  test('that is approved changes the target in the same commit, and approves exactly that target', async () => {
    const { reviews, rollouts, store } = await shop();
    const { target, changes } = await state(reviews);
    await reviews.approve(ANN, cart, { target, changes });
    const rollout = rollouts.get(cart);
    expect(rollout).toMatchObject({ stage: 'draft', authors: [], by: ANN });
    expect(rollout.target[0]?.spec.rules).toMatchObject([{ name: 'web', evidence: { count: 5 } }]);
    const hash = targetHash(rollout.target);
    expect(reviews.approvalsOf(cart, hash)).toMatchObject([{ who: ANN }]);
    expect(reviews.approvalState(cart)).toMatchObject({ target: hash, need: 1, by: [{ who: ANN }] });
    expect(await state(reviews)).toEqual({ target: hash, changes: [], questions: [] });
    expect(await acts(store)).toEqual([`${ANN} review.approve`]);
    const [entry] = await new History(store).of(cart);
    expect(entry?.details).toMatchObject({
      target: hash,
      changes: [{ kind: 'added', evidence: { count: 5, days: 1 } }],
    });
    await rollouts.apply(BEN, [policy([rule('all', 'web', ['GET'], '/{rest=**}')])]);
    expect(reviews.approvalState(cart)).toMatchObject({ by: [], need: 1 });
    expect(rollouts.get(cart).authors).toEqual([BEN]);
  });

  test('has an approval that outlives another order of policies and other evidence, and nothing else', () => {
    const [one, two] = [policy([rule('a', 'web', ['GET'], '/')]), policy([], { name: 'two' })];
    const noted: AccessPolicy = {
      ...one,
      spec: {
        ...one.spec,
        rules: one.spec.rules.map((each) => ({
          ...each,
          evidence: { views: ['observed'], count: 1, days: 1, hoursOfWeek: 1, instances: 1, sources: [] },
        })),
      },
    };
    const hashes = [
      [one, two],
      [two, one],
      [two, noted],
      [one],
      [policy([rule('a', 'web', ['GET'], '/')], { tier: 'critical' }), two],
      [policy([rule('a', 'web', ['GET', 'POST'], '/')]), two],
      [policy([], { deny: [rule('a', 'web', ['GET'], '/')] }), two],
    ].map((target) => targetHash(target));
    expect(new Set(hashes.slice(0, 3)).size).toBe(1);
    expect(new Set(hashes).size).toBe(5);
  });

  test('that two people approve at once is approved by one, and the other is told of it', async () => {
    const { reviews, rollouts } = await shop();
    const { target, changes } = await state(reviews);
    const done = await Promise.allSettled([
      reviews.approve(ANN, cart, { target, changes }),
      reviews.approve(BEN, cart, { target, changes }),
    ]);
    expect(done.map(codeOf)).toEqual(['done', 'conflict']);
    expect(done[1]).toMatchObject({
      reason: { message: expect.stringContaining(`${ANN} approved 1 change`) },
    });
    expect(rollouts.get(cart).target[0]?.spec.rules).toHaveLength(1);
    expect(reviews.approvalState(cart).by.map(({ who }) => who)).toEqual([ANN]);
  });

  test('is decided by what was seen: a change that is not open, or another target, is a conflict', async () => {
    const { reviews, rollouts, estate } = await shop();
    const { target, changes } = await state(reviews);
    estate.accesses = [access('web', http('GET', '/other'), { n: 5 })];
    await expect(reviews.approve(ANN, cart, { target, changes })).rejects.toMatchObject({ code: 'conflict' });
    await rollouts.apply(BEN, [policy([rule('all', 'web', ['GET'], '/x')])]);
    await expect(reviews.approve(ANN, cart, { target, changes: [] })).rejects.toMatchObject({
      code: 'conflict',
    });
    expect(rollouts.get(cart).by).toBe(BEN);
  });

  test('does not propose what was rejected again until there is materially more of it', async () => {
    const { reviews, estate, store, timers } = await shop();
    const { target, changes } = await state(reviews);
    await reviews.reject(ANN, cart, { target, items: changes, reason: 'a scanner' });
    expect((await state(reviews)).changes).toEqual([]);
    const again = await replicaOn(store, { estate, timers });
    expect((await state(again.reviews)).changes).toEqual([]);
    estate.accesses = [access('web', http('GET', '/items'), { n: 50 })];
    expect((await state(again.reviews)).changes).toEqual(changes);
  });

  test('is edited by an author, whom nobody takes for an approver', async () => {
    const { reviews, rollouts } = await shop();
    const { target, changes } = await state(reviews);
    await reviews.approve(ANN, cart, { target, changes });
    const now = await state(reviews);
    const yaml = writePolicies([policy([rule('all', 'web', ['GET'], '/{rest=**}')], { tier: 'critical' })]);
    await reviews.edit(BEN, cart, { target: now.target, yaml });
    expect(rollouts.get(cart)).toMatchObject({ authors: [BEN], tier: 'critical' });
    expect(reviews.approvalState(cart)).toMatchObject({ need: 2, by: [] });
    const order = { target: (await state(reviews)).target, changes: [] };
    await expect(reviews.approve(BEN, cart, order)).rejects.toMatchObject({ code: 'forbidden' });
    await reviews.approve(ANN, cart, order);
    await expect(reviews.approve(ANN, cart, order)).rejects.toMatchObject({ code: 'conflict' });
    expect(reviews.approvalState(cart).by).toHaveLength(1);
    await reviews.approve(CAT ?? '', cart, order);
    expect(reviews.approvalState(cart).by.map(({ who }) => who)).toEqual([ANN, CAT]);
  });

  test('keeps what an owner has acknowledged, whoever says it after them', async () => {
    const { reviews } = await shop({ owners: readOwners(`spiffe://example.org/* ben`, 'OWNERS') });
    const say = (who = '') => reviews.acknowledge(who, cart, { ids: ['x'], reason: 'a probe' });
    await say(ANN);
    expect([...reviews.acknowledged(cart)]).toEqual([['x', 'other']]);
    await say(BEN);
    await say(ANN);
    expect([...reviews.acknowledged(cart)]).toEqual([['x', 'owner']]);
  });

  test.each([
    ['for another workload', writePolicies([policy([])]).replaceAll('sa/cart', 'sa/web'), 'invalid_document'],
    ['that is none', 'kind: AccessPolicy', 'invalid_document'],
    ['without a policy', '', 'usage'],
  ])('takes no text %s', async (_, yaml, code) => {
    const { reviews, rollouts } = await shop();
    const { target } = await state(reviews);
    await expect((async () => reviews.edit(ANN ?? '', cart, { target, yaml }))()).rejects.toMatchObject({
      code,
    });
    expect(rollouts.all.size).toBe(0);
  });

  test('leaves the doubts of a critical workload to its owners, one by one', async () => {
    const owners = readOwners('@team = ben', 'OWNERS');
    const { reviews, estate } = await shop({ owners });
    estate.marks = { 'interlock.dev/tier': 'critical', 'interlock.dev/owner': '@team' };
    estate.accesses = [
      access('web', http('GET', '/items'), { n: 5 }),
      access('web', http('GET', '/a'), { n: 1 }),
      access('web', http('GET', '/b'), { n: 1 }),
    ];
    const { target, changes } = await reviews.view(cart);
    const [plain, ...doubts] = changes.map(({ id }) => id);
    const decide = (who = '', ids: (string | undefined)[] = []) =>
      reviews.approve(who, cart, { target, changes: ids.flatMap((id) => id ?? []) });
    await expect(decide(BEN, doubts)).rejects.toMatchObject({ code: 'usage' });
    await expect(decide(BEN, [plain, doubts[0]])).rejects.toMatchObject({ code: 'usage' });
    await expect(decide(ANN, [doubts[0]])).rejects.toMatchObject({ code: 'forbidden' });
    await decide(BEN, [doubts[0]]);
    const next = (await reviews.view(cart)).changes.find(({ doubt }) => doubt !== undefined);
    await reviews.reject(BEN ?? '', cart, {
      target: (await state(reviews)).target,
      items: [next?.id ?? ''],
      reason: 'no',
    });
    expect([...reviews.decidedDoubts(cart).values()]).toEqual(['owner', 'owner']);
  });

  test('asks about what the target in shadow would deny, until that is allowed, denied or closed', async () => {
    const { reviews, rollouts, estate } = await shop();
    await rollouts.apply(BEN, [policy([rule('all', 'web', ['GET'], '/x')])]);
    estate.flips = [flip('web', http('GET', '/items')), flip('job', http('GET', '/y'))].map((each) => ({
      ...each,
      refused: false,
    }));
    expect((await state(reviews)).questions).toEqual([]);
    await rollouts.move(BEN, cart, 'shadow');
    const { target, changes, questions } = await reviews.view(cart);
    expect(questions.map(({ change }) => change).toSorted()).toEqual([changes[0]?.id, undefined]);
    const job = questions.find(({ change }) => change === undefined)?.id ?? '';
    await reviews.deny(ANN, cart, { target, questions: [job], reason: 'no longer offered' });
    expect(rollouts.get(cart).target[0]?.spec.deny).toMatchObject([{ to: [{ http: { paths: ['/y'] } }] }]);
    expect(reviews.approvalState(cart).by).toMatchObject([{ who: ANN }]);
    const web = questions.find(({ change }) => change !== undefined)?.id ?? '';
    await reviews.reject(ANN, cart, {
      target: (await state(reviews)).target,
      items: [web],
      reason: 'meant so',
    });
    expect((await state(reviews)).questions).not.toContain(web);
  });

  test('opens a tightening once a rule is unused for the time of its tier, and every hour of it is recorded', async () => {
    const { reviews, rollouts, estate, timers } = await shop();
    await rollouts.apply(BEN, [policy([rule('old', 'web', ['GET'], '/old')])]);
    await reviews.refresh(cart);
    const removed = async () => (await reviews.view(cart)).changes.filter(({ kind }) => kind === 'removed');
    const hours = (from: number, days: number) =>
      Array.from({ length: days * 24 }, (_, i) => Math.floor(from / HOUR_MS) + i);
    const begun = timers.now();
    await timers.advance(29 * 24 * HOUR_MS);
    estate.hours = hours(begun, 40);
    expect(await removed()).toEqual([]);
    await timers.advance(24 * HOUR_MS);
    const [change] = await removed();
    expect(change).toMatchObject({
      of: { policy: 'cart', rule: 'old' },
      why: 'nobody has used it for 30 days',
    });
    await reviews.approve(ANN, cart, { target: (await state(reviews)).target, changes: [change?.id ?? ''] });
    expect(rollouts.get(cart).target[0]?.spec.rules).toEqual([]);
  });

  test('keeps comments for the owners, about what is open', async () => {
    const { reviews, store } = await shop();
    const [change] = (await state(reviews)).changes;
    await reviews.ask(ANN, cart, { text: 'who needs that?', about: change });
    expect(reviews.reviewOf(cart).comments).toMatchObject([
      { by: ANN, text: 'who needs that?', about: change },
    ]);
    await expect(reviews.ask(ANN, cart, { text: 'and that?', about: 'never' })).rejects.toMatchObject({
      code: 'conflict',
    });
    expect(await acts(store)).toEqual([`${ANN} review.ask`]);
  });
});

/** A store whose next commit is lost on the way there, or whose answer is. */
function flaky(store: IdentityStore): { store: IdentityStore; next: (what: 'lost' | 'answer-lost') => void } {
  let what: 'lost' | 'answer-lost' | undefined;
  const wrapped: IdentityStore = Object.create(store, {
    commit: {
      async value(...args: Parameters<IdentityStore['commit']>) {
        const now = what;
        what = undefined;
        if (now !== 'lost') await store.commit(...args);
        if (now !== undefined) throw Object.assign(new Error('gone'), { code: 'unavailable' });
      },
    },
    documents: { value: store.documents.bind(store) },
    watch: { value: store.watch.bind(store) },
    audit: { value: store.audit.bind(store) },
  });
  return { store: wrapped, next: (fault) => (what = fault) };
}

describe('a store that fails', () => {
  test('before the commit leaves both target and review as they were', async () => {
    const { store: inner, remove } = await newStore();
    undo.push(remove);
    const estate = new FakeEstate();
    estate.accesses = [access('web', http('GET', '/items'), { n: 5 })];
    const { store, next } = flaky(inner);
    const { reviews, rollouts } = await replicaOn(store, { estate });
    const { target, changes } = await state(reviews);
    next('lost');
    await expect(reviews.approve(ANN ?? '', cart, { target, changes })).rejects.toThrow('gone');
    expect([rollouts.all.size, await state(reviews)]).toEqual([0, { target, changes, questions: [] }]);
    await reviews.approve(ANN ?? '', cart, { target, changes });
    expect(rollouts.get(cart).target).toHaveLength(1);
  });

  test('after the commit leaves what is in the store to the next one who decides, and nothing is done twice', async () => {
    const { store: inner, remove } = await newStore();
    undo.push(remove);
    const estate = new FakeEstate();
    estate.accesses = [access('web', http('GET', '/items'), { n: 5 })];
    const { store, next } = flaky(inner);
    const { reviews, rollouts } = await replicaOn(store, { estate });
    const { target, changes } = await state(reviews);
    next('answer-lost');
    await expect(reviews.approve(ANN ?? '', cart, { target, changes })).rejects.toThrow('gone');
    await expect(reviews.approve(BEN ?? '', cart, { target, changes })).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining(`${ANN} approved 1 change`),
    });
    expect(rollouts.get(cart).target[0]?.spec.rules).toHaveLength(1);
    expect(reviews.approvalState(cart).by.map(({ who }) => who)).toEqual([ANN]);
    await reviews.approve(BEN ?? '', cart, { target: (await state(reviews)).target, changes: [] });
    expect(reviews.approvalState(cart).by.map(({ who }) => who)).toEqual([ANN, BEN]);
  });

  test('when the process dies right after the commit: the next one has the target with its approval', async () => {
    const { dir, store, remove } = await newStore();
    const estate = new FakeEstate();
    estate.accesses = [access('web', http('GET', '/items'), { n: 5 })];
    const { reviews } = await replicaOn(store, { estate });
    const { target, changes } = await state(reviews);
    await reviews.approve(ANN ?? '', cart, { target, changes });
    await store.close();
    const next = await openIdentityStore(dir);
    undo.push(remove, () => next.close());
    const again = await replicaOn(next, { estate });
    expect(again.reviews.approvalState(cart)).toMatchObject({
      target: targetHash(again.rollouts.get(cart).target),
      by: [{ who: ANN }],
    });
  });
});

describe.skipIf(!hasPostgres)('two replicas on one database', () => {
  async function replicas() {
    const url = await newPostgresUrl();
    const estate = new FakeEstate();
    estate.accesses = [access('web', http('GET', '/items'), { n: 5 })];
    const one = await replicaOn((await openStores(url)).identity, { estate });
    const two = await replicaOn((await openStores(url)).identity, { estate });
    return { one, two };
  }

  test('open one proposal once', async () => {
    const { one, two } = await replicas();
    await Promise.all([one.reviews.refresh(cart), two.reviews.refresh(cart)]);
    await Promise.all([one.reviews.refresh(cart), two.reviews.refresh(cart)]);
    expect(await acts(one.store)).toEqual(['system review.open']);
    expect(two.reviews.reviewOf(cart).open).toEqual(one.reviews.reviewOf(cart).open);
  });

  test('apply the same change once: one of two who approve at once is told of the other, and can go on from there', async () => {
    const { one, two } = await replicas();
    const { target, changes } = await state(one.reviews);
    expect(await state(two.reviews)).toMatchObject({ target, changes });
    const done = await Promise.allSettled([
      one.reviews.approve(ANN ?? '', cart, { target, changes }),
      two.reviews.approve(BEN ?? '', cart, { target, changes }),
    ]);
    expect(done.map(codeOf).toSorted()).toEqual(['conflict', 'done']);
    const [won, lost] = codeOf(done[0]) === 'done' ? [one, two] : [two, one];
    const late = won === one ? BEN : ANN;
    expect(lost.rollouts.get(cart).target).toEqual(won.rollouts.get(cart).target);
    await lost.reviews.approve(late ?? '', cart, { target: (await state(lost.reviews)).target, changes: [] });
    expect(lost.reviews.approvalState(cart).by).toHaveLength(2);
    expect([one.faults, two.faults]).toEqual([[], []]);
  });

  test('do not write over what was applied through the other one', async () => {
    const { one, two } = await replicas();
    const { target, changes } = await state(two.reviews);
    const done = await Promise.allSettled([
      one.rollouts.apply(
        ANN ?? '',
        readPolicies(writePolicies([policy([rule('all', 'web', ['POST'], '/x')])])),
      ),
      two.reviews.approve(BEN ?? '', cart, { target, changes }),
    ]);
    expect(done.map(codeOf).toSorted()).toEqual(['conflict', 'done']);
  });
});
