import {
  type Access,
  type AccessGraph,
  actionText,
  BLIND_SPOTS,
  type BlindSpotKind,
  type Coverage,
  isInterlockError,
  type KnownBlindSpot,
  kubernetesNameOf,
  type Principal,
  principalText,
  type SpiffeId,
  type Workload,
} from '../../access/index.ts';
import { coverageOf } from './coverage.ts';
import { CRON_HORIZON_MS, type CronSchedule, firstDue, parseCron } from './cron.ts';
import { stretchesOf } from './exposure.ts';

/** Kinds of blind spots of a workload that the recordings do not name themselves, and what to do about each. */
const FOUND_HERE = {
  /** A manifest names it, and nothing was observed. */
  'declared-only':
    'find out whether it is still used: record a time in which it is, or remove it from the manifest',
  /** It wrote no record itself: only what recorded callers said of it is known. */
  'callee-not-recorded': 'record its own side too (its proxy, its spans, or the flows of its node)',
  /** A caller that left no record of its own, or has no identity. */
  'caller-outside': 'give the caller an identity and record it, or state that it is known',
  /** A policy of the network cannot select pods in the host network. */
  'host-network': 'move it out of the host network, or accept that policies of the network do not select it',
  /** A workload that shares its service account: the identity that policies name does not exist yet. */
  'shared-account':
    'give the workload a service account of its own (interlock identities --out DIR writes it), then observe its manifests again',
  /** A cron job whose due times all lie outside of what was recorded. */
  'cron-not-due': 'keep recording until it has run, or run it once by hand',
  /** A cron job whose schedule cannot be read. */
  'cron-unreadable': 'correct its schedule or its time zone',
} as const;

const FOUND_BY_RECORDINGS: Readonly<Record<BlindSpotKind, string>> = {
  'client-only': 'record the side of the callee too',
  'unknown-caller': 'find the caller and record it, or give it an identity',
  messaging: 'record the broker, and protect it as the workload that is called',
  'missing-parent': 'see that all services export to one place and that nothing drops spans on the way',
  'l4-only': 'record the requests as well (a proxy, or visibility of layer 7)',
  'unattributed-address': 'read an inventory of the time of the recording (pods with their addresses)',
  'ambiguous-callee':
    'record addresses or identities of the pods, or give each workload a Service of its own',
  sampled: 'record without sampling for the time that the proposal rests on',
};

/** What may hide accesses to a workload: kinds that recordings show, and kinds found when readiness is judged. */
export type OpenBlindSpotKind = BlindSpotKind | keyof typeof FOUND_HERE;

/** One blind spot of one workload that is still open. */
export interface OpenBlindSpot {
  /** Stable name to acknowledge it by. One that concerns the estate has the same name for every workload. */
  readonly id: string;
  readonly kind: OpenBlindSpotKind;
  /** What is not seen, in one sentence without a full stop. */
  readonly what: string;
  readonly toDo: string;
  /** Whether it concerns this workload for certain, or may. */
  readonly certain: boolean;
  readonly acknowledged: boolean;
}

type Found = Omit<OpenBlindSpot, 'acknowledged' | 'toDo'>;

/** The open blind spots of the workload `to`, the certain ones first, then by name. `now` is for what to wait for. */
export function blindSpotsOf(
  graph: AccessGraph,
  to: Workload,
  now: number,
  acknowledged: ReadonlySet<string> = new Set(),
): OpenBlindSpot[] {
  const toIt = graph.accesses.filter((access) => access.to.kind === 'workload' && access.to.id === to.id);
  const found = new Map<string, Found>();
  const add = (spot: Found) => {
    if (!found.has(spot.id)) found.set(spot.id, spot);
  };
  for (const spot of recordedSpots(graph, to)) add(spot);
  for (const spot of declaredOnly(graph, toIt)) add(spot);
  for (const spot of outsiders(graph, to, toIt, [...found.values()])) add(spot);
  for (const spot of hostNetworks(graph, to, toIt)) add(spot);
  for (const spot of sharedAccounts(graph, to, toIt)) add(spot);
  for (const spot of cronJobs(graph, to, toIt, now)) add(spot);
  return [...found.values()]
    .map(({ id, kind, what, certain }) => {
      return { id, kind, what, toDo: toDoOf(kind), certain, acknowledged: acknowledged.has(id) };
    })
    .toSorted((a, b) => Number(b.certain) - Number(a.certain) || (a.id < b.id ? -1 : 1));
}

