import { InterlockError, type SpiffeId } from '../access/index.ts';
import type { AccessPolicy, Stage, Tier } from '../policy/index.ts';
import type { AuthenticationStage, Judged, WorkloadRollout } from './enforcement.ts';
import { heldAfter, without } from './held.ts';
import { nextTargetVersion } from './target-version.ts';
import { strictestTier, withFloor, withFloorInForce, withFloorOf } from './tiers.ts';

/** Who moves something, and when: milliseconds since 1970 UTC. */
export interface Move {
  readonly by: string;
  readonly now: number;
  /** What is new in the target comes from evidence, and not from who moves it. */
  readonly isLearned?: true;
  /** Who else has written of the target: the authors of a commit that somebody syncs. */
  readonly alsoBy?: readonly string[] | undefined;
  /** Why, where it is said. */
  readonly why?: string | undefined;
  /** The tier that the workload is marked with, where it is. */
  readonly mark?: Tier | undefined;
  /** By which gates a step up was judged; a step that the control plane takes by itself goes on by those of the one before. */
  readonly judged?: Judged | undefined;
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
  { by, now, isLearned, alsoBy = [], mark }: Move,
  authentication: AuthenticationStage = 'permissive',
): WorkloadRollout {
  const made: WorkloadRollout = {
    workload,
    tier: strictestTier(target),
    stage: 'draft',
    target,
    targetVersion: nextTargetVersion({}, now),
    authors: isLearned === true || target.length === 0 ? [] : [...new Set([by, ...alsoBy])],
    share: 0,
    authentication,
    since: now,
    by,
  };
  return withFloor(made, mark);
}

/**
 * Another target set. It has proved nothing yet, so it starts in shadow (in draft where it was there), and what is in
 * force stays in force.
 */
export function retarget(
  rollout: WorkloadRollout,
  target: readonly AccessPolicy[],
  { by, now, isLearned, alsoBy = [], mark }: Move,
): WorkloadRollout {
  const { stage, authors = [] } = rollout;
  // Of a target in force nobody is to be asked any more who wrote it.
  const before = stage === 'enforced' ? [] : authors;
  const isDraft = stage === 'draft';
  const next: WorkloadRollout = {
    ...without(rollout, 'shadowSince', 'canarySince', 'judged'),
    tier: strictestTier(target),
    target,
    targetVersion: nextTargetVersion(rollout, now),
    authors: isLearned === true ? before : [...new Set([...before, by, ...alsoBy])],
    stage: isDraft ? 'draft' : 'shadow',
    ...(isDraft ? {} : { shadowSince: now }),
    share: 0,
    since: now,
    by,
  };
  return withFloorOf(next, rollout, mark);
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
  const judged = judgedAfter(rollout, to, move);
  const shadowSince = shadowSinceAfter(rollout, to, move.now);
  const kept = {
    ...without(rollout, 'held', 'shadowSince', 'canarySince', 'judged'),
    ...(held === undefined ? {} : { held }),
    ...(judged === undefined ? {} : { judged }),
    ...(shadowSince === undefined ? {} : { shadowSince }),
    ...(to === 'canary' ? { canarySince: canarySinceAfter(rollout, move.now) } : {}),
  };
  if (to === 'draft' || stage === 'enforced')
    return withFloorOf({ ...disarm(kept, move), stage: to }, rollout, move.mark);
  const moved = { ...kept, stage: to, share: wanted, since: move.now, by: move.by };
  return to === 'enforced'
    ? withFloorInForce({ ...moved, enforced: target }, rollout, move.mark)
    : withFloorOf(moved, rollout, move.mark);
}

/** It lasts from step to step. */
function canarySinceAfter({ stage, canarySince, since }: WorkloadRollout, now: number): number {
  return stage === 'canary' ? (canarySince ?? since) : now;
}

/** Back in shadow nothing is judged any more; a smaller share is no new judgement. */
function judgedAfter(
  { judged }: WorkloadRollout,
  to: Stage,
  { judged: now }: Move,
): WorkloadRollout['judged'] {
  return to === 'canary' || to === 'enforced' ? (now ?? judged) : undefined;
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
