import type { Tier } from '../policy/index.ts';
import type { WorkloadRollout } from './enforcement.ts';
import { isStricter, strictestTier } from './tiers.ts';

/** How a canary widens by itself. */
export interface CanaryPlan {
  /** Shares from 0 to 1, ascending; the last one is 1. */
  readonly steps: readonly number[];
  /** How long a step lasts at least, in milliseconds. */
  readonly stepMs: number;
  /** Requests that the points of the share must have judged in a step, so that silence proves nothing. */
  readonly requests: number;
}

export const DEFAULT_CANARY: CanaryPlan = { steps: [0.1, 0.25, 0.5, 1], stepMs: 10 * 60_000, requests: 100 };

/** What the points of a canary's share have seen since the step began. */
export interface CanaryObservation {
  /** Connected points in the share, with those that have just left it, and connected ones in all. */
  readonly points: number;
  readonly allPoints: number;
  /** Points in the share that have not confirmed the canary's set. */
  readonly unconfirmed: number;
  /** Since when the step counts, milliseconds since 1970 UTC: since its move, or since it was last released. */
  readonly since: number;
  /** Why nothing is enforced at some of the points now, in words. */
  readonly released?: string;
  /** Requests that they judged since then. */
  readonly requests: number;
  /** Refused requests whose access was known to be good: it went well before, or a rule in force elsewhere allows it. */
  readonly deniedGood: number;
  /** One of them, for the reason. */
  readonly example?: string;
  /** The tier that a promotion of the workload is judged by now. */
  readonly tier: Tier;
}

/** What to do with a canary now, and why in words. */
export type CanaryStep =
  | { readonly kind: 'wait'; readonly why: string }
  | { readonly kind: 'widen'; readonly share: number }
  | { readonly kind: 'enforce' }
  | { readonly kind: 'fall-back'; readonly why: string };

/**
 * The next step of a canary. One denial of a known-good access ends it at once; else it widens when the step has
 * lasted, everyone has confirmed, and enough requests were judged. A step whose share holds no point is passed over. While
 * something is released nothing is proved. One that was begun by the gates of a laxer tier than that of now is a person's to
 * move on.
 */
export function canaryStep(
  rollout: WorkloadRollout,
  seen: CanaryObservation,
  now: number,
  plan: CanaryPlan = DEFAULT_CANARY,
): CanaryStep {
  if (seen.deniedGood > 0) {
    const what = seen.example === undefined ? '' : `: ${seen.example}`;
    return {
      kind: 'fall-back',
      why: `${count(seen.deniedGood, 'request')} of known-good accesses refused${what}`,
    };
  }
  const { held } = rollout;
  if (held !== undefined) return { kind: 'wait', why: `held by ${held.by}: ${held.why}` };
  const outgrown = outgrownGates(rollout, seen.tier);
  if (outgrown !== undefined) return { kind: 'wait', why: outgrown };
  if (seen.allPoints === 0) return { kind: 'wait', why: 'no proxy of the workload is connected' };
  if (seen.released !== undefined) return { kind: 'wait', why: seen.released };
  const left = seen.since + plan.stepMs - now;
  // Where something interrupted the step, as a restart does, whoever is in its share may not be back yet.
  if (seen.points === 0 && (seen.since <= rollout.since || left <= 0)) return onward(rollout, plan);
  if (seen.unconfirmed > 0) return { kind: 'wait', why: `${count(seen.unconfirmed, 'proxy')} to confirm` };
  if (left > 0) return { kind: 'wait', why: `${Math.ceil(left / 1000)} s of this step left` };
  if (seen.requests < plan.requests) {
    return { kind: 'wait', why: `${seen.requests} of ${plan.requests} requests judged in this step` };
  }
  return onward(rollout, plan);
}

/** Why a canary does not move on by itself, where its workload has become of a stricter tier since it was judged. */
export function outgrownGates({ judged, target, workload }: WorkloadRollout, tier: Tier): string | undefined {
  const by = judged?.tier ?? strictestTier(target);
  if (!isStricter(tier, by)) return undefined;
  return `begun by the gates of ${by}, and judged as ${tier} now: a person moves it on, by all gates of ${tier} ("interlock preflight ${workload}"), or back`;
}

function onward({ share }: WorkloadRollout, { steps }: CanaryPlan): CanaryStep {
  const next = steps.find((step) => step > share);
  return next === undefined ? { kind: 'enforce' } : { kind: 'widen', share: next };
}

function count(n: number, one: string): string {
  const many = one.endsWith('y') ? `${one.slice(0, -1)}ies` : `${one}s`;
  return `${n} ${n === 1 ? one : many}`;
}