function toDoOf(kind: OpenBlindSpotKind): string {
  return kind in FOUND_HERE
    ? FOUND_HERE[kind as keyof typeof FOUND_HERE] // `in` does not narrow a key
    : FOUND_BY_RECORDINGS[kind as BlindSpotKind];
}

/** What the recordings show not to have been seen of calls to it, and what may have been a call to it. */
function* recordedSpots(graph: AccessGraph, to: Workload): Generator<Found> {
  const elsewhere = new Map<BlindSpotKind, number>();
  const names = new Set([...graph.workloads.values()].map(({ name }) => name));
  for (const spot of graph.blindSpots) {
    const { kind, from, what, action } = spot;
    if (spot.to.kind === 'workload' && spot.to.id === to.id) {
      const about = what === '' && action !== undefined ? actionText(action) : what;
      yield {
        id: ['seen', kind, principalText(from), about].join(' '),
        kind,
        what: `${BLIND_SPOTS[kind]}: ${nameOf(from)}${about === '' ? '' : `, ${about}`} (${times(spot.count)})`,
        certain: true,
      };
    } else if (mayBeTo(spot, to, names)) elsewhere.set(kind, (elsewhere.get(kind) ?? 0) + spot.count);
  }
  for (const [kind, count] of elsewhere) {
    const what = `${BLIND_SPOTS[kind]} (${times(count)}): some of it may have been for this workload`;
    yield { id: `estate ${kind}`, kind, what, certain: false };
  }
}

/** A spot whose callee is not known could be this workload, unless it names others of the estate. */
function mayBeTo(spot: KnownBlindSpot, to: Workload, names: ReadonlySet<string>): boolean {
  if (spot.kind === 'sampled') return true;
  if (spot.kind !== 'ambiguous-callee' || spot.to.kind === 'workload') return false;
  const words = `${spot.what} ${spot.to.from}`.split(/[^A-Za-z0-9-]+/);
  return words.includes(to.name) || !words.some((word) => names.has(word));
}

/** Declared accesses of which nothing was observed on the same port by the same caller. */
function* declaredOnly(graph: AccessGraph, toIt: readonly Access[]): Generator<Found> {
  for (const { from, action, views, declared } of toIt) {
    if (!views.includes('declared') || views.includes('observed')) continue;
    const observed = toIt.some(
      (other) =>
        other.views.includes('observed') &&
        principalText(other.from) === principalText(from) &&
        (other.action.port === action.port || other.action.port === 0 || action.port === 0),
    );
    if (observed) continue;
    const where = declared.length === 0 ? '' : ` (${declared.slice(0, 3).join('; ')})`;
    yield {
      id: `declared-only ${principalText(from)} ${actionText(action)}`,
      kind: 'declared-only',
      what: `${nameOf(from, graph)} is configured to call it on ${actionText(action)} and was never seen to${where}`,
      certain: true,
    };
  }
}

/** Callers without an identity, and the callee itself where it left no record. */
function* outsiders(
  graph: AccessGraph,
  to: Workload,
  toIt: readonly Access[],
  known: readonly Found[],
): Generator<Found> {
  // Calls that only their callers recorded already say, one by one, that the callee did not.
  if (!to.recorded && !known.some(({ kind }) => kind === 'client-only')) {
    yield {
      id: `callee-not-recorded ${to.id}`,
      kind: 'callee-not-recorded',
      what: 'it left no record itself: calls by callers that are not recorded either are not seen',
      certain: true,
    };
  }
  for (const { from, views } of toIt) {
    if (!views.includes('observed')) continue;
    // A caller with an identity is known by the callee's record; whether it wrote one itself changes nothing here.
    if (from.kind === 'workload') continue;
    yield {
      id: `caller-outside ${principalText(from)}`,
      kind: 'caller-outside',
      what: `its caller ${nameOf(from, graph)} has no identity`,
      certain: true,
    };
  }
}

