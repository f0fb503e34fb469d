import { type Stage, STAGES } from '../policy/index.ts';
import type { Held, WorkloadRollout } from './enforcement.ts';
import type { Move } from './stages.ts';

/** A workload that is not to move forward by itself, or may again where `held` is undefined. */
export function hold(rollout: WorkloadRollout, held: Held | undefined): WorkloadRollout {
  const rest = without(rollout, 'held');
  return held === undefined ? rest : { ...rest, held };
}

/**
 * What a step says of the steps that are taken by themselves: one down, by a person or as a canary falls back, holds them;
 * one up by a person lets them go on.
 */
export function heldAfter(
  { stage, share, held }: WorkloadRollout,
  to: Stage,
  wanted: number,
  { by, now, why }: Move,
): Held | undefined {
  const way = STAGES.indexOf(to) - STAGES.indexOf(stage) || wanted - share;
  if (way < 0) return { by, at: now, why: why ?? `moved back from ${stage} to ${to}` };
  return way > 0 && by !== 'system' ? undefined : held;
}

/** The rollout without these of its fields. */
export function without(
  rollout: WorkloadRollout,
  ...keys: readonly ('held' | 'shadowSince' | 'canarySince' | 'judged')[]
): WorkloadRollout {
  const copy: { -readonly [Key in keyof WorkloadRollout]: WorkloadRollout[Key] } = { ...rollout };
  for (const key of keys) delete copy[key];
  return copy;
}
