import { useQuery } from '@tanstack/react-query';
import type { Received } from '../../../src/api/index.ts';
import { read } from '../api/query.ts';

/** One named check of a promotion, as the control plane judges it at the move. */
export type Check = Received<'preflight.get'>['gates'][number];
type Readiness = Received<'readiness.get'>['readiness'];

/** The checks that a promotion is refused for: those that a move is judged by, so nothing is judged here. */
export function useGates(workload: string) {
  const { data, error } = useQuery(read('preflight.get', { params: { workload } }));
  return { gates: data?.gates, tier: data?.tier, tierReason: data?.tierReason, error };
}

/** Those that are not passed, and what a promotion is to be called. */
export function missingOf(gates: readonly Check[]): readonly Check[] {
  return gates.filter(({ passed }) => !passed);
}

/** Whether a step enforces more than before: only these have gates. Steps back never wait. */
export function isForward(
  { stage, share }: { readonly stage: string; readonly share: number },
  to: string,
  wanted: number,
): boolean {
  if (to === 'enforced') return stage !== 'enforced';
  return to === 'canary' && (stage !== 'canary' || wanted > share);
}

/** What a person can only take note of: blind spots, and doubts that no rule can be written for. */
export interface Known {
  readonly id: string;
  readonly what: string;
  readonly toDo: string;
}

/** What of the evidence somebody has to say that it is known; what is certain to matter first. */
export function toAcknowledge(
  { blindSpots, doubts }: Pick<Readiness, 'blindSpots' | 'doubts'>,
  withRule: ReadonlySet<string>,
): readonly Known[] {
  const spots = blindSpots
    .filter(({ acknowledged }) => !acknowledged)
    .sort((a, b) => Number(b.certain) - Number(a.certain))
    .map(({ id, what, toDo }) => ({ id, what, toDo }));
  const undecided = doubts
    .filter(({ id, decidedBy }) => decidedBy === undefined && !withRule.has(id))
    .map(({ id, reasons }) => ({ id, what: `${id}: ${reasons.join('; ')}`, toDo: '' }));
  return [...spots, ...undecided];
}
