import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../access/index.ts';
import type { AccessPolicy, Stage } from '../policy/index.ts';
import { type CanaryObservation, canaryStep, DEFAULT_CANARY } from './canary.ts';
import type { EnforcementPoint, Release, ReleaseScope, WorkloadRollout } from './enforcement.ts';
import { enforcementAt } from './plan.ts';
import { isInShare, placeOf } from './share.ts';
import { disarm, moveTo, newRollout, retarget } from './stages.ts';

const cart = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');
const point: EnforcementPoint = { workload: cart, instance: 'cart-1', cluster: 'east' };
const at = (now: number) => ({ by: 'alice', now });

function policy(name: string, tier: 'critical' | 'standard' | 'experimental' = 'standard'): AccessPolicy {
  return {
    apiVersion: 'interlock.dev/v1alpha1',
    kind: 'AccessPolicy',
    metadata: { name },
    spec: { protects: { workload: cart }, tier, stage: 'draft', rules: [], deny: [] },
  };
}

const first = [policy('first')];
const second = [policy('second')];
const draft = newRollout(cart, first, at(0));
const shadow = moveTo(draft, 'shadow', at(1));
const all = moveTo(shadow, 'canary', at(2), 1);
const enforced = moveTo(all, 'enforced', at(3));
const release = (scope: ReleaseScope, until?: number): Release => ({
  id: 'r1',
  scope,
  reason: 'test',
  by: 'alice',
  at: 0,
  ...(until === undefined ? {} : { until }),
});
const enforcedOf = (rollout: WorkloadRollout, releases: readonly Release[] = [], now = 5) =>
  enforcementAt(rollout, point, releases, now).enforced?.map(({ metadata }) => metadata.name);

describe('what a point enforces', () => {
  test('is nothing in draft, which is not even shipped, and nothing in shadow, whose target is', () => {
    expect(enforcementAt(draft, point, [], 5)).not.toHaveProperty('target');
    expect(enforcementAt(shadow, point, [], 5)).toMatchObject({ stage: 'shadow', target: first });
    expect([enforcedOf(draft), enforcedOf(shadow)]).toEqual([undefined, undefined]);
  });

  test('is the target inside the share of a canary, and outside it the set before', () => {
    const next = moveTo(retarget(enforced, second, at(4)), 'canary', at(5), 0.5);
    const points = Array.from({ length: 40 }, (_, i) => ({ ...point, instance: `cart-${i}` }));
    for (const each of points) {
      const expected = isInShare(each, 0.5) ? second : first;
      expect(enforcementAt(next, each, [], 5)).toMatchObject({ enforced: expected, target: second });
    }
    expect(new Set(points.map((each) => isInShare(each, 0.5)))).toEqual(new Set([true, false]));
  });

  test('stays what it was when the target changes, until that is promoted', () => {
    const changed = retarget(enforced, second, at(4));
    expect(changed.stage).toBe('shadow');
    expect(enforcementAt(changed, point, [], 5)).toMatchObject({ enforced: first, target: second });
    expect(enforcedOf(moveTo(moveTo(changed, 'canary', at(5), 1), 'enforced', at(6)))).toEqual(['second']);
  });

  test('is the set before a canary when that is taken back, and nothing when the enforced stage is', () => {
    const canary = moveTo(retarget(enforced, second, at(4)), 'canary', at(5), 1);
    expect(enforcedOf(moveTo(canary, 'shadow', at(6)))).toEqual(['first']);
    expect(enforcedOf(moveTo(enforced, 'shadow', at(6)))).toBeUndefined();
    expect(enforcedOf(disarm(canary, at(6)))).toBeUndefined();
  });

  test.each<[string, ReleaseScope, boolean]>([
    ['everything', { kind: 'all' }, true],
    ['its cluster', { kind: 'cluster', cluster: 'east' }, true],
    ['another cluster', { kind: 'cluster', cluster: 'west' }, false],
    ['its namespace', { kind: 'namespace', namespace: 'shop' }, true],
    ['another namespace', { kind: 'namespace', namespace: 'shopping' }, false],
    ['itself', { kind: 'workload', workload: cart }, true],
    ['one of its policies', { kind: 'policy', policy: 'first' }, true],
    ['another policy', { kind: 'policy', policy: 'second' }, false],
  ])('under a release of %s', (_, scope, isReleased) => {
    const found = enforcementAt(enforced, point, [release(scope)], 5);
    expect(found.enforced === undefined).toBe(isReleased);
    expect(found.released?.id).toBe(isReleased ? 'r1' : undefined);
    expect(found).toMatchObject({ target: first, authentication: 'permissive' });
  });

  test('is enforced again when the release has ended, and during a drill', () => {
    expect(enforcedOf(enforced, [release({ kind: 'all' }, 5)], 4)).toBeUndefined();
    expect(enforcedOf(enforced, [release({ kind: 'all' }, 5)], 5)).toEqual(['first']);
    expect(enforcedOf(enforced, [{ ...release({ kind: 'all' }), drill: true }])).toEqual(['first']);
  });

  test('names the release that lasts longest', () => {
    const releases = [release({ kind: 'all' }, 9), { ...release({ kind: 'all' }), id: 'r2' }];
    expect(enforcementAt(enforced, point, releases, 5).released).toEqual({ id: 'r2' });
  });
});

