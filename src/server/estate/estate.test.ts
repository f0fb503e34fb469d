import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { drained, Tally } from '../../access/index.ts';
import { type Answer, pathOf, type RouteName } from '../../api/index.ts';
import { ManualTimers, settle } from '../../node/manual-timers.test-helper.ts';
import { DEFAULT_GATES } from '../../rollout/index.ts';
import { openSqliteStore, type Store } from '../../store/index.ts';
import {
  accessAt,
  cart,
  flipAt,
  reporterOf,
  reportOf,
  web,
} from '../enforcement/evidence/evidence.test-helper.ts';
import { LOCAL, type TestApi, testApi, VIEWER } from '../api/testing.test-helper.ts';
import { realTimers } from '../timers.ts';
import { Estate } from './estate.ts';
import { POLICIES } from './estate.test-helper.ts';
import { judge } from './judged.ts';
import { accessJson } from './shown.ts';

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

function newState(): { dir: string; store: Store } {
  const dir = mkdtempSync(join(tmpdir(), 'interlock-estate-'));
  undo.push(() => rmSync(dir, { recursive: true, force: true }));
  return { dir, store: openSqliteStore(dir, { create: true }) };
}

/** Evidence that says what it is told to. */
class FakeEvidence {
  #listener: (tallies: readonly Tally[]) => void = () => {};
  waits: Promise<unknown> = Promise.resolve();

