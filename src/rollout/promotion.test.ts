import { describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../access/index.ts';
import type { AccessPolicy, Stage, Tier } from '../policy/index.ts';
import type { GateFacts } from './judge.ts';
import { type CheckedFacts, isPromotion, missingOf, PROMOTION_CHECKS, promotionChecks } from './promotion.ts';
import type { PromotionFacts } from './promotion-gates.ts';
import { moveTo, newRollout, retarget } from './stages.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const NOW = 1_000 * DAY;
const cart = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');
const [ann, ben] = [
  { who: 'user:i#ann', at: NOW },
  { who: 'user:i#ben', at: NOW },
];

const PROMOTION: PromotionFacts = {
  now: NOW,
  shadowSince: NOW - 7 * DAY,
  approvals: [ann, ben],
  authors: ['user:i#ola'],
  mover: 'user:i#ola',
  lastDrill: NOW - DAY,
};
const EVIDENCE: GateFacts = {
  surprises: { bound: 0.7 },
  calendar: { days: 35, hoursOfWeek: 168, missing: '', monthEnd: true },
  blindSpots: [],
  doubts: [],
  events: { lostShare: 0 },
};
/** Good enough for every tier; each row below makes one thing worse. */
const GOOD: CheckedFacts = {
  now: NOW,
  tier: 'critical',
  policies: 1,
  svids: { live: 2, stale: 0 },
  agentsBehind: [],
  proxies: [{ key: 'cart#1', connected: true, isUpToDate: true }],
  plaintextCallers: [],
  wouldDeny: [],
  widerLosses: [],
  evidence: EVIDENCE,
  promotion: PROMOTION,
};
const { evidence: _, ...UNSEEN } = GOOD;
const { shadowSince: __, ...NOT_IN_SHADOW } = PROMOTION;
const { lastDrill: ___, ...UNDRILLED } = PROMOTION;
const promoted = (over: Partial<PromotionFacts>): CheckedFacts => ({
  ...GOOD,
  promotion: { ...PROMOTION, ...over },
});
const ORDER: readonly Tier[] = ['experimental', 'standard', 'critical'];

describe('the checks of a promotion', () => {
  /** What is worse, and the checks that are not passed for each tier; "" where all are. */
  test.each<[string, CheckedFacts, string, string, string]>([
    ['nothing', GOOD, '', '', ''],
    [
      'nobody has the identity',
      { ...GOOD, svids: { live: 0, stale: 0 } },
      'identities',
      'identities',
      'identities',
    ],
    [
      'an undecided flip',
      { ...GOOD, wouldDeny: [{ what: 'web GET /', count: 1 }] },
      'flips',
      'flips',
      'flips',
    ],
    ['a bound of 2', { ...GOOD, evidence: { ...EVIDENCE, surprises: { bound: 2 } } }, '', '', 'surprises'],
    [
      'nothing recorded',
      UNSEEN,
      'surprises calendar blind-spots doubts events-lost',
      'surprises calendar blind-spots doubts events-lost',
      'surprises calendar blind-spots doubts events-lost',
    ],
    ['not in shadow', { ...GOOD, promotion: NOT_IN_SHADOW }, 'shadow', 'shadow', 'shadow'],
    ['an hour in shadow', promoted({ shadowSince: NOW - HOUR }), '', 'shadow', 'shadow'],
    ['less than an hour', promoted({ shadowSince: NOW - HOUR + 1 }), 'shadow', 'shadow', 'shadow'],
    ['a day in shadow', promoted({ shadowSince: NOW - DAY }), '', '', 'shadow'],
    ['seven days in shadow', promoted({ shadowSince: NOW - 7 * DAY }), '', '', ''],
    ['a flip two hours ago', promoted({ lastFlip: NOW - 2 * HOUR }), '', 'shadow', 'shadow'],
    ['a clock that was set back', promoted({ shadowSince: NOW + DAY }), 'shadow', 'shadow', 'shadow'],
    ['no approval', promoted({ approvals: [] }), '', 'approvals', 'approvals'],
    ['one approval', promoted({ approvals: [ann] }), '', '', 'approvals'],
    ['one person twice', promoted({ approvals: [ann, { ...ann, at: NOW + 1 }] }), '', '', 'approvals'],
    ['an author among two', promoted({ authors: ['user:i#ben'] }), '', '', 'approvals'],
    ['an approver who promotes', promoted({ mover: 'user:i#ann' }), '', '', 'approvals'],
    ['no drill', { ...GOOD, promotion: UNDRILLED }, '', 'drill', 'drill'],
    ['a drill 30 days ago', promoted({ lastDrill: NOW - 30 * DAY }), '', '', 'drill'],
    ['a drill 90 days ago', promoted({ lastDrill: NOW - 90 * DAY }), '', 'drill', 'drill'],
  ])('where there is %s', (_what, facts, ...expected) => {
    const found = ORDER.map((tier) => {
      const checks = promotionChecks({ ...facts, tier });
      expect(checks.map(({ name }) => name)).toEqual(PROMOTION_CHECKS);
      for (const { passed, reason, whatToDo } of checks) {
        expect(reason).toMatch(/\S/);
        expect(whatToDo === undefined).toBe(passed);
      }
      return missingOf(checks)
        .map(({ name }) => name)
        .join(' ');
    });
    expect(found).toEqual(expected);
  });

  test('say what there is, what is needed, and who does not count', () => {
    const facts = promoted({ mover: 'user:i#ann', authors: ['user:i#ben'], shadowSince: NOW - 90 * 60_000 });
    const missing = missingOf(promotionChecks(facts));
    expect(missing).toEqual([
      {
        name: 'shadow',
        passed: false,
        reason: '90 minutes; needs 7 days without a flip',
        whatToDo: 'wait 167 more hours, deciding what flips',
      },
      {
        name: 'approvals',
        passed: false,
        reason:
          '0 of 2 (not counted: user:i#ben has written of it, user:i#ann promotes it); needs 2 people, none the author',
        whatToDo: 'have 2 more people approve this very target: interlock review approve ID',
      },
    ]);
  });
});

test('the checks say why they ask for more than the policies say: where policies are counted, and where people are asked for', () => {
  const tierReason = 'judged as critical, though its policies say experimental: it was before';
  const reasons = (facts: CheckedFacts) =>
    promotionChecks(facts).flatMap(({ name, reason }) => (reason.includes(tierReason) ? [name] : []));
  expect(reasons({ ...GOOD, tierReason })).toEqual(['policy']);
  expect(reasons({ ...promoted({ approvals: [] }), tierReason })).toEqual(['policy', 'approvals']);
  expect(reasons(GOOD)).toEqual([]);
});

test.each<[Stage, number, Stage, number | undefined, boolean]>([
  ['draft', 0, 'shadow', undefined, false],
  ['shadow', 0, 'canary', 0.1, true],
  ['canary', 0.5, 'canary', 0.6, true],
  ['canary', 0.5, 'canary', 0.5, false],
  ['canary', 0.5, 'canary', 0.1, false],
  ['canary', 0.5, 'enforced', undefined, true],
  ['canary', 0.5, 'shadow', undefined, false],
  ['enforced', 1, 'shadow', undefined, false],
  ['shadow', 0, 'draft', undefined, false],
])('from %s %d to %s %s needs gates: %s', (stage, share, to, wanted, expected) => {
  expect(isPromotion({ stage, share }, to, wanted)).toBe(expected);
});

test('the time in shadow begins with each target, and anew where a step back was made', () => {
  const at = (now: number) => ({ by: 'ola', now });
  const draft = newRollout(cart, [], at(0));
  const target = retarget(
    draft,
    [{ ...({} as AccessPolicy), spec: { tier: 'standard' } as AccessPolicy['spec'] }],
    at(1),
  );
  expect(target.shadowSince).toBeUndefined();
  const shadow = moveTo(target, 'shadow', at(2));
  const canary = moveTo(shadow, 'canary', at(3), 0.5);
  const enforced = moveTo(canary, 'enforced', at(4));
  expect([shadow, moveTo(shadow, 'shadow', at(3)), canary, enforced].map((each) => each.shadowSince)).toEqual(
    [2, 2, 2, 2],
  );
  expect(moveTo(canary, 'shadow', at(5)).shadowSince).toBe(5);
  expect(moveTo(enforced, 'shadow', at(6)).shadowSince).toBe(6);
  expect(retarget(enforced, target.target, at(7)).shadowSince).toBe(7);
  expect(moveTo(shadow, 'draft', at(8)).shadowSince).toBeUndefined();
});
