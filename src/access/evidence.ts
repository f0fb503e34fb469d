import { HourCounts } from './hour-counts.ts';
import { NameSet } from './name-set.ts';

/**
 * How one call ended. `ok` and `error` reached the callee (an application's own 4xx or 5xx is a call, and so is a
 * connection on which the callee said nothing);
 * `failed` never reached it; `denied` was refused by a policy that is already in force.
 */
export const OUTCOMES = ['ok', 'error', 'failed', 'denied'] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** How many caller instances are kept by name. More are known to exist only as "at least this many". */
export const MAX_INSTANCES = 16;

/** Milliseconds in the unit that counts are kept in. */
export const HOUR_MS = 3_600_000;

/**
 * What an observed access rests on, kept as counters per hour so that it can be added up in any order: merging
 * is commutative, associative, and `emptyEvidence()` changes nothing. Times are milliseconds since 1970 UTC.
 */
export interface Evidence {
  /** `hour * 4 + outcome index` -> calls; hour is hours since 1970 UTC, the index is into OUTCOMES. */
  readonly counts: HourCounts;
  firstSeen: number;
  lastSeen: number;
  /** Names of caller instances: the {@link MAX_INSTANCES} smallest, so that merging commutes. */
  readonly instances: NameSet;
  /** Names of the sources that saw it (`otlp`, `envoy`, ...). */
  readonly sources: NameSet;
  /** Calls whose connection both ends authenticated, and calls known to have been in plain text. */
  mutual: number;
  plaintext: number;
}

/** Evidence of nothing. */
export function emptyEvidence(): Evidence {
  return {
    counts: new HourCounts(),
    firstSeen: Number.POSITIVE_INFINITY,
    lastSeen: Number.NEGATIVE_INFINITY,
    instances: new NameSet(),
    sources: new NameSet(),
    mutual: 0,
    plaintext: 0,
  };
}

/** The same evidence apart: what is added to it is not added to the first. */
export function copyOfEvidence(evidence: Evidence): Evidence {
  const { counts, instances, sources } = evidence;
  return { ...evidence, counts: counts.copy(), instances: instances.copy(), sources: sources.copy() };
}

/** Adds `n` calls that ended as `outcome` at `at`. */
export function addCall(evidence: Evidence, at: number, outcome: Outcome, n = 1): void {
  const key = Math.floor(at / HOUR_MS) * 4 + OUTCOMES.indexOf(outcome);
  evidence.counts.add(key, n);
  if (at < evidence.firstSeen) evidence.firstSeen = at;
  if (at > evidence.lastSeen) evidence.lastSeen = at;
}

/** Adds the name of a caller's instance, keeping the smallest {@link MAX_INSTANCES}. */
export function addInstance(evidence: Evidence, name: string): void {
  const { instances } = evidence;
  // A full set changes only for a smaller name.
  if (instances.size >= MAX_INSTANCES && name >= (instances.largest ?? '')) return;
  instances.add(name);
  if (instances.size > MAX_INSTANCES) instances.dropLargest();
}

/** Adds `from` into `into`. */
export function mergeEvidence(into: Evidence, from: Evidence): Evidence {
  into.counts.addAll(from.counts);
  if (from.firstSeen < into.firstSeen) into.firstSeen = from.firstSeen;
  if (from.lastSeen > into.lastSeen) into.lastSeen = from.lastSeen;
  for (const name of from.instances) addInstance(into, name);
  for (const name of from.sources) into.sources.add(name);
  into.mutual += from.mutual;
  into.plaintext += from.plaintext;
  return into;
}

/** Calls by outcome, over all hours. */
export function outcomesOf(evidence: Evidence): Record<Outcome, number> {
  const sums: Record<Outcome, number> = { ok: 0, error: 0, failed: 0, denied: 0 };
  evidence.counts.each((key, n) => {
    sums[OUTCOMES[key & 3] as Outcome] += n;
  });
  return sums;
}

/** Calls that reached the callee: the ones that a rule may rest on. */
export function callsThatReached({ counts }: Evidence): number {
  return counts.sum((key) => (key & 3) < 2);
}

/** Hours since 1970 UTC in which at least one call reached the callee, ascending. */
export function hoursOf(evidence: Evidence): number[] {
  const hours: number[] = [];
  evidence.counts.each((key, n) => {
    // Keys ascend, and so do hours: an hour that is there already is the last one.
    if ((key & 3) < 2 && n > 0 && hours.at(-1) !== key >> 2) hours.push(key >> 2);
  });
  return hours;
}

/** Hour of the week of an hour since 1970 UTC: 0 is Monday 00:00 UTC, 167 is Sunday 23:00 UTC. */
export function hourOfWeek(hour: number): number {
  // 1970-01-01 was a Thursday.
  return (((hour + 72) % 168) + 168) % 168;
}