  onKept(listener: (tallies: readonly Tally[]) => void): () => void {
    this.#listener = listener;
    return () => (this.#listener = () => {});
  }

  betweenWrites<T>(work: () => Promise<T>): Promise<T> {
    return this.waits.then(work);
  }

  tell(...tallies: Tally[]): void {
    this.#listener(tallies);
  }
}

function tallyOf(path: string, at: number, n = 1): Tally {
  const tally = new Tally('proxy');
  const action = { kind: 'http', port: 80, method: 'GET', path } as const;
  tally.access({ spiffeId: web }, { spiffeId: cart }, action, 'callee').add(at, 'ok', 'i', n);
  tally.accepted += n;
  tally.cover(at);
  return tally;
}

const pathsOf = (estate: Estate) =>
  estate.current.graph.accesses.map(({ action, evidence }) => [
    action.kind === 'http' ? action.path : action.kind,
    [...evidence.counts.values()].reduce((sum, n) => sum + n, 0),
  ]);

describe('the estate in memory', () => {
  test('takes live evidence in twice a second at most, and never changes what a reader holds', async () => {
    const { store } = newState();
    const timers = new ManualTimers(1_000_000);
    const evidence = new FakeEvidence();
    const faults: unknown[] = [];
    const estate = await Estate.open({
      store,
      trustDomain: 'example.org',
      evidence,
      timers,
      onFault: (error) => faults.push(error),
    });
    undo.push(() => estate.close());
    let changes = 0;
    estate.onChange(() => changes++);
    estate.onChange(() => {
      throw new Error('a reader that fails');
    });
    evidence.tell(tallyOf('/a', 900_000));
    evidence.tell(tallyOf('/a', 900_000, 2), tallyOf('/b', 900_000));
    expect(pathsOf(estate)).toEqual([]);
    await timers.advance(1000);
    const before = estate.current;
    expect([pathsOf(estate), changes]).toEqual([
      [
        ['/a', 3],
        ['/b', 1],
      ],
      1,
    ]);
    const text = JSON.stringify(before.graph.accesses.map(({ evidence: { counts } }) => [...counts]));
    evidence.tell(tallyOf('/a', 901_000));
    await timers.advance(5000);
    expect([pathsOf(estate), changes]).toEqual([
      [
        ['/a', 4],
        ['/b', 1],
      ],
      2,
    ]);
    expect(estate.current.version).toBe(before.version + 1);
    expect(JSON.stringify(before.graph.accesses.map(({ evidence: { counts } }) => [...counts]))).toBe(text);
    expect(faults).toHaveLength(2);
  });

  test('is read again when another process takes a recording in, and counts nothing twice', async () => {
    const { dir, store } = newState();
    const timers = new ManualTimers(1_000_000);
    const evidence = new FakeEvidence();
    const estate = await Estate.open({
      store,
      trustDomain: 'example.org',
      evidence,
      timers,
      onFault: (error) => {
        throw error;
      },
    });
    undo.push(() => estate.close());
    const other = openSqliteStore(dir);
    undo.push(() => other.close());
    const file = { name: 'x', digest: 'ab', bytes: 1 };
    await other.addRecording({ format: 'envoy', files: [file], takenAt: 1 }, tallyOf('/file', 900_000, 5));
    // A write that is under way is in the store before it is told: the store is read after both.
    const write = Promise.withResolvers<void>();
    evidence.waits = write.promise;
    await timers.advance(2000);
    const live = tallyOf('/live', 900_000);
    await other.addLive(
      { at: 1, marks: [], flips: [], plaintext: [], coverage: [], settled: [], forgotten: [] },
      [live],
    );
    evidence.tell(live);
    write.resolve();
    await settle();
    await timers.advance(2000);
    await settle();
    await timers.advance(2000);
    expect(pathsOf(estate)).toEqual([
      ['/file', 5],
      ['/live', 1],
    ]);
  });

  test('goes on when the store fails for a while, and says it once', async () => {
    const { store } = newState();
    const timers = new ManualTimers(1_000_000);
    const evidence = new FakeEvidence();
    const faults: unknown[] = [];
    let fails = false;
    const digests = () => (fails ? Promise.reject(new Error('gone')) : store.digests());
    const flaky = new Proxy(store, {
      get: (target, key) => (key === 'digests' ? digests : Reflect.get(target, key)?.bind(target)),
    });
    const estate = await Estate.open({
      store: flaky,
      trustDomain: 'example.org',
      evidence,
      timers,
      onFault: (error) => faults.push(error),
    });
    undo.push(() => estate.close());
    fails = true;
    for (let i = 0; i < 5; i++) await timers.advance(2000);
    expect(faults).toHaveLength(1);
    evidence.tell(tallyOf('/a', 900_000));
    await timers.advance(1000);
    expect(pathsOf(estate)).toEqual([['/a', 1]]);
  });
});

describe('the API of the estate', () => {
  const now = realTimers.now();

  async function get<Name extends RouteName>(
    api: TestApi,
    name: Name,
    params = {},
    query = '',
  ): Promise<Answer<Name>> {
    const answer = await api.ask(VIEWER, 'GET', `${pathOf(name, params)}${query}`);
    const body: unknown = await answer.json();
    expect([answer.status, api.faults]).toEqual([200, []]);
    return body as Answer<Name>;
  }

  async function shop(options: Parameters<typeof testApi>[0] = {}): Promise<TestApi> {
    const api = await testApi(options);
    undo.push(() => api.close());
    const { evidence } = api.serving.enforcing;
    const changed = new Promise<void>((resolve) => api.serving.api.estate.onChange(resolve));
    const http = (text: string) => ({ action: { kind: 'http', port: 80, name: 'GET', text } });
    const accesses = [
      accessAt(now - 1000, http('/items')),
      accessAt(now - 1000, { ...http('/a'), mutual: 0n, plaintext: 1n }),
      accessAt(now - 1000, {
        ...http('/a'),
        from: { address: '10.0.0.9' },
        mutual: 0n,
        plaintext: 1n,
      }),
    ];
    await evidence.take(reporterOf(), reportOf(1, { accesses, flips: [flipAt(now - 1000)] }));
    await changed;
    return api;
  }

  test('shows an access from the moment it was reported: open, and then as the target judges it', async () => {
    const api = await shop();
    const before = await get(api, 'accesses.list');
    expect(
      before.accesses.map(({ from, text, state, authentication }) => [from, text, state, authentication]),
    ).toEqual([
      [web, 'GET /a :80', 'open', 'plaintext'],
      [web, 'GET /items :80', 'open', 'mutual'],
      ['unauthenticated:10.0.0.9', 'GET /a :80', 'open', 'plaintext'],
    ]);
    expect(before.accesses[1]).toMatchObject({
      count: 1,
      days: 1,
      sources: ['proxy'],
      outcomes: { ok: 1 },
      views: ['observed'],
    });
    await api.ask(LOCAL, 'POST', '/v1/policies', { body: JSON.stringify({ yaml: POLICIES.cart }) });
    const after = await get(api, 'accesses.list', {}, `?to=${encodeURIComponent(cart)}`);
    expect(
      after.accesses.map(({ text, state, views, target }) => [text, state, views, target?.rule]),
    ).toEqual([
      ['GET /a :80', 'would-deny', ['observed'], undefined],
      ['GET /items :80', 'allowed', ['observed', 'authorized'], 'web'],
      ['GET /never :80', 'unused', ['authorized'], 'web'],
      ['GET /a :80', 'would-deny', ['observed'], undefined],
    ]);
    const ids = new Map(before.accesses.map(({ from, text, id }) => [`${from} ${text}`, id]));
    for (const { from, text, id, state } of after.accesses)
      if (state !== 'unused') expect(ids.get(`${from} ${text}`)).toBe(id);
  });

  test.each([
    ['state=unused', 1],
    ['state=would-deny', 2],
    ['view=authorized', 2],
    ['view=declared', 0],
    ['authentication=plaintext', 2],
    [`from=${encodeURIComponent(web)}`, 3],
    [`from=${encodeURIComponent('unauthenticated:*')}`, 1],
    [`firstSince=${now}`, 0],
    [`firstSince=${now - 5000}`, 3],
  ])('filters accesses by %s', async (query, count) => {
    const api = await shop();
    await api.ask(LOCAL, 'POST', '/v1/policies', { body: JSON.stringify({ yaml: POLICIES.cart }) });
    const { accesses, total } = await get(api, 'accesses.list', {}, `?${query}`);
    expect([accesses.length, total]).toEqual([count, count]);
  });

  test('adds the graph up by workload and by namespace', async () => {
    const api = await shop();
    await api.ask(LOCAL, 'POST', '/v1/policies', { body: JSON.stringify({ yaml: POLICIES.cart }) });
    const byWorkload = await get(api, 'graph.get', {}, '?by=workload');
    expect(byWorkload.nodes.map(({ id, kind, stages }) => [id, kind, stages])).toEqual([
      [web, 'workload', { none: 1 }],
      [cart, 'workload', { draft: 1 }],
      ['unauthenticated:10.0.0.9', 'unauthenticated', {}],
    ]);
    expect(byWorkload.edges).toMatchObject([
      {
        from: web,
        to: cart,
        accesses: 3,
        calls: 2,
        views: { possible: 0, declared: 0, observed: 2, authorized: 2 },
        wouldDeny: 1,
        unused: 1,
        plaintext: 1,
        fresh: 0,
      },
      { from: 'unauthenticated:10.0.0.9', to: cart, accesses: 1, wouldDeny: 1 },
    ]);
    const byNamespace = await get(api, 'graph.get');
    expect(byNamespace.nodes.map(({ id, kind, workloads }) => [id, kind, workloads])).toEqual([
      ['shop', 'namespace', 2],
      ['unauthenticated:', 'unauthenticated', 0],
    ]);
    expect(byNamespace.edges.map(({ from, to, accesses }) => [from, to, accesses])).toEqual([
      ['shop', 'shop', 3],
      ['unauthenticated:', 'shop', 1],
    ]);
    expect((await get(api, 'graph.get', {}, '?namespace=none')).nodes).toEqual([]);
  });

  test('counts in each workload what is open, and names its neighbours', async () => {
    const api = await shop();
    expect((await get(api, 'workloads.list')).workloads[0]).toMatchObject({ id: cart, flips: 1 });
    await api.ask(LOCAL, 'POST', '/v1/policies', { body: JSON.stringify({ yaml: POLICIES.cart }) });
    const { workloads, total } = await get(api, 'workloads.list');
    expect([workloads.map(({ id }) => id), total]).toEqual([[cart, web], 2]);
    expect(workloads[0]).toMatchObject({
      stage: 'draft',
      callers: 2,
      callees: 0,
      // They said something of another target.
      flips: 0,
      plaintext: 2,
      points: 0,
      tier: 'standard',
    });
    expect(workloads[1]).not.toHaveProperty('stage');
    for (const [query, count] of [
      ['stage=draft', 1],
      ['stage=none', 1],
      ['search=web', 1],
      ['namespace=x', 0],
      ['stage=released', 0],
    ] as const)
      expect((await get(api, 'workloads.list', {}, `?${query}`)).total).toBe(count);
    const body = JSON.stringify({ scope: { kind: 'namespace', namespace: 'shop' }, reason: 'try' });
    await api.ask(LOCAL, 'POST', '/v1/releases', { body });
    const one = await get(api, 'workloads.get', { workload: cart });
    expect(one.released).toMatch(/^rel-/);
    expect(
      one.calledBy.map(({ principal, accesses, wouldDeny, denied }) => [
        principal,
        accesses,
        wouldDeny,
        denied,
      ]),
    ).toEqual([
      [web, 3, 1, 0],
      ['unauthenticated:10.0.0.9', 1, 1, 0],
    ]);
    expect(one.rollout?.target).toEqual(['cart']);
    const none = await api.ask(
      VIEWER,
      'GET',
      pathOf('workloads.get', { workload: 'spiffe://example.org/none' }),
    );
    expect(none.status).toBe(404);
  });

  test('proposes with the evidence of each rule, and judges what is missing', async () => {
    const api = await shop();
    const { evidence } = api.serving.enforcing;
    const changed = new Promise<void>((resolve) => api.serving.api.estate.onChange(resolve));
    const many = [0, 1, 2].map((days) =>
      accessAt(now - days * 86_400_000, {
        ok: 7n,
        mutual: 7n,
        action: { kind: 'http', port: 80, name: 'GET', text: '/items' },
      }),
    );
    await evidence.take(reporterOf(), reportOf(2, { accesses: many }));
    await changed;
    const proposal = await get(api, 'proposals.get', { workload: cart });
    expect(proposal.policy?.spec.protects.workload).toBe(cart);
    expect(proposal.yaml).toContain('kind: AccessPolicy');
    expect(proposal.rules[0]).toMatchObject({ isNew: true, count: 22 });
    expect(proposal.rules[0]?.hoursOfWeek.reduce((a, b) => a + b, 0)).toBe(22);
    expect(proposal.doubts.length).toBeGreaterThan(0);
    const { readiness, tiers } = await get(api, 'readiness.get', { workload: cart });
    expect([readiness.workload, tiers.map(({ tier }) => tier)]).toEqual([
      cart,
      ['critical', 'standard', 'experimental'],
    ]);
    const unknown = { workload: 'spiffe://example.org/none' };
    for (const name of ['proposals.get', 'readiness.get'] as const)
      expect((await api.ask(VIEWER, 'GET', pathOf(name, unknown))).status).toBe(404);
  });

  test('judges readiness by the gates of the control plane, not by the default ones', async () => {
    const calendar = async (api: TestApi) => {
      const { tiers } = await get(api, 'readiness.get', { workload: cart });
      return tiers.map(({ gates }) => gates.find(({ gate }) => gate === 'calendar')?.need);
    };
    expect((await calendar(await shop()))[2]).toBe('1 day');
    const gates = { ...DEFAULT_GATES, experimental: { ...DEFAULT_GATES.experimental, days: 30 } };
    expect((await calendar(await shop({ gates })))[2]).toBe('30 days');
  });

  test('holds in memory what is in the store', async () => {
    const api = await shop();
    const { estate, enforcing, plane } = api.serving.api;
    const kept = await Estate.open({
      store: openSqliteStore(api.state),
      trustDomain: plane.registry.domain.trustDomain,
      evidence: enforcing.evidence,
      timers: realTimers,
      onFault: () => {},
    });
    undo.push(() => kept.close());
    const shown = (of: Estate) => drained(judge(of.current, enforcing.rollouts.all)).accesses.map(accessJson);
    expect(shown(estate)).toEqual(shown(kept));
    expect(shown(kept)).toHaveLength(3);
  });
});
