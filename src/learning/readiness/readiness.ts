import { type AccessGraph, InterlockError, type SpiffeId } from '../../access/index.ts';
import { blindSpotsOf, type OpenBlindSpot } from './blind-spots.ts';
import { type Calendar, calendarOf } from './calendar.ts';
import { coverageOf } from './coverage.ts';
import { type Surprises, surprisesOf } from './surprises.ts';
import { type AccessUnit, unitsOf } from './units.ts';

/** A doubt of the proposal as far as readiness is concerned. */
export interface OpenDoubt {
  readonly id: string;
  readonly reasons: readonly string[];
  /** Absent where nobody has decided it yet. */
  readonly decidedBy?: 'owner' | 'other';
}

/** An access that was seen, and that only a rule allows which ends within the week that is judged. */
export interface EndingSoon {
  readonly from: string;
  readonly action: string;
  readonly policy: string;
  readonly rule: string;
  /** As the document says it. */
  readonly until: string;
  /** Calls that reached the callee. */
  readonly count: number;
}

export interface ReadinessOptions {
  /** When it is judged, and the week begins that it is judged for; milliseconds since 1970 UTC. */
  readonly now: number;
  /** The accesses to the workload; by default every recorded action on its own ({@link unitsOf}). */
  readonly units?: readonly AccessUnit[];
  readonly doubts?: readonly OpenDoubt[];
  /** Ids of blind spots that a person has acknowledged. */
  readonly acknowledged?: Iterable<string>;
  readonly ending?: readonly EndingSoon[];
}

/** The judged risk of promoting one workload: what is known, and what is known not to be. */
export interface Readiness {
  readonly workload: SpiffeId;
  /** Milliseconds since 1970 UTC. */
  readonly judgedAt: number;
  /** Distinct accesses that were observed, and callers, observed or declared. */
  readonly accesses: number;
  readonly callers: number;
  /** The last deployment of a caller that is known of, and whose it was. */
  readonly lastDeployment?: { readonly at: number; readonly of: SpiffeId };
  readonly surprises: Surprises;
  readonly calendar: Calendar;
  readonly blindSpots: readonly OpenBlindSpot[];
  readonly doubts: readonly OpenDoubt[];
  /** Events taken in and known lost over the recordings that name the workload, and the lost ones' share of both. */
  readonly events: { readonly taken: number; readonly lost: number; readonly lostShare: number };
  /** What only an exception allows that ends within the first week; absent where no policies were given. */
  readonly ending?: readonly EndingSoon[];
}

/**
 * Judges how ready the workload `to` is to be enforced, from what the graph holds. Which tier that is enough for
 * is for the gates to say. Throws `not_found` where the graph does not know the workload.
 */
export function readiness(graph: AccessGraph, to: SpiffeId, options: ReadinessOptions): Readiness {
  const workload = graph.workloads.get(to);
  if (workload === undefined) {
    throw new InterlockError('not_found', to, `no recording or manifest names the workload ${to}`);
  }
  const { now, units = unitsOf(graph, to), doubts = [], acknowledged = [], ending } = options;
  const coverage = coverageOf(graph, to);
  const callers = callersOf(graph, to);
  const lastDeployment = lastDeploymentOf(graph, callers);
  const calendar = calendarOf(coverage);
  const all = coverage.events + coverage.lost;
  return {
    workload: to,
    judgedAt: now,
    accesses: units.length,
    callers: callers.size,
    ...(lastDeployment === undefined ? {} : { lastDeployment }),
    surprises: surprisesOf(units, coverage, { now, deployedAt: lastDeployment?.at }, calendar),
    calendar,
    blindSpots: blindSpotsOf(graph, workload, now, new Set(acknowledged)),
    doubts,
    events: {
      taken: coverage.events,
      lost: coverage.lost,
      lostShare: all === 0 ? 0 : coverage.lost / all,
    },
    ...(ending === undefined ? {} : { ending }),
  };
}

function callersOf(graph: AccessGraph, to: SpiffeId): Set<SpiffeId> {
  const callers = new Set<SpiffeId>();
  for (const access of graph.accesses) {
    if (access.to.kind !== 'workload' || access.to.id !== to) continue;
    if (access.from.kind === 'workload') callers.add(access.from.id);
  }
  return callers;
}

function lastDeploymentOf(
  graph: AccessGraph,
  callers: ReadonlySet<SpiffeId>,
): { at: number; of: SpiffeId } | undefined {
  let last: { at: number; of: SpiffeId } | undefined;
  for (const of of [...callers].toSorted()) {
    const at = graph.workloads.get(of)?.deployedAt;
    if (at !== undefined && (last === undefined || at > last.at)) last = { at, of };
  }
  return last;
}
