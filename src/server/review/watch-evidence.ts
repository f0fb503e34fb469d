import { type Access, callsThatReached, type SpiffeId } from '../../access/index.ts';
import type { Enforcing } from '../enforcement/enforcing.ts';
import type { Estate } from '../estate/index.ts';
import type { Timers } from '../timers.ts';
import type { Reviews } from './reviews.ts';
import { ReviewWork } from './work.ts';

/** How often protected workloads are looked at when nothing happens: rules become unused by time alone. Milliseconds. */
const LOOK_MS = 3_600_000;

export interface WatchEvidenceOptions {
  readonly reviews: Reviews;
  readonly estate: Estate;
  readonly enforcing: Enforcing;
  readonly timers: Timers;
  readonly onFault: (error: unknown) => void;
}

/** Looks at the review of every workload about which the evidence, its target or a proxy says something new; gives what ends it. */
export function watchEvidence({
  reviews,
  estate,
  enforcing,
  timers,
  onFault,
}: WatchEvidenceOptions): () => void {
  const work = new ReviewWork({ timers, look: (workload) => reviews.refresh(workload), onFault });
  const seen = new Map<SpiffeId, { readonly of: readonly Access[]; readonly weight: string }>();
  const look = () => {
    for (const of of estate.current.byCallee.values()) {
      const [first] = of;
      if (first?.to.kind !== 'workload') continue;
      const { id } = first.to;
      const known = seen.get(id);
      // The accesses to one of which nothing is new are the very same list.
      if (known?.of === of) continue;
      const weight = weightOf(of);
      if (known?.weight !== weight) work.mark(id);
      seen.set(id, { of, weight });
    }
  };
  let cancel = () => {};
  const lookAtAll = () => {
    for (const workload of enforcing.rollouts.all.keys()) work.mark(workload);
    cancel = timers.after(LOOK_MS, lookAtAll);
  };
  look();
  lookAtAll();
  const stops = [
    estate.onChange(look),
    enforcing.onChange((change) => {
      if (change.what === 'rollout' && change.hasNewTarget) work.mark(change.workload);
    }),
    enforcing.evidence.onFlip(({ to }) => work.mark(to)),
    () => cancel(),
    () => work.close(),
  ];
  return () => {
    for (const stop of stops) stop();
  };
}

/**
 * What a proposal depends on, roughly: how many accesses a workload has, from how many instances, and how many of them were
 * seen more than once. That calls go on coming in is nothing new.
 */
function weightOf(accesses: readonly Access[]): string {
  let [instances, again] = [0, 0];
  for (const { evidence } of accesses) {
    instances += evidence.instances.size;
    if (callsThatReached(evidence) > 1) again++;
  }
  return `${accesses.length} ${instances} ${again}`;
}
