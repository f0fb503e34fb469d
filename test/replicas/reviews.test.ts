import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Answer, type Caller, pathOf, type RouteName, ROUTES } from '../../src/api/index.ts';
import { apiApp } from '../../src/server/api/app.ts';
import { callerWith } from '../../src/server/api/testing.test-helper.ts';
import type { TestIdentity } from '../../src/server/enforcement/enforcement.test-helper.ts';
import { accessAt, reportOf } from '../../src/server/enforcement/evidence/evidence.test-helper.ts';
import { UID_RULE } from '../../src/server/testing.test-helper.ts';
import { hasPostgres, newPostgresUrl } from '../../src/store/postgres/server.test-helper.ts';
import { newKeyFile, SharedPlane, whenTold } from './planes.test-helper.ts';
import { type ConnectedProxy, identityAt, Proxies, uid } from './proxies.test-helper.ts';

const person = (name: string): Caller => ({
  ...callerWith('viewer', 'approver', 'operator'),
  who: `user:https://id.example#${name}`,
});
const [ANN, BOB] = [person('ann'), person('bob')];

type Whole = Answer<'reviews.get'>;

/** What one was answered. */
interface Answered<Name extends RouteName> {
  readonly status: number;
  readonly etag: string | null;
  readonly body: Answer<Name>;
}

