import { type AccessPolicy, type Tier, TIERS } from '../policy/index.ts';
import type { WorkloadRollout } from './enforcement.ts';

type Said = Tier | undefined;

/** The strictest of what is said; undefined where nothing is. */
function strictestOf(...said: readonly Said[]): Said {
  return TIERS.find((tier) => said.includes(tier));
}

/** Whether the gates of one tier ask for more than those of another. */
export function isStricter(tier: Tier, than: Tier): boolean {
  return TIERS.indexOf(tier) < TIERS.indexOf(than);
}

/** Of several policies the strictest tier counts: a critical rule is not promoted as an experiment. */
export function strictestTier(policies: readonly AccessPolicy[]): Tier {
  return strictestOf(...policies.map(({ spec }) => spec.tier)) ?? 'standard';
}

/** What sets say; undefined of an empty one. */
function tierOfSet(policies: readonly AccessPolicy[] | undefined): Said {
  return policies === undefined || policies.length === 0 ? undefined : strictestTier(policies);
}

/**
 * The tier whose gates a promotion has to pass: the strictest of what the target says, what is in force, what the workload
 * is marked with, and what any of them was since a target last came into force by all its gates. So nobody makes a critical
 * workload an experiment by writing so, by taking a policy or a mark away first, or by way of a target that proves nothing.
 */
export function promotionTier(rollout: WorkloadRollout | undefined, mark: Said): Tier {
  return (
    strictestOf(mark, rollout?.floor, tierOfSet(rollout?.target), tierOfSet(rollout?.enforced)) ?? 'standard'
  );
}

/** Why a promotion is judged by a stricter tier than its target says, in words; undefined where it is not. */
export function tierReason(rollout: WorkloadRollout | undefined, mark: Said): string | undefined {
  const tier = promotionTier(rollout, mark);
  const target = tierOfSet(rollout?.target);
  if (rollout === undefined || target === undefined || !isStricter(tier, target)) return undefined;
  const why =
    mark === tier
      ? `its workload is marked interlock.dev/tier: ${tier}`
      : tierOfSet(rollout.enforced) === tier
        ? `what is in force is ${tier}`
        : `it was ${tier} before, and is so until a target has come into force by all gates of ${tier}`;
  return `judged as ${tier}, though its policies say ${target}: ${why}`;
}

/**
 * The rollout with the strictest of all tiers that something says of it now: whatever is taken away next, that stays. The same
 * object where that is known already.
 */
export function withFloor(rollout: WorkloadRollout, mark: Said): WorkloadRollout {
  return flooredAt(rollout, strictestOf(rollout.floor, mark, tierOfSet(rollout.enforced)));
}

/** The tier that the target before had is kept as well where another one takes its place. */
export function withFloorOf(next: WorkloadRollout, before: WorkloadRollout, mark: Said): WorkloadRollout {
  return flooredAt(
    next,
    strictestOf(before.floor, mark, tierOfSet(before.enforced), tierOfSet(before.target)),
  );
}

/**
 * A target that comes into force. Where all gates of the tier that was asked for were passed, from now on it is what the target
 * and the mark say: that is how a tier is lowered. Where something was not passed, what was asked for before stays.
 */
export function withFloorInForce(
  next: WorkloadRollout,
  before: WorkloadRollout,
  mark: Said,
): WorkloadRollout {
  const { judged } = next;
  const asked = promotionTier(before, mark);
  const isPassed = judged !== undefined && judged.missing === undefined && !isStricter(asked, judged.tier);
  return isPassed ? flooredAt(next, mark) : withFloorOf(next, before, mark);
}

/** What the target says itself needs no floor. */
function flooredAt(rollout: WorkloadRollout, floor: Said): WorkloadRollout {
  const target = tierOfSet(rollout.target);
  const wanted =
    floor !== undefined && target !== undefined && !isStricter(floor, target) ? undefined : floor;
  if (wanted === rollout.floor) return rollout;
  const { floor: _, ...rest } = rollout;
  return wanted === undefined ? rest : { ...rest, floor: wanted };
}
