import { describe, expect, test } from 'vitest';
import { type Access, type Action, addCall, emptyEvidence, parseSpiffeId } from '../access/index.ts';
import { type AccessPolicy, compile, type Rule } from '../policy/index.ts';
import type { Enforcement, WorkloadRollout } from './enforcement.ts';
import {
  endingAccesses,
  endsBetween,
  enforcementNow,
  isDeniedByEnd,
  rolloutAt,
  untilNextLook,
} from './ends.ts';
import { type GateFacts, judge } from './judge.ts';
import { newRollout } from './stages.ts';

const CART = parseSpiffeId('spiffe://example.org/cart');
const WEB = { kind: 'workload', id: parseSpiffeId('spiffe://example.org/web') } as const;
const END = Date.UTC(2026, 11, 31);
const UNTIL = '2026-12-31T00:00:00Z';
const DAY = 86_400_000;

const get = (path: string): Action => ({ kind: 'http', port: 80, method: 'GET', path });
const rule = (name: string, path: string, until?: string): Rule => ({
  name,
  from: [{ workload: WEB.id }],
  to: [{ http: { paths: [path] } }],
  ...(until === undefined ? {} : { until }),
});
const policies = (...rules: Rule[]): AccessPolicy[] => [
  {
    apiVersion: 'interlock.dev/v1alpha1',
    kind: 'AccessPolicy',
    metadata: { name: 'cart' },
    spec: { protects: { workload: CART }, tier: 'standard', stage: 'draft', rules, deny: [] },
  },
];

const rollout = (target: AccessPolicy[], enforced?: AccessPolicy[]): WorkloadRollout => ({
  ...newRollout(CART, target, { by: 'user:a', now: 0 }),
  ...(enforced === undefined ? {} : { enforced }),
});

function seen(path: string, calls: number): Access {
  const evidence = emptyEvidence();
  if (calls > 0) addCall(evidence, 1000, 'ok', calls);
  const to = { kind: 'workload', id: CART } as const;
  return { from: WEB, to, action: get(path), views: ['observed'], evidence, declared: [], collapsed: false };
}

describe('what ends', () => {
  const ending = rollout(policies(rule('a', '/a', UNTIL), rule('b', '/b')));

  test('is noticed once between two looks at the clock, whichever way it went, in either set', () => {
    expect(endsBetween(ending, END - 1, END)).toBe(true);
    expect(endsBetween(ending, END, END - 1)).toBe(true);
    expect(endsBetween(ending, END, END + DAY)).toBe(false);
    expect(endsBetween(ending, END - DAY, END - 1)).toBe(false);
    expect(endsBetween(rollout(policies(), policies(rule('a', '/a', UNTIL))), END - 1, END)).toBe(true);
  });

  test('is waited for at most half a minute, and not at all where nothing has an end', () => {
    const lasting = rollout(policies(rule('b', '/b')));
    expect(untilNextLook([lasting], 0)).toBeUndefined();
    expect(untilNextLook([lasting, ending], END - 1)).toBe(1);
    expect(untilNextLook([lasting, ending], 0)).toBe(30_000);
    // The clock may go back over it.
    expect(untilNextLook([ending], END)).toBe(30_000);
  });

  test('is no longer in what a point enforces; what does not end is the same object', () => {
    const { target } = ending;
    const whole: Enforcement = {
      workload: CART,
      authentication: 'strict',
      stage: 'enforced',
      enforced: target,
      target,
    };
    expect(enforcementNow(whole, END - 1)).toBe(whole);
    const after = enforcementNow(whole, END);
    expect(after.enforced?.[0]?.spec.rules.map(({ name }) => name)).toEqual(['b']);
    expect(after.target).toEqual(after.enforced);
    expect(enforcementNow(whole, END + DAY)).toBe(after);
    expect(enforcementNow(whole, END - 1)).toBe(whole);
    const shadow: Enforcement = { workload: CART, authentication: 'strict', stage: 'shadow', target };
    expect('enforced' in enforcementNow(shadow, END)).toBe(false);
  });

  test('is judged as a rule that lasts before, as none after, and in between nothing is made anew', () => {
    const before = rolloutAt(ending, END - 2);
    expect(rolloutAt(ending, END - 1)).toBe(before);
    expect(before.target[0]?.spec.rules.map(({ name, until }) => [name, until])).toEqual([
      ['a', undefined],
      ['b', undefined],
    ]);
    const after = rolloutAt(ending, END);
    expect(after.target[0]?.spec.rules.map(({ name }) => name)).toEqual(['b']);
    expect(rolloutAt(ending, END + DAY)).toBe(after);
    // A clock that was set back.
    expect(rolloutAt(ending, END - 1).target[0]?.spec.rules).toHaveLength(2);
    const lasting = rollout(policies(rule('b', '/b')));
    expect(rolloutAt(lasting, END)).toBe(lasting);
  });

  test('is told from what was never allowed', () => {
    const set = compile(ending.target);
    const asked = (path: string, now: number, since = END - 1) =>
      isDeniedByEnd(set, { from: WEB, to: CART, action: get(path) }, { since, now });
    expect([asked('/a', END), asked('/a', END - 1), asked('/b', END), asked('/c', END)]).toEqual([
      true,
      false,
      false,
      false,
    ]);
    // It was over before: nothing was allowed since.
    expect(asked('/a', END + 1, END)).toBe(false);
  });
});

describe('accesses that an exception allows which ends within a week', () => {
  const target = policies(
    rule('soon', '/a', UNTIL),
    rule('late', '/late', '2027-06-01T00:00:00Z'),
    rule('b', '/b'),
  );
  const accesses = [seen('/b', 9), seen('/a', 2), seen('/late', 5), seen('/other', 5), seen('/a', 0)];

  test('are named with the rule; those that another rule allows, or nobody has made, are not', () => {
    expect(endingAccesses(accesses, target, END - DAY, 7 * DAY)).toEqual([
      { from: WEB, to: CART, action: get('/a'), policy: 'cart', rule: 'soon', until: UNTIL, count: 2 },
    ]);
    expect(endingAccesses(accesses, target, END - 8 * DAY, 7 * DAY)).toEqual([]);
    expect(endingAccesses(accesses, target, END, 7 * DAY)).toEqual([]);
    const both = policies(rule('soon', '/a', UNTIL), rule('lasting', '/{any}'));
    expect(endingAccesses(accesses, both, END - DAY, 7 * DAY)).toEqual([]);
  });

  test('count as surprises that are known, each by name', () => {
    const facts: GateFacts = {
      surprises: { bound: 0.5 },
      calendar: { days: 60, hoursOfWeek: 168, missing: '', monthEnd: true },
      blindSpots: [],
      doubts: [],
      events: { lostShare: 0 },
      ending: endingAccesses(accesses, target, END - DAY, 7 * DAY),
    };
    const gate = (of: GateFacts, tier: 'critical' | 'standard') =>
      judge(of, tier).gates.find(({ gate }) => gate === 'surprises');
    expect(gate(facts, 'critical')).toMatchObject({
      state: 'missing',
      have: 'at most 1.5, 1 of them by exceptions that end',
      what: `renew or replace what ends within a week: cart/soon (${UNTIL})`,
    });
    expect(gate(facts, 'standard')).toMatchObject({ state: 'passed' });
    const { ending: _, ...without } = facts;
    expect(gate(without, 'critical')).toMatchObject({ state: 'passed', have: 'at most 0.5' });
  });
});
