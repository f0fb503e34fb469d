import { InterlockError, type SpiffeId } from '../access/index.ts';
import type { AccessPolicy, Stage } from '../policy/index.ts';
import type { AuthenticationStage, WorkloadRollout } from './enforcement.ts';

/** Who moves something, and when: milliseconds since 1970 UTC. */
export interface Move {
  readonly by: string;
  readonly now: number;
}

/** Stages from which each stage is reached: one step forward, or back to shadow or draft from everywhere. */
const FROM: Readonly<Record<Stage, readonly Stage[]>> = {
  draft: ['shadow'],
  shadow: ['draft', 'shadow', 'canary', 'enforced'],
  canary: ['shadow', 'canary'],
  enforced: ['canary'],
};

/** The rollout of a workload that has none yet. Without an `authentication` its port takes both, so nothing breaks. */
export function newRollout(
  workload: SpiffeId,
  target: readonly AccessPolicy[],
  { by, now }: Move,
  authentication: AuthenticationStage = 'permissive',
): WorkloadRollout {
  const tier = strictestTier(target);
  return { workload, tier, stage: 'draft', target, share: 0, authentication, since: now, by };
}

/**
 * Another target set. It has proved nothing yet, so it starts in shadow (in draft where it was there), and what is in
 * force stays in force.
 */
export function retarget(
  rollout: WorkloadRollout,
  target: readonly AccessPolicy[],
  { by, now }: Move,
): WorkloadRollout {
  const stage = rollout.stage === 'draft' ? 'draft' : 'shadow';
  return { ...rollout, tier: strictestTier(target), target, stage, share: 0, since: now, by };
}

/**
 * Moves the target to a stage; `share` (0 to 1) is asked for in a canary. Back from `enforced` nothing is enforced any
 * more; back from a canary the set before it stays in force. Throws `conflict` for a step that is left out, `usage` for
 * a share that is none.
 */
export function moveTo(rollout: WorkloadRollout, to: Stage, move: Move, share?: number): WorkloadRollout {
  const { workload, stage, target } = rollout;
  if (!FROM[to].includes(stage)) {
    const why =
      stage === to
        ? `already in ${stage} and cannot go to it again`
        : `in ${stage} and cannot go to ${to}: move it to ${stepTo(to, stage)} first`;
    throw new InterlockError('conflict', workload, `${workload} is ${why}`);
  }
  if (target.length === 0)
    throw new InterlockError('conflict', workload, `no policy protects ${workload}: apply one first`);
  if (to === 'draft' || stage === 'enforced') return { ...disarm(rollout, move), stage: to };
  const moved = { ...rollout, stage: to, since: move.now, by: move.by };
  if (to === 'canary') return { ...moved, share: checkedShare(workload, share) };
  if (to === 'enforced') return { ...moved, enforced: target, share: 1 };
  return { ...moved, share: 0 };
}

/** The step that comes first where one to `to` is not to be had: everything but the last one goes through shadow. */
function stepTo(to: Stage, from: Stage): Stage {
  return to === 'enforced' && from === 'shadow' ? 'canary' : 'shadow';
}

/** Nothing is enforced for the workload any more, as before its first promotion; its target stays in shadow. */
export function disarm(rollout: WorkloadRollout, { by, now }: Move): WorkloadRollout {
  const { enforced: _, ...rest } = rollout;
  return { ...rest, stage: rollout.stage === 'draft' ? 'draft' : 'shadow', share: 0, since: now, by };
}

/** Another way of taking connections. */
export function authenticate(
  rollout: WorkloadRollout,
  authentication: AuthenticationStage,
  { by, now }: Move,
): WorkloadRollout {
  return { ...rollout, authentication, since: now, by };
}

function checkedShare(workload: SpiffeId, share: number | undefined): number {
  if (share !== undefined && share > 0 && share <= 1) return share;
  throw new InterlockError(
    'usage',
    workload,
    'a canary needs a share of the proxies: more than 0 %, at most 100 %',
  );
}

/** Of several policies the strictest tier counts: a critical rule is not promoted as an experiment. */
function strictestTier(policies: readonly AccessPolicy[]): WorkloadRollout['tier'] {
  const tiers = new Set(policies.map(({ spec }) => spec.tier));
  return tiers.has('critical')
    ? 'critical'
    : tiers.has('standard') || tiers.size === 0
      ? 'standard'
      : 'experimental';
}
