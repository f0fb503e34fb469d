import { kubernetesNameOf, shortNameOf, type SpiffeId, type View, VIEWS } from '../../access/index.ts';
import type { Answer, WorkloadShown } from '../../api/index.ts';
import { isDeniedOnPurpose } from '../../rollout/index.ts';
import type { Point } from '../enforcement/points.ts';
import type { Enforcing } from '../enforcement/enforcing.ts';
import type { JudgedAccess } from './judged.ts';
import type { EstateReader } from './reader.ts';
import { tierOf } from './tier.ts';

type Neighbour = Answer<'workloads.get'>['calledBy'][number];

/** What the lists of workloads count in each: made once for all of them. */
interface Counts {
  readonly points: ReadonlyMap<SpiffeId, readonly Point[]>;
  readonly flips: ReadonlyMap<SpiffeId, number>;
}

export function countsOf({ points, evidence }: Enforcing): Counts {
  const byWorkload = new Map<SpiffeId, Point[]>();
  for (const point of points.all) {
    for (const workload of point.workloads) {
      const known = byWorkload.get(workload);
      if (known === undefined) byWorkload.set(workload, [point]);
      else known.push(point);
    }
  }
  const flips = new Map<SpiffeId, number>();
  for (const flip of evidence.flips({}))
    if (!isDeniedOnPurpose(flip)) flips.set(flip.to, 1 + (flips.get(flip.to) ?? 0));
  return { points: byWorkload, flips };
}

/** Every workload that anything names, in the order of the IDs. */
export function workloadIds(reader: EstateReader, { rollouts }: Enforcing, counts: Counts): SpiffeId[] {
  const all = new Set([...reader.graph.workloads.keys(), ...rollouts.all.keys(), ...counts.points.keys()]);
  return [...all].sort();
}

/** A workload as lists show it. */
export function workloadShown(reader: EstateReader, id: SpiffeId, counts: Counts): WorkloadShown {
  const workload = reader.graph.workloads.get(id);
  const rollout = reader.rolloutOf(id);
  const { callers, accesses, plaintext, lastSeen } = callsTo(reader.to(id));
  const points = counts.points.get(id) ?? [];
  const released = reader.releaseOf(id);
  const left = reader.doubts;
  const doubts = left === undefined ? undefined : (left.get(id) ?? 0);
  return {
    id,
    namespace: workload?.namespace ?? kubernetesNameOf(id)?.namespace ?? '',
    name: workload?.name ?? shortNameOf(id),
    tier: rollout?.tier ?? tierOf(workload) ?? 'standard',
    ...(rollout === undefined
      ? {}
      : {
          // What only takes connections in a certain way is protected by nothing.
          ...(rollout.target.length + (rollout.enforced?.length ?? 0) === 0 ? {} : { stage: rollout.stage }),
          share: rollout.share,
          authentication: rollout.authentication,
          since: rollout.since,
          by: rollout.by,
        }),
    hasOlderSet: rollout?.enforced !== undefined && rollout.stage !== 'enforced',
    ...(released === undefined ? {} : { released }),
    callers,
    callees: calleesOf(reader.from(id)),
    accesses,
    points: points.length,
    connected: points.filter(({ connected }) => connected).length,
    behind: points.filter(({ connected, applied, wanted }) => connected && applied < wanted).length,
    flips: counts.flips.get(id) ?? 0,
    ...(doubts === undefined ? {} : { doubts }),
    plaintext,
    ...(lastSeen === undefined ? {} : { lastSeen }),
  };
}

interface CallsTo {
  readonly callers: number;
  readonly accesses: number;
  readonly plaintext: number;
  readonly lastSeen: number | undefined;
}

/** The accesses to a workload are another list when one of them has changed. */
const counted = new WeakMap<readonly JudgedAccess[], CallsTo>();

function callsTo(accesses: readonly JudgedAccess[]): CallsTo {
  let known = counted.get(accesses);
  if (known === undefined) {
    const seen = accesses.filter(({ access }) => access !== undefined);
    known = {
      callers: new Set(seen.map(({ from }) => from)).size,
      accesses: seen.length,
      plaintext: seen.filter(({ authentication }) => authentication === 'plaintext').length,
      lastSeen: lastOf(seen),
    };
    counted.set(accesses, known);
  }
  return known;
}

function calleesOf(accesses: readonly JudgedAccess[]): number {
  const callees = new Set<string>();
  for (const { access, to } of accesses) if (access !== undefined) callees.add(to);
  return callees.size;
}

/** Those at the other ends of accesses, the busiest first. */
export function neighbours(accesses: readonly JudgedAccess[], otherEnd: 'from' | 'to'): Neighbour[] {
  const of = Map.groupBy(accesses, (access) => access[otherEnd]);
  return [...of].map(([principal, own]) => neighbourOf(principal, own)).sort((a, b) => b.calls - a.calls);
}

function neighbourOf(principal: string, own: readonly JudgedAccess[]): Neighbour {
  const views = new Set<View>(own.flatMap((access) => access.views));
  const lastSeen = lastOf(own);
  return {
    principal,
    accesses: own.length,
    calls: own.reduce((sum, { count }) => sum + count, 0),
    wouldDeny: own.filter(({ state }) => state === 'would-deny').length,
    denied: own.filter(({ state }) => state === 'denied').length,
    plaintext: own.filter(({ authentication }) => authentication === 'plaintext').length,
    views: VIEWS.filter((view) => views.has(view)),
    ...(lastSeen === undefined ? {} : { lastSeen }),
  };
}

function lastOf(accesses: readonly JudgedAccess[]): number | undefined {
  let last = Number.NEGATIVE_INFINITY;
  for (const { access } of accesses) last = Math.max(last, access?.evidence.lastSeen ?? last);
  return Number.isFinite(last) ? last : undefined;
}

/** The stage as the map counts it. */
export function stageText(reader: EstateReader, id: SpiffeId): string {
  const rollout = reader.rolloutOf(id);
  return rollout === undefined || rollout.target.length === 0 ? 'none' : rollout.stage;
}
