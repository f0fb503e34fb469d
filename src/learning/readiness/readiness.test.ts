import { describe, expect, test } from 'vitest';
import {
  type Access,
  type AccessGraph,
  type Action,
  addCall,
  addInstance,
  emptyEvidence,
  HOUR_MS,
  type KnownBlindSpot,
  type Outcome,
  parseSpiffeId,
  type Principal,
  type SpiffeId,
  type Workload,
} from '../../access/index.ts';
import { readiness } from './readiness.ts';
import { unitsOf } from './units.ts';

const START = Date.parse('2026-11-02T00:00Z');
const DAY = 24 * HOUR_MS;
const id = (name: string) => parseSpiffeId(`spiffe://example.org/ns/shop/sa/${name}`);
const workloadOf = (name: string): Principal => ({ kind: 'workload', id: id(name) });
const http = (path: string, method = 'GET'): Action => ({ kind: 'http', port: 8080, method, path });

function workload(name: string, more: Partial<Workload> = {}): [SpiffeId, Workload] {
  const known: Workload = {
    id: id(name),
    namespace: 'shop',
    name,
    identifiedBy: 'service-account',
    labels: {},
    ports: [],
    hostNetwork: false,
    marks: {},
    inventoried: true,
    recorded: true,
    ...more,
  };
  return [known.id, known];
}

function observed(
  from: Principal,
  to: string,
  action: Action,
  at: readonly number[],
  outcome: Outcome = 'ok',
): Access {
  const evidence = emptyEvidence();
  for (const time of at) addCall(evidence, time, outcome);
  addInstance(evidence, 'pod-1');
  return { from, to: workloadOf(to), action, views: ['observed'], evidence, declared: [], collapsed: false };
}

function declared(from: string, to: string, port: number): Access {
  const action: Action = { kind: 'tcp', port };
  const where = [`env ${to.toUpperCase()}_ADDR of container server`];
  return { ...observed(workloadOf(from), to, action, []), views: ['declared'], declared: where };
}

interface Parts {
  workloads?: [SpiffeId, Workload][];
  accesses?: Access[];
  blindSpots?: KnownBlindSpot[];
  days?: number;
  lost?: number;
}

function graphOf({ workloads = [workload('cart'), workload('web')], ...parts }: Parts): AccessGraph {
  const days = parts.days ?? 14;
  return {
    trustDomain: 'example.org',
    workloads: new Map(workloads),
    accesses: parts.accesses ?? [],
    blindSpots: parts.blindSpots ?? [],
    sharedAccounts: [],
    coverage: {
      firstSeen: START,
      lastSeen: START + days * DAY,
      hours: Array.from({ length: days * 24 }, (_, i) => START / HOUR_MS + i),
      events: 990,
      lost: parts.lost ?? 0,
    },
  };
}

const spotsOf = (parts: Parts, acknowledged: string[] = []) =>
  readiness(graphOf(parts), id('cart'), { now: START + 14 * DAY, acknowledged }).blindSpots;

describe('readiness', () => {
  test('judges a quiet workload with everything recorded as known', () => {
    const accesses = [observed(workloadOf('web'), 'cart', http('/a'), [START + 1, START + DAY])];
    const judged = readiness(graphOf({ accesses, lost: 10 }), id('cart'), { now: START + 14 * DAY });
    expect(judged).toMatchObject({
      workload: id('cart'),
      accesses: 1,
      callers: 1,
      surprises: { seen: 0, unseenShare: 0 },
      calendar: { days: 14, hoursOfWeek: 168, monthEnd: false },
      blindSpots: [],
      doubts: [],
      events: { taken: 990, lost: 10, lostShare: 0.01 },
    });
    expect(judged.surprises.bound).toBeCloseTo(2.9957, 3);
    expect(judged).not.toHaveProperty('lastDeployment');
  });

  test('takes the last deployment of its callers, not of others and not its own', () => {
    const workloads = [
      workload('cart', { deployedAt: START + 13 * DAY }),
      workload('web', { deployedAt: START + 12 * DAY }),
      workload('batch', { deployedAt: START + 11 * DAY }),
      workload('other', { deployedAt: START + 13 * DAY }),
    ];
    const accesses = [
      observed(workloadOf('web'), 'cart', http('/a'), [START]),
      declared('batch', 'cart', 8080),
    ];
    const judged = readiness(graphOf({ workloads, accesses }), id('cart'), { now: START + 14 * DAY });
    expect(judged.lastDeployment).toEqual({ at: START + 12 * DAY, of: id('web') });
    expect(judged.surprises).toMatchObject({ since: 'deployment', windowHours: 48 });
  });

  test('refuses a workload that nobody named', () => {
    expect(() => readiness(graphOf({}), id('nobody'), { now: 0 })).toThrow('no recording or manifest names');
  });
});