test.each<[Stage, Stage]>([
  ['draft', 'canary'],
  ['draft', 'enforced'],
  ['shadow', 'enforced'],
  ['enforced', 'canary'],
])('nothing goes from %s to %s', (from, to) => {
  const stages = { draft, shadow, canary: all, enforced };
  expect(() => moveTo(stages[from], to, at(9), 0.5)).toThrow(/cannot go to/);
});

test.each([undefined, 0, -1, 1.01, Number.NaN])('a canary of %s is refused', (share) => {
  expect(() => moveTo(shadow, 'canary', at(9), share)).toThrow(/share/);
});

test('the strictest tier of the policies counts', () => {
  const tiers = (...names: ('critical' | 'standard' | 'experimental')[]) =>
    newRollout(
      cart,
      names.map((tier, i) => policy(`p${i}`, tier)),
      at(0),
    ).tier;
  expect([
    tiers('experimental', 'critical'),
    tiers('standard', 'experimental'),
    tiers('experimental'),
  ]).toEqual(['critical', 'standard', 'experimental']);
});

describe('a share', () => {
  test('keeps everyone it had when it widens', () => {
    fc.assert(
      fc.property(fc.string(), fc.double({ min: 0, max: 1, noNaN: true }), (instance, share) => {
        const each = { workload: cart, instance };
        expect(isInShare(each, 1)).toBe(true);
        expect(isInShare(each, 0)).toBe(false);
        if (isInShare(each, share)) expect(isInShare(each, Math.min(1, share * 1.5))).toBe(true);
      }),
    );
  });

  test('is even over instances that differ in a digit', () => {
    const tenths = Array.from({ length: 10 }, () => 0);
    for (let i = 0; i < 10_000; i++) {
      const tenth = Math.floor(placeOf({ workload: cart, instance: `cart-${i}` }) * 10);
      tenths[tenth] = (tenths[tenth] ?? 0) + 1;
    }
    for (const n of tenths) expect(Math.abs(n - 1000)).toBeLessThan(150);
  });
});

describe('a canary', () => {
  const canary = moveTo(shadow, 'canary', at(0), 0.1);
  const quiet: CanaryObservation = {
    points: 2,
    allPoints: 20,
    unconfirmed: 0,
    since: 0,
    requests: 500,
    deniedGood: 0,
    tier: 'standard',
  };
  const later = DEFAULT_CANARY.stepMs;
  const step = (seen: Partial<CanaryObservation>, now = later, rollout = canary) =>
    canaryStep(rollout, { ...quiet, ...seen }, now);

  test('widens by steps, and is enforced after the last', () => {
    const shares: number[] = [];
    for (let rollout = canary; ; ) {
      const next = step({}, rollout.since + later, rollout);
      if (next.kind !== 'widen') {
        expect(next).toEqual({ kind: 'enforce' });
        break;
      }
      shares.push(next.share);
      rollout = moveTo(rollout, 'canary', at(rollout.since + later), next.share);
    }
    expect(shares).toEqual([0.25, 0.5, 1]);
  });

  test.each<[string, Partial<CanaryObservation>, number]>([
    ['a proxy has not confirmed', { unconfirmed: 1 }, later],
    ['the step has not lasted', {}, later - 1],
    ['too little was judged', { requests: 99 }, later],
    ['no proxy is connected', { points: 0, allPoints: 0 }, later],
  ])('waits while %s, and says so', (_, seen, now) => {
    expect(step(seen, now)).toMatchObject({ kind: 'wait', why: expect.stringMatching(/\S/) });
  });

  test('passes over a step that holds no proxy', () => {
    expect(step({ points: 0, requests: 0 }, 0)).toEqual({ kind: 'widen', share: 0.25 });
    // But not one that was interrupted: whoever was in it may not be back yet.
    const again = { points: 0, requests: 0, since: 1 };
    expect(step(again, later)).toMatchObject({ kind: 'wait' });
    expect(step(again, later + 1)).toEqual({ kind: 'widen', share: 0.25 });
  });

  test('falls back at the first refusal of a known-good access, whatever else is', () => {
    expect(step({ deniedGood: 1, unconfirmed: 3, example: 'web GET /a' }, 0)).toEqual({
      kind: 'fall-back',
      why: '1 request of known-good accesses refused: web GET /a',
    });
  });
});
