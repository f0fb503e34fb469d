import { callsThatReached, type SpiffeId } from '../../access/index.ts';
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
  let seen = new Map<SpiffeId, string>();
  const look = () => {
    const now = weights(estate);
    for (const [workload, weight] of now) if (seen.get(workload) !== weight) work.mark(workload);
    seen = now;
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
 * What proposals depend on, roughly: how many accesses a workload has, from how many instances, and how many of them were
 * seen more than once. That calls go on coming in is nothing new.
 */
function weights(estate: Estate): Map<SpiffeId, string> {
  const found = new Map<SpiffeId, { accesses: number; instances: number; again: number }>();
  for (const { to, evidence } of estate.current.graph.accesses) {
    if (to.kind !== 'workload') continue;
    let weight = found.get(to.id);
    if (weight === undefined) found.set(to.id, (weight = { accesses: 0, instances: 0, again: 0 }));
    weight.accesses++;
    weight.instances += evidence.instances.size;
    if (callsThatReached(evidence) > 1) weight.again++;
  }
  return new Map(
    [...found].map(([id, { accesses, instances, again }]) => [id, `${accesses} ${instances} ${again}`]),
  );
}