describe('an access unit', () => {
  test('is a caller with an action by its template, and its calls add up', () => {
    const accesses = [
      observed(workloadOf('web'), 'cart', http('/items/1'), [START, START + HOUR_MS]),
      observed(workloadOf('web'), 'cart', http('/items/2'), [START + HOUR_MS]),
      observed(workloadOf('app'), 'cart', http('/items/2'), [START]),
      observed(workloadOf('web'), 'other', http('/items/9'), [START]),
    ];
    const graph = graphOf({ accesses });
    expect(unitsOf(graph, id('cart'))).toHaveLength(3);
    const units = unitsOf(graph, id('cart'), () => '/items/{id}');
    expect(units).toEqual([
      expect.objectContaining({ from: id('app'), key: 'http 8080 GET /items/{id}', count: 1 }),
      {
        from: id('web'),
        key: 'http 8080 GET /items/{id}',
        firstSeen: START,
        hours: [START / HOUR_MS, START / HOUR_MS + 1],
        count: 3,
        instances: 1,
      },
    ]);
  });

  test('is first seen with the first call that reached the callee, and not at all without one', () => {
    const failedFirst = observed(workloadOf('web'), 'cart', http('/a'), [START + 5 * HOUR_MS + 7]);
    addCall(failedFirst.evidence, START, 'failed');
    const denied = observed(workloadOf('web'), 'cart', http('/b'), [START], 'denied');
    const units = unitsOf(graphOf({ accesses: [failedFirst, denied] }), id('cart'));
    expect(units).toMatchObject([{ key: 'http 8080 GET /a', firstSeen: START + 5 * HOUR_MS, count: 1 }]);
  });
});

