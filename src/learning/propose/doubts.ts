import {
  type Access,
  type AccessGraph,
  callsThatReached,
  HOUR_MS,
  outcomesOf,
  type Principal,
  principalText,
} from '../../access/index.ts';
import type { Unit } from './units.ts';

const DAY_MS = 24 * HOUR_MS;

/** Why an access is not proposed as a rule by itself. */
export const DOUBT_REASONS = {
  'after-baseline': 'first seen after the baseline ended',
  'seen-once': 'seen once',
  'one-instance': 'seen only from one instance of a caller that has several',
  'incident-window': 'seen only in a marked incident window',
  'no-identity': 'the caller has no identity: whoever holds that address would be let in',
  'never-succeeded': 'every call ended in an error of the callee',
  collapsed: 'its paths are not told apart: the rule would allow every path below',
  'unknown-port': 'the port is not known: the rule would allow every port',
  'requests-known':
    'the requests of this caller are known: a rule for whole connections would allow any other too',
} as const;
export type DoubtReason = keyof typeof DOUBT_REASONS;

/** A window of time in milliseconds since 1970 UTC, both ends inside. */
export interface TimeWindow {
  readonly from: number;
  readonly to: number;
}

/** A caller that has at least this many instances is seen from more than one of them in the ordinary run. */
export const SEVERAL_INSTANCES = 3;
/** Without a stated end, the baseline ends this long before the recording does, where it is longer than ... */
const NEW_MS = 7 * DAY_MS;
/** ... this. */
const LONG_MS = 8 * DAY_MS;

/**
 * The end of the baseline of one callee: as stated, else 7 days before the end of recordings, where its own calls go back more
 * than 8 days from there. By callee: what somebody dates back elsewhere must not make its fresh accesses doubts.
 */
export function baselineEndOf(
  { coverage: { lastSeen } }: Pick<AccessGraph, 'coverage'>,
  accesses: readonly Pick<Access, 'evidence'>[],
  stated: number | undefined,
): number {
  if (stated !== undefined) return stated;
  const firstSeen = accesses.reduce(
    (first, { evidence }) => Math.min(first, evidence.firstSeen),
    Number.POSITIVE_INFINITY,
  );
  return lastSeen - firstSeen > LONG_MS ? lastSeen - NEW_MS : Number.POSITIVE_INFINITY;
}

/** Instances of every caller, over all that it does. */
export function instancesOfCallers(graph: AccessGraph): Map<string, Set<string>> {
  const result = new Map<string, Set<string>>();
  for (const { from, evidence } of graph.accesses) {
    const key = principalText(from);
    const set = result.get(key) ?? new Set();
    for (const name of evidence.instances) set.add(name);
    result.set(key, set);
  }
  return result;
}

/** What the doubts about one unit are judged by. */
export interface Circumstances {
  readonly baselineEnd: number;
  readonly incidents: readonly TimeWindow[];
  readonly instances: ReadonlyMap<string, ReadonlySet<string>>;
  /** Ports on which requests, not only connections, of each caller of this callee are known. */
  readonly requestPorts: ReadonlyMap<string, ReadonlySet<number>>;
}

/** The checks, each named as its finding reads; all of them are asked. */
const CHECKS: readonly (readonly [DoubtReason, (unit: Unit, now: Circumstances) => boolean])[] = [
  ['no-identity', ({ from }) => from.kind === 'unauthenticated'],
  ['after-baseline', (unit, { baselineEnd }) => unit.reached > 0 && firstReached(unit) > baselineEnd],
  ['seen-once', ({ reached }) => reached === 1],
  [
    'one-instance',
    ({ from, reached, evidence }, { instances }) =>
      reached > 0 && evidence.instances.size === 1 && countOf(instances, from) >= SEVERAL_INSTANCES,
  ],
  ['incident-window', (unit, { incidents }) => unit.reached > 0 && onlyInside(unit, incidents)],
  ['never-succeeded', ({ reached, evidence }) => reached > 0 && outcomesOf(evidence).ok === 0],
  ['collapsed', ({ collapsed }) => collapsed],
  ['unknown-port', ({ action }) => action.kind === 'tcp' && action.port === 0],
  [
    'requests-known',
    (unit, { requestPorts }) => unit.action.kind === 'tcp' && requestsKnown(unit, requestPorts),
  ],
];

/** Every reason to doubt the unit; empty where it may become a rule. */
export function doubtsAbout(unit: Unit, circumstances: Circumstances): DoubtReason[] {
  return CHECKS.filter(([, applies]) => applies(unit, circumstances)).map(([reason]) => reason);
}

function countOf(instances: ReadonlyMap<string, ReadonlySet<string>>, from: Principal): number {
  return instances.get(principalText(from))?.size ?? 0;
}

function requestsKnown({ from, action }: Unit, ports: ReadonlyMap<string, ReadonlySet<number>>): boolean {
  const known = ports.get(principalText(from));
  if (known === undefined) return false;
  return action.port === 0 || known.has(0) || known.has(action.port);
}

/** When the first call reached the callee, as exactly as the hourly counters and the first sighting say. */
export function firstReached({ evidence }: Pick<Unit, 'evidence'>): number {
  return reachedSpan(evidence).first;
}

/** First and last call that reached the callee. Where failed calls came before or after, the hour's edge counts. */
export function reachedSpan(evidence: Unit['evidence']): { first: number; last: number } {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const [key, n] of evidence.counts) {
    if ((key & 3) >= 2 || n <= 0) continue;
    low = Math.min(low, key >> 2);
    high = Math.max(high, key >> 2);
  }
  return {
    first: Math.max(low * HOUR_MS, evidence.firstSeen),
    last: Math.min((high + 1) * HOUR_MS - 1, evidence.lastSeen),
  };
}

/** True when every hour with a call that reached the callee lies in one of the windows, as far as it is known. */
function onlyInside({ evidence }: Unit, windows: readonly TimeWindow[]): boolean {
  if (windows.length === 0 || callsThatReached(evidence) === 0) return false;
  const { first, last } = reachedSpan(evidence);
  for (const [key, n] of evidence.counts) {
    if ((key & 3) >= 2 || n <= 0) continue;
    const hour = (key >> 2) * HOUR_MS;
    const [start, end] = [Math.max(hour, first), Math.min(hour + HOUR_MS - 1, last)];
    if (!windows.some(({ from, to }) => from <= start && end <= to)) return false;
  }
  return true;
}
