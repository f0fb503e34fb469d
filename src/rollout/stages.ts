import { InterlockError, type SpiffeId } from '../access/index.ts';
import type { AccessPolicy, Stage } from '../policy/index.ts';
import type { AuthenticationStage, WorkloadRollout } from './enforcement.ts';
import { heldAfter, without } from './held.ts';
import { nextTargetVersion } from './target-version.ts';

/** Who moves something, and when: milliseconds since 1970 UTC. */
export interface Move {
  readonly by: string;
  readonly now: number;
  /** What is new in the target comes from evidence, and not from who moves it. */
  readonly isLearned?: true;
  /** Why, where it is said. */
  readonly why?: string | undefined;
}

/** Stages from which each stage is reached: one step forward, or back to shadow or draft from everywhere. */
const FROM: Readonly<Record<Stage, readonly Stage[]>> = {
  draft: ['shadow'],
  shadow: ['draft', 'shadow', 'canary', 'enforced'],
  canary: ['shadow', 'canary'],
  enforced: ['canary'],
};

/** Whether a target in one stage goes to another in one step. */
export function isStep(from: Stage, to: Stage): boolean {
  return FROM[to].includes(from);
}

/** The rollout of a workload that has none yet. Without an `authentication` its port takes both, so nothing breaks. */
export function newRollout(
  workload: SpiffeId,
  target: readonly AccessPolicy[],
  { by, now, isLearned }: Move,
  authentication: AuthenticationStage = 'permissive',
): WorkloadRollout {
  return {
    workload,
    tier: strictestTier(target),
    stage: 'draft',
    target,
    targetVersion: nextTargetVersion({}, now),
    authors: isLearned === true || target.length === 0 ? [] : [by],
    share: 0,
    authentication,
    since: now,
    by,
  };
}

/**
 * Another target set. It has proved nothing yet, so it starts in shadow (in draft where it was there), and what is in
 * force stays in force.
 */
export function retarget(
  rollout: WorkloadRollout,
  target: readonly AccessPolicy[],
  { by, now, isLearned }: Move,
): WorkloadRollout {
  const { stage, authors = [] } = rollout;
  // Of a target in force nobody is to be asked any more who wrote it.
  const before = stage === 'enforced' ? [] : authors;
  const isDraft = stage === 'draft';
  return {
    ...without(rollout, 'shadowSince'),
    tier: strictestTier(target),
    target,
    targetVersion: nextTargetVersion(rollout, now),
    authors: isLearned === true ? before : [...new Set([...before, by])],
    stage: isDraft ? 'draft' : 'shadow',
    ...(isDraft ? {} : { shadowSince: now }),
    share: 0,
    since: now,
    by,
  };
}

/**
 * Moves the target to a stage; `share` (0 to 1) is asked for in a canary. Back from `enforced` nothing is enforced any
 * more; back from a canary the set before it stays in force. Throws `conflict` for a step that is left out, `usage` for
 * a share that is none.
 */
export function moveTo(rollout: WorkloadRollout, to: Stage, move: Move, share?: number): WorkloadRollout {
  const { workload, stage, target } = rollout;
  if (!isStep(stage, to)) {
    const why =
      stage === to
        ? `already in ${stage} and cannot go to it again`
        : `in ${stage} and cannot go to ${to}: move it to ${stepTo(to, stage)} first`;
    throw new InterlockError('conflict', workload, `${workload} is ${why}`);
  }
  if (target.length === 0)
    throw new InterlockError('conflict', workload, `no policy protects ${workload}: apply one first`);
  const wanted = to === 'canary' ? checkedShare(workload, share) : to === 'enforced' ? 1 : 0;
  const held = heldAfter(rollout, to, wanted, move);
  const kept = { ...without(rollout, 'held', 'shadowSince'), ...(held === undefined ? {} : { held }) };
  const shadowSince = shadowSinceAfter(rollout, to, move.now);
  const since = shadowSince === undefined ? {} : { shadowSince };
  if (to === 'draft' || stage === 'enforced') return { ...disarm(kept, move), ...since, stage: to };
  const moved = { ...kept, ...since, stage: to, share: wanted, since: move.now, by: move.by };
  return to === 'enforced' ? { ...moved, enforced: target } : moved;
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

/** Back in shadow the target has to prove itself anew. */
function shadowSinceAfter(
  { stage, shadowSince, since }: WorkloadRollout,
  to: Stage,
  now: number,
): number | undefined {
  if (to === 'draft') return undefined;
  if (to === 'shadow' && stage !== 'shadow') return now;
  return shadowSince ?? since;
}

/** Of several policies the strictest tier counts: a critical rule is not promoted as an experiment. */
export function strictestTier(policies: readonly AccessPolicy[]): WorkloadRollout['tier'] {
  const tiers = new Set(policies.map(({ spec }) => spec.tier));
  return tiers.has('critical')
    ? 'critical'
    : tiers.has('standard') || tiers.size === 0
      ? 'standard'
      : 'experimental';
}
