import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../access/index.ts';
import { type AccessPolicy, type Tier, TIERS } from '../policy/index.ts';
import { canaryStep, outgrownGates } from './canary.ts';
import type { WorkloadRollout } from './enforcement.ts';
import { type Move, moveTo, newRollout, retarget } from './stages.ts';
import { isStricter, promotionTier, tierReason, withFloor } from './tiers.ts';

const cart = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');
const policy = (tier: Tier, name: string = tier): AccessPolicy => ({
  apiVersion: 'interlock.dev/v1alpha1',
  kind: 'AccessPolicy',
  metadata: { name },
  spec: { protects: { workload: cart }, tier, stage: 'draft', rules: [], deny: [] },
});
const move: Move = { by: 'ola', now: 1 };
const made = (...tiers: readonly Tier[]) =>
  newRollout(
    cart,
    tiers.map((tier) => policy(tier)),
    move,
  );
const to = (rollout: WorkloadRollout, ...tiers: readonly Tier[]) =>
  retarget(
    rollout,
    tiers.map((tier) => policy(tier)),
    move,
  );
const shadowed = (rollout: WorkloadRollout) =>
  rollout.stage === 'shadow' ? rollout : moveTo(rollout, 'shadow', move);

/** All the way, by a person, by the gates that the tier of now asks for; `missing` is what was gone on without. */
function enforce(rollout: WorkloadRollout, over: { mark?: Tier; missing?: readonly string[] } = {}) {
  const { mark, missing } = over;
  const tier = promotionTier(rollout, mark);
  const by = { ...move, mark, judged: missing === undefined ? { tier } : { tier, missing } };
  return moveTo(moveTo(shadowed(rollout), 'canary', by, 1), 'enforced', by);
}

describe('the tier that a promotion is judged by', () => {
  test('is the strictest of the target, of what is in force, and of the mark of the workload', () => {
    expect(promotionTier(undefined, undefined)).toBe('standard');
    expect(promotionTier(undefined, 'experimental')).toBe('experimental');
    expect(promotionTier(made('experimental'), undefined)).toBe('experimental');
    expect(promotionTier(made('experimental'), 'critical')).toBe('critical');
    expect(promotionTier(made('critical'), 'experimental')).toBe('critical');
    expect(promotionTier(made('experimental', 'critical'), undefined)).toBe('critical');
  });

  const critical = enforce(made('critical'));
  const everywhere: readonly [string, WorkloadRollout][] = [
    ['a draft that nobody has seen', made('critical')],
    ['a target in shadow', shadowed(made('critical'))],
    ['a canary', moveTo(shadowed(made('critical')), 'canary', move, 0.1)],
    ['what is in force', critical],
    ['what was in force and was taken back', moveTo(critical, 'shadow', move)],
    [
      'what was in force before a canary of another one',
      moveTo(to(critical, 'standard'), 'canary', move, 0.1),
    ],
    ['what an earlier program kept in force', moveTo(withoutFloor(to(critical, 'standard')), 'draft', move)],
    ['one of several policies', made('experimental', 'critical')],
    ['a mark', moveTo(made('experimental'), 'shadow', { ...move, mark: 'critical' })],
    ['a mark that was noted', withFloor(made('experimental'), 'critical')],
    ['a mark at the time of its promotion', enforce(made('experimental'), { mark: 'critical' })],
  ];
  test.each(everywhere)('stays that of %s, whatever is written next', (_what, rollout) => {
    const ways: readonly WorkloadRollout[] = [
      to(rollout, 'experimental'),
      to(to(rollout), 'experimental'),
      to(to(to(rollout), 'standard'), 'experimental'),
      moveTo(to(moveTo(shadowed(rollout), 'draft', move), 'experimental'), 'shadow', move),
      moveTo(shadowed(to(rollout, 'experimental')), 'draft', move),
    ];
    for (const lowered of ways) {
      expect(lowered.tier).toBe('experimental');
      expect(promotionTier(lowered, undefined)).toBe('critical');
      expect(promotionTier(lowered, 'experimental')).toBe('critical');
    }
  });

  test('is lower once a target is in force by all gates of the one before, and not by way of less', () => {
    const lowered = to(critical, 'experimental');
    const through = enforce(lowered);
    expect([through.floor, promotionTier(through, undefined)]).toEqual([undefined, 'experimental']);
    expect(promotionTier(to(through, 'experimental'), undefined)).toBe('experimental');
    // Gone on all the same, or judged by the gates of a laxer one: what was asked for before stays.
    expect(promotionTier(enforce(lowered, { missing: ['approvals'] }), undefined)).toBe('critical');
    const lax = { ...move, judged: { tier: 'experimental' as const } };
    expect(promotionTier(moveTo(moveTo(lowered, 'canary', lax, 1), 'enforced', lax), undefined)).toBe(
      'critical',
    );
    // Nor by a step that nobody has judged.
    expect(promotionTier(moveTo(moveTo(lowered, 'canary', move, 1), 'enforced', move), undefined)).toBe(
      'critical',
    );
  });

  test('stays with a mark that is gone until then, and is what the mark says where that is still there', () => {
    const marked = enforce(made('experimental'), { mark: 'critical' });
    expect(marked.floor).toBe('critical');
    const unmarked = enforce(to(marked, 'experimental'));
    expect([unmarked.floor, promotionTier(unmarked, undefined)]).toEqual([undefined, 'experimental']);
  });

  test('says why it is stricter than the policies are', () => {
    expect(tierReason(undefined, 'critical')).toBeUndefined();
    expect(tierReason(made('critical'), 'critical')).toBeUndefined();
    expect(tierReason(made('experimental'), 'critical')).toMatch(
      /though its policies say experimental.*marked/,
    );
    expect(tierReason(to(critical, 'standard'), undefined)).toMatch(/what is in force is critical/);
    const back = to(moveTo(critical, 'shadow', move), 'standard');
    expect(tierReason(back, undefined)).toMatch(/it was critical before.*all gates of critical/);
  });

  const tier = fc.constantFrom(...TIERS);
  const mark = fc.option(tier, { nil: undefined });
  const step = fc.oneof(
    fc.record({ kind: fc.constant('target' as const), tiers: fc.array(tier, { maxLength: 2 }), mark }),
    fc.record({
      kind: fc.constant('move' as const),
      stage: fc.constantFrom('draft', 'shadow', 'canary', 'enforced'),
      judged: fc.option(tier, { nil: undefined }),
      isWhole: fc.boolean(),
      mark,
    }),
    fc.record({ kind: fc.constant('note' as const), mark }),
  );
  type Step = typeof step extends fc.Arbitrary<infer Drawn> ? Drawn : never;

  /** The rollout after a step; the same where there is no such step. */
  function after(rollout: WorkloadRollout, each: Step): WorkloadRollout {
    const by: Move = { ...move, mark: each.mark };
    if (each.kind === 'note') return withFloor(rollout, each.mark);
    if (each.kind === 'target')
      return retarget(
        rollout,
        each.tiers.map((one) => policy(one)),
        by,
      );
    const missing = each.isWhole ? {} : { missing: ['drill'] };
    const judged = each.judged === undefined ? undefined : { tier: each.judged, ...missing };
    try {
      return moveTo(rollout, each.stage, { ...by, judged }, 0.5);
    } catch {
      return rollout;
    }
  }

  /** Whether a step may lower it: into force, by all gates of at least the tier of before. */
  function mayLower(rollout: WorkloadRollout, next: WorkloadRollout, asked: Tier): boolean {
    const { judged } = next;
    return (
      rollout.stage !== 'enforced' &&
      next.stage === 'enforced' &&
      judged !== undefined &&
      judged.missing === undefined &&
      !isStricter(asked, judged.tier)
    );
  }

  test('is never lowered by any steps but one: into force, by all gates of at least that tier', () => {
    fc.assert(
      fc.property(tier, fc.array(step, { maxLength: 12 }), (first, steps) => {
        let rollout = made(first);
        for (const each of steps) {
          const next = after(rollout, each);
          // A step that there is none of notes nothing either.
          const asked = promotionTier(rollout, next === rollout ? undefined : each.mark);
          const isLower = isStricter(asked, promotionTier(next, undefined));
          expect(isLower && !mayLower(rollout, next, asked)).toBe(false);
          rollout = next;
        }
      }),
    );
  });
});