/** Pods in the host network have the node's address: policies of the network cannot tell them apart. */
function* hostNetworks(graph: AccessGraph, to: Workload, toIt: readonly Access[]): Generator<Found> {
  if (to.hostNetwork) {
    yield {
      id: `host-network ${to.id}`,
      kind: 'host-network',
      what: 'it runs in the host network: policies of the network do not select it',
      certain: true,
    };
  }
  for (const { from } of toIt) {
    if (from.kind !== 'workload' || graph.workloads.get(from.id)?.hostNetwork !== true) continue;
    yield {
      id: `host-network ${from.id}`,
      kind: 'host-network',
      what: `its caller ${nameOf(from, graph)} runs in the host network: its calls come from the node's address`,
      certain: true,
    };
  }
}

/** The workload and its callers, where they run under an account that others run under as well. */
function* sharedAccounts(graph: AccessGraph, to: Workload, toIt: readonly Access[]): Generator<Found> {
  const ends = new Set([to.id, ...toIt.flatMap(({ from }) => (from.kind === 'workload' ? [from.id] : []))]);
  for (const id of ends) {
    const workload = graph.workloads.get(id);
    if (workload?.identifiedBy !== 'workload-name' || workload.serviceAccount === undefined) continue;
    const who = id === to.id ? 'it' : `its caller ${nameOf({ kind: 'workload', id }, graph)}`;
    yield {
      id: `shared-account ${id}`,
      kind: 'shared-account',
      what: `${who} runs under the shared service account ${workload.serviceAccount}: the identity that policies name is not held by anyone yet`,
      certain: true,
    };
  }
}

/** Cron jobs that call it, or of which no call at all is known, and that were never due while it was recorded. */
function* cronJobs(graph: AccessGraph, to: Workload, toIt: readonly Access[], now: number): Generator<Found> {
  const jobs = [...graph.workloads.values()].filter((job) => job.schedule !== undefined && job.id !== to.id);
  if (jobs.length === 0) return;
  const coverage = coverageOf(graph, to.id);
  const callers = new Set(toIt.map(({ from }) => principalText(from)));
  const calling = new Set(graph.accesses.map(({ from }) => principalText(from)));
  for (const job of jobs) {
    const certain = callers.has(job.id);
    if (!certain && (calling.has(job.id) || job.recorded)) continue;
    const spot = cronSpot(coverage, job, now);
    if (spot === undefined) continue;
    const calls = certain ? 'which calls it' : 'which may call it';
    yield { ...spot, what: `cron job ${shortName(job, graph)}, ${calls}, ${spot.what}`, certain };
  }
}

function cronSpot(coverage: Coverage, job: Workload, now: number): Found | undefined {
  let schedule: CronSchedule;
  try {
    schedule = parseCron(job.schedule ?? '', job.timeZone);
  } catch (error) {
    if (!isInterlockError(error)) throw error;
    const what = `is due at times that are not known: ${error.message}`;
    return { id: `cron-unreadable ${job.id}`, kind: 'cron-unreadable', what, certain: true };
  }
  const wasDue = stretchesOf(coverage).some(({ from, to }) => firstDue(schedule, from, to) !== undefined);
  if (wasDue) return undefined;
  const next = firstDue(schedule, now, now + CRON_HORIZON_MS);
  const when =
    next === undefined ? 'and is not due in the next five years' : `and is next due ${minuteText(next)}`;
  return {
    id: `cron-not-due ${job.id}`,
    kind: 'cron-not-due',
    what: `was never due while calls were recorded (${job.schedule}), ${when}`,
    certain: true,
  };
}

function minuteText(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

function times(count: number): string {
  return count === 1 ? 'once' : `${count} times`;
}

function shortName(workload: Workload, graph: AccessGraph): string {
  return nameOf({ kind: 'workload', id: workload.id }, graph);
}

/** A principal as people read it: `namespace/name` where it is a known workload or follows the convention. */
function nameOf(principal: Principal, graph?: AccessGraph): string {
  if (principal.kind !== 'workload') return principal.from;
  const workload = graph?.workloads.get(principal.id);
  if (workload !== undefined) return `${workload.namespace}/${workload.name}`;
  return kubernetesName(principal.id);
}

function kubernetesName(id: SpiffeId): string {
  const name = kubernetesNameOf(id);
  return name === undefined ? id : `${name.namespace}/${name.serviceAccount}`;
}