async function call<Name extends RouteName>(
  { serving }: SharedPlane,
  who: Caller,
  name: Name,
  workload: string,
  body?: object,
): Promise<Answered<Name>> {
  const app = apiApp(serving.api, () => who, { checkAnswers: true });
  const answer = await app.request(pathOf(name, { workload }), {
    method: ROUTES[name].method,
    ...(body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  // What the route answers, or a problem, of which the tests look at the status.
  return {
    status: answer.status,
    etag: answer.headers.get('etag'),
    body: (await answer.json()) as Answer<Name>,
  };
}

describe.skipIf(!hasPostgres)('a proposal at two control planes of one database', () => {
  let a: SharedPlane;
  let b: SharedPlane;
  let identities: TestIdentity[];
  const proxies = new Proxies();
  let next = 0;
  let sequence = 0;
  /** A workload that no test before has touched, and its proxy, which is connected to the first. */
  let cart: TestIdentity;
  let proxy: ConnectedProxy;

  beforeAll(async () => {
    const options = { url: await newPostgresUrl(), keyFile: newKeyFile() };
    [a, b] = await Promise.all([SharedPlane.start(options), SharedPlane.start(options)]);
    await a.apply(UID_RULE);
    identities = [];
    for (let n = 1; n <= 6; n++) identities.push(await identityAt(a, n));
  }, 120_000);

  afterAll(async () => {
    proxies.close();
    await Promise.all([a?.close(), b?.close()]);
  }, 30_000);

  beforeEach(() => {
    cart = identities[next++] as TestIdentity;
    proxy = proxies.connect(a, cart, { instance: `i${next}` });
  });

  /** The proxy at the first one reports calls of these paths. */
  async function calls(...paths: readonly string[]): Promise<void> {
    const now = Date.now();
    const accesses = paths.map((text) =>
      accessAt(now, {
        from: { spiffeId: uid(100) },
        to: cart.id,
        action: { kind: 'http', port: 80, name: 'GET', text },
        ok: 5n,
        mutual: 5n,
      }),
    );
    proxy.proxy.send({ case: 'report', value: reportOf(++sequence, { accesses }) });
    const own = sequence;
    await proxy.until(({ taken }) => taken >= own);
  }

  const get = async (plane: SharedPlane): Promise<Whole> =>
    (await call(plane, ANN, 'reviews.get', cart.id)).body;

  /** The review at one of them, once it is as wanted: what the evidence says comes to it by itself. */
  async function reviewAt(plane: SharedPlane, fits: (review: Whole) => boolean): Promise<Whole> {
    const { estate, reviews } = plane.serving.api;
    const { body } = await whenTold(
      [estate, reviews, plane.serving.enforcing].map((each) => (heard) => each.onChange(heard)),
      () => call(plane, ANN, 'reviews.get', cart.id),
      (answer) => answer.status === 200 && fits(answer.body),
    );
    return body;
  }

  const has =
    (count: number) =>
    ({ changes }: Whole) =>
      changes.length === count;
  const rulesOf = ({ policies }: Whole) => policies.flatMap(({ spec }) => spec.rules);
  const approval = ({ target, changes }: Whole) => ({ target, changes: changes.map(({ id }) => id) });
  const entries = async (act: string) =>
    (await a.plane.store.audit(1, 10_000)).filter((entry) => entry.act === act && entry.what === cart.id);

  test('is the same at both, and what is asked, rejected and accepted at one holds at the other', async () => {
    await calls('/items');
    const [atA, atB] = (await Promise.all([a, b].map((plane) => reviewAt(plane, has(1))))) as [Whole, Whole];
    expect(approval(atA)).toEqual(approval(atB));
    expect(atA.changes[0]?.rule).toEqual(atB.changes[0]?.rule);
    const [proposedAtA, proposedAtB] = await Promise.all(
      [a, b].map((plane) => call(plane, ANN, 'proposals.get', cart.id)),
    );
    expect(proposedAtA?.body.yaml).toContain('/items');
    expect(proposedAtA?.body.yaml).toBe(proposedAtB?.body.yaml);
    // A console that a balancer leads to the other one next does not read anew what it has.
    expect(proposedAtA?.etag).toBe(proposedAtB?.etag);

    const about = atB.changes[0]?.id;
    expect((await call(b, BOB, 'reviews.ask', cart.id, { text: 'is it meant?', about })).status).toBe(200);
    const asked = await reviewAt(a, ({ comments }) => comments.length === 1);
    expect(asked.comments).toMatchObject([{ by: BOB.who, text: 'is it meant?', about }]);

    expect((await call(b, BOB, 'reviews.approve', cart.id, approval(atA))).status).toBe(200);
    const accepted = await reviewAt(a, ({ policies }) => policies.length === 1);
    expect(rulesOf(accepted)).toMatchObject([{ to: atA.changes[0]?.rule.to }]);
    expect(accepted.changes).toEqual([]);

    await calls('/never');
    const more = await reviewAt(b, has(1));
    const items = more.changes.map(({ id }) => id);
    const rejection = { target: more.target, items, reason: 'no' };
    expect((await call(b, BOB, 'reviews.reject', cart.id, rejection)).status).toBe(200);
    const rejected = await reviewAt(
      a,
      ({ lastDecision }) => lastDecision?.what.includes('rejected') === true,
    );
    expect([rejected.changes, rejected.target]).toEqual([[], more.target]);
    // Whoever still sees it at the other one comes too late.
    expect((await call(a, ANN, 'reviews.approve', cart.id, approval(more))).status).toBe(409);
  });

  test('is accepted once where two accept it at once', async () => {
    await calls('/items');
    const [atA, atB] = (await Promise.all([a, b].map((plane) => reviewAt(plane, has(1))))) as [Whole, Whole];
    const statuses = (
      await Promise.all([
        call(a, ANN, 'reviews.approve', cart.id, approval(atA)),
        call(b, BOB, 'reviews.approve', cart.id, approval(atB)),
      ])
    ).map(({ status }) => status);
    expect(statuses.toSorted()).toEqual([200, 409]);
    const reviews = await Promise.all(
      [a, b].map((plane) => reviewAt(plane, ({ policies }) => policies.length === 1)),
    );
    for (const review of reviews) expect(rulesOf(review)).toHaveLength(1);
    expect(await entries('review.approve')).toHaveLength(1);
  });

  test('is either accepted or rejected where one does this and the other that', async () => {
    await calls('/items');
    const [atA, atB] = (await Promise.all([a, b].map((plane) => reviewAt(plane, has(1))))) as [Whole, Whole];
    const [accepted, rejected] = await Promise.all([
      call(a, ANN, 'reviews.approve', cart.id, approval(atA)),
      call(b, BOB, 'reviews.reject', cart.id, {
        target: atB.target,
        items: atB.changes.map(({ id }) => id),
        reason: 'no',
      }),
    ]);
    expect([accepted.status, rejected.status].toSorted()).toEqual([200, 409]);
    const decided = await Promise.all([a, b].map((plane) => reviewAt(plane, has(0))));
    for (const review of decided) expect(review.policies).toHaveLength(accepted.status === 200 ? 1 : 0);
  });

  test('is edited at one or accepted at the other: the target is what one of the two has seen and written', async () => {
    await calls('/items');
    const [atA, atB] = (await Promise.all([a, b].map((plane) => reviewAt(plane, has(1))))) as [Whole, Whole];
    await call(a, ANN, 'reviews.approve', cart.id, approval(atA));
    await calls('/more');
    const before = await Promise.all(
      [a, b].map((plane) => reviewAt(plane, (review) => has(1)(review) && review.policies.length === 1)),
    );
    const [seenAtA, seenAtB] = before as [Whole, Whole];
    const written = seenAtB.yaml.replaceAll('/items', '/written');
    const [accepted, edited] = await Promise.all([
      call(a, ANN, 'reviews.approve', cart.id, approval(seenAtA)),
      call(b, BOB, 'reviews.edit', cart.id, { target: seenAtB.target, yaml: written }),
    ]);
    expect([accepted.status, edited.status].toSorted()).toEqual([200, 409]);
    const winner = accepted.status === 200 ? accepted.body.target : edited.body.target;
    const after = await Promise.all(
      [a, b].map((plane) => reviewAt(plane, ({ target }) => target === winner)),
    );
    expect(after.map(({ yaml }) => yaml.includes('/written'))).toEqual(
      edited.status === 200 ? [true, true] : [false, false],
    );
    expect(atB.target).not.toBe(winner);
  });

  test('that changes while it is approved elsewhere is refused, or gives the text that was seen', async () => {
    const pathsIn = (value: unknown) =>
      [...JSON.stringify(value).matchAll(/"paths":\[([^\]]*)\]/g)].flatMap(([, paths = '']) =>
        paths.replaceAll('"', '').split(','),
      );
    const made = new Set<string>();
    const words = ['/red', '/green', '/blue', '/white', '/black', '/brown', '/pink'];
    await calls(words[0] ?? '');
    let seen = await reviewAt(b, has(1));
    let refused = 0;
    for (const word of words.slice(1)) {
      // Evidence at one makes another change of it, while somebody approves the first one at the other.
      const [, answer] = await Promise.all([
        calls(word),
        call(b, BOB, 'reviews.approve', cart.id, approval(seen)),
      ]);
      if (answer.status === 200) {
        for (const path of pathsIn(seen.changes)) made.add(path);
        // Exactly what was seen is in the target, and nothing that has come since.
        expect(pathsIn(rulesOf(answer.body)).toSorted()).toEqual([...made].toSorted());
      } else {
        refused++;
        expect([answer.status, answer.body]).toMatchObject([409, { code: 'conflict' }]);
      }
      seen = await reviewAt(b, ({ changes }) => pathsIn(changes).includes(word));
    }
    // And what was seen before the evidence went on, for certain: only while it still is one of the changes.
    await calls('/grey');
    const fresh = await reviewAt(b, ({ changes }) => pathsIn(changes).includes('/grey'));
    const ids = new Set(fresh.changes.map(({ id }) => id));
    const isStill = seen.changes.every(({ id }) => ids.has(id));
    const late = await call(b, BOB, 'reviews.approve', cart.id, approval(seen));
    expect(late.status).toBe(isStill ? 200 : 409);
    if (isStill) expect(pathsIn(rulesOf(late.body))).not.toContain('/grey');
    // Twice is once.
    expect((await call(a, ANN, 'reviews.approve', cart.id, approval(seen))).status).toBe(409);
    const same = await Promise.all(
      [a, b].map((plane) => reviewAt(plane, ({ policies }) => policies.length <= 1)),
    );
    expect(new Set(same.map(({ target }) => target)).size).toBe(1);
    console.log(
      `${refused} of ${words.length - 1} approvals were told that the evidence says something else by now.`,
    );
  });

  test('of a critical workload has both approvals where two people give theirs at once at two of them', async () => {
    await calls('/items');
    await Promise.all([a, b].map((plane) => reviewAt(plane, has(1))));
    const seen = await get(a);
    await call(a, ANN, 'reviews.edit', cart.id, {
      target: seen.target,
      yaml: `
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec:
  protects: { workload: ${cart.id} }
  tier: critical
  rules:
    - { name: r, from: [ { workload: "${uid(100)}" } ], to: [ { http: { methods: [GET], paths: [/items] }, ports: [80] } ] }
`,
    });
    const { target } = await get(a);
    await reviewAt(b, (review) => review.target === target);
    const order = { target, changes: [] };
    const people = [person('eve'), person('joe')] as const;
    const approve = (plane: SharedPlane, who: Caller) => call(plane, who, 'reviews.approve', cart.id, order);
    const both = await Promise.all([approve(a, people[0]), approve(b, people[1])]);
    // Whoever came second is told, looks, and sees the same target: nothing of the first is lost.
    for (const [i, { status }] of both.entries()) {
      expect([200, 409]).toContain(status);
      if (status === 409) expect((await approve(i === 0 ? a : b, people[i === 0 ? 0 : 1])).status).toBe(200);
    }
    const approved = await Promise.all(
      [a, b].map((plane) => reviewAt(plane, ({ approvals }) => approvals.by.length === 2)),
    );
    for (const { approvals } of approved)
      expect(approvals.by.map(({ who }) => who).toSorted()).toEqual(people.map(({ who }) => who));
  });
});