describe('a canary that was begun by the gates of a laxer tier', () => {
  const quiet = {
    points: 2,
    allPoints: 2,
    unconfirmed: 0,
    since: 0,
    requests: 1e6,
    deniedGood: 0,
    tier: 'experimental',
  } as const;
  const by = { ...move, judged: { tier: 'experimental' as const } };
  const canary = moveTo(shadowed(made('experimental')), 'canary', by, 0.1);

  test('goes no further by itself, says why, and is taken back as ever', () => {
    expect(canaryStep(canary, quiet, 1e9)).toMatchObject({ kind: 'widen' });
    const marked = { ...quiet, tier: 'critical' } as const;
    expect(canaryStep(canary, marked, 1e9)).toMatchObject({
      kind: 'wait',
      why: expect.stringMatching(/begun by the gates of experimental, and judged as critical now: a person/),
    });
    expect(canaryStep(canary, { ...marked, deniedGood: 1 }, 1e9)).toMatchObject({ kind: 'fall-back' });
  });

  test('goes on once a person has moved it on by the gates of now, and of an earlier program by what its target says', () => {
    const judged = { tier: 'critical' as const };
    expect(outgrownGates(moveTo(canary, 'canary', { ...move, judged }, 0.5), 'critical')).toBeUndefined();
    // The control plane widens by itself what was judged: that is no new judgement.
    expect(outgrownGates(moveTo(canary, 'canary', move, 0.5), 'critical')).toBeDefined();
    const { judged: _, ...early } = canary;
    expect(outgrownGates(early, 'experimental')).toBeUndefined();
    expect(outgrownGates(early, 'standard')).toBeDefined();
  });
});

function withoutFloor(rollout: WorkloadRollout): WorkloadRollout {
  const { floor: _, ...rest } = rollout;
  return rest;
}