describe('an open blind spot', () => {
  const spot = (more: Partial<KnownBlindSpot>): KnownBlindSpot => ({
    kind: 'client-only',
    from: workloadOf('web'),
    to: workloadOf('cart'),
    what: 'GET /x',
    count: 3,
    firstSeen: START,
    lastSeen: START,
    ...more,
  });

  test('is what a recording did not see of calls to it, and not of calls to others', () => {
    const blindSpots = [spot({}), spot({ kind: 'l4-only' }), spot({ to: workloadOf('web') })];
    expect(spotsOf({ blindSpots })).toMatchObject([
      {
        kind: 'client-only',
        what: 'called, but the callee left no record of it: shop/web, GET /x (3 times)',
      },
      { kind: 'l4-only', certain: true },
    ]);
  });

  test('may be a call whose callee is not known, once for the estate, unless it names other workloads', () => {
    const to: Principal = { kind: 'unauthenticated', from: '10.0.0.1' };
    const unnamed = [
      spot({ kind: 'ambiguous-callee', to, what: 'a' }),
      spot({ kind: 'ambiguous-callee', to, what: 'b' }),
    ];
    expect(spotsOf({ blindSpots: unnamed })).toMatchObject([
      { id: 'estate ambiguous-callee', certain: false },
    ]);
    const others = [spot({ kind: 'ambiguous-callee', to, what: 'Service shop/x selects web' })];
    expect(spotsOf({ blindSpots: others })).toEqual([]);
    const its = [spot({ kind: 'ambiguous-callee', to, what: 'Service shop/x selects cart, web' })];
    expect(spotsOf({ blindSpots: its })).toHaveLength(1);
    expect(spotsOf({ blindSpots: [spot({ kind: 'sampled', to })] })).toMatchObject([
      { id: 'estate sampled' },
    ]);
  });

  test('is a declared access of which nothing was observed', () => {
    const accesses = [
      declared('batch', 'cart', 8080),
      declared('web', 'cart', 8080),
      declared('web', 'cart', 9090),
      observed(workloadOf('web'), 'cart', http('/a'), [START]),
    ];
    expect(spotsOf({ accesses }).filter(({ kind }) => kind === 'declared-only')).toMatchObject([
      {
        what: 'shop/batch is configured to call it on tcp :8080 and was never seen to (env CART_ADDR of container server)',
      },
      { id: `declared-only ${id('web')} tcp :9090` },
    ]);
  });

  test('is a callee that left no record itself, and a caller without identity', () => {
    const workloads = [workload('cart', { recorded: false }), workload('web', { recorded: false })];
    const accesses = [
      observed(workloadOf('web'), 'cart', http('/a'), [START]),
      observed({ kind: 'unauthenticated', from: 'world' }, 'cart', http('/a'), [START]),
    ];
    expect(spotsOf({ workloads, accesses }).map(({ id }) => id)).toEqual([
      `callee-not-recorded ${id('cart')}`,
      'caller-outside unauthenticated:world',
    ]);
    // The client-only spots already say so of the callee.
    expect(spotsOf({ workloads, blindSpots: [spot({})] }).map(({ kind }) => kind)).toEqual(['client-only']);
  });

  test('is the host network, its own or a caller of it', () => {
    const workloads = [
      workload('cart', { hostNetwork: true }),
      workload('web', { hostNetwork: true }),
      workload('x', { hostNetwork: true }),
    ];
    const accesses = [observed(workloadOf('web'), 'cart', http('/a'), [START])];
    expect(spotsOf({ workloads, accesses }).map(({ id }) => id)).toEqual([
      `host-network ${id('cart')}`,
      `host-network ${id('web')}`,
    ]);
  });

  test('is acknowledged by its id', () => {
    const blindSpots = [spot({}), spot({ what: 'GET /y' })];
    const [first] = spotsOf({ blindSpots });
    const after = spotsOf({ blindSpots }, [first?.id ?? '']);
    expect(after.map(({ acknowledged }) => acknowledged)).toEqual([true, false]);
  });

  describe('of a cron job', () => {
    const job = (more: Partial<Workload>): Parts => ({
      workloads: [workload('cart'), workload('report', { kind: 'CronJob', recorded: false, ...more })],
    });

    test('is open while its time has not come, and says when it comes', () => {
      const parts = { ...job({ schedule: '0 3 1 * *' }), accesses: [declared('report', 'cart', 8080)] };
      expect(spotsOf(parts).find(({ kind }) => kind === 'cron-not-due')).toMatchObject({
        certain: true,
        what:
          'cron job shop/report, which calls it, was never due while calls were recorded (0 3 1 * *), ' +
          'and is next due 2026-12-01 03:00 UTC',
      });
      expect(spotsOf({ ...parts, days: 30 }).map(({ kind }) => kind)).toEqual(['declared-only']);
    });

    test('is not closed by a due time at which nothing was recorded', () => {
      const parts = { ...job({ schedule: '0 3 4 * *' }), accesses: [declared('report', 'cart', 8080)] };
      expect(spotsOf(parts).map(({ kind }) => kind)).toEqual(['declared-only']);
      const graph = graphOf(parts);
      const hours = graph.coverage.hours.filter((hour) => new Date(hour * HOUR_MS).getUTCDate() !== 4);
      const gap = { ...graph, coverage: { ...graph.coverage, hours } };
      const { blindSpots } = readiness(gap, id('cart'), { now: START + 14 * DAY });
      expect(blindSpots.map(({ kind }) => kind)).toContain('cron-not-due');
    });

    test('may concern any workload while nothing is known of what it calls', () => {
      expect(spotsOf(job({ schedule: '@yearly' }))).toMatchObject([{ kind: 'cron-not-due', certain: false }]);
      expect(spotsOf({ ...job({ schedule: '@yearly' }), accesses: [declared('report', 'web', 80)] })).toEqual(
        [],
      );
      expect(spotsOf(job({ schedule: '@yearly', recorded: true }))).toEqual([]);
      expect(spotsOf(job({ schedule: '@hourly' }))).toEqual([]);
    });

    test('is open where its schedule or its time zone cannot be read', () => {
      expect(spotsOf(job({ schedule: 'every full moon' }))).toMatchObject([{ kind: 'cron-unreadable' }]);
      expect(spotsOf(job({ schedule: '@daily', timeZone: 'Mars/Olympus' }))).toMatchObject([
        { kind: 'cron-unreadable', id: `cron-unreadable ${id('report')}` },
      ]);
    });
  });
});
