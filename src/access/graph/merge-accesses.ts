import { type Action, actionKey } from '../action.ts';
import { copyOfEvidence, type Evidence, emptyEvidence, mergeEvidence } from '../evidence.ts';
import type { Access, KnownBlindSpot } from './graph.ts';
import { HourCounts } from '../hour-counts.ts';
import { byName } from '../order.ts';
import { collapsePath, isCollapsed, MAX_PATHS } from '../path-limit.ts';
import { type Principal, principalText } from '../principal.ts';
import type { Side } from '../tally-access.ts';

const OBSERVED = ['observed'] as const;
const NOWHERE: readonly string[] = [];

/** Evidence of one access by who saw it: a source on one side of the call. */
interface Sightings {
  readonly action: Action;
  readonly seer: string;
  evidence: Evidence;
  /** What others than the first one saw. Most accesses have one seer. */
  others: Map<string, Evidence> | undefined;
}

/** A caller and a callee, and what they do, by {@link actionKey}. */
interface Pair {
  readonly from: Principal;
  readonly to: Principal;
  readonly byAction: Map<string, Sightings>;
}

/**
 * Adds recorded accesses to one callee up by their resolved callers. One call may have been seen by both ends and by
 * several sources: per hour, the callee's side counts before the caller's (it saw the verified peer), and of several
 * sources the one that saw most.
 */
export class AccessMerger {
  /** By the text of the caller. */
  readonly #pairs = new Map<string, Pair>();

  /** `to` is the same each time. */
  add(from: Principal, to: Principal, action: Action, side: Side, evidence: Evidence): void {
    const { byAction } = this.#pair(from, to);
    const key = actionKey(action);
    const seer = `${side} ${[...evidence.sources].join(' ')}`;
    const sightings = byAction.get(key);
    if (sightings === undefined) byAction.set(key, { action, seer, evidence, others: undefined });
    // The first evidence is the store's own: it is copied before anything is added to it.
    else if (sightings.seer === seer) sightings.evidence = sumOf(sightings.evidence, evidence);
    else {
      sightings.others ??= new Map();
      const known = sightings.others.get(seer);
      sightings.others.set(seer, known === undefined ? evidence : sumOf(known, evidence));
    }
  }

  /** The observed accesses, and connections that stand in for unseen requests; a step for each caller. Call it last. */
  *finish(): Generator<void, { accesses: Access[]; transportOnly: KnownBlindSpot[] }> {
    const accesses: Access[] = [];
    const transportOnly: KnownBlindSpot[] = [];
    for (const [from, pair] of this.#pairs) {
      absorbTransport(limitPaths(accessesOf(pair)), accesses, transportOnly);
      this.#pairs.delete(from);
      yield;
    }
    return { accesses, transportOnly };
  }

  #pair(from: Principal, to: Principal): Pair {
    const text = principalText(from);
    let pair = this.#pairs.get(text);
    if (pair === undefined) this.#pairs.set(text, (pair = { from, to, byAction: new Map() }));
    return pair;
  }

  /** An access that manifests state and nothing observed. */
  static declaredOnly(from: Principal, to: Principal, action: Action, where: readonly string[]): Access {
    return {
      from,
      to,
      action,
      views: ['declared'],
      evidence: emptyEvidence(),
      declared: where,
      collapsed: false,
    };
  }
}

function sumOf(a: Evidence, b: Evidence): Evidence {
  return mergeEvidence(copyOfEvidence(a), b);
}

function accessesOf({ from, to, byAction }: Pair): Access[] {
  return Array.from(byAction.values(), (sightings) => ({
    from,
    to,
    action: sightings.action,
    views: OBSERVED,
    evidence: countedOnce(sightings),
    declared: NOWHERE,
    collapsed: sightings.action.kind === 'http' && isCollapsed(sightings.action.path),
  }));
}

/** One evidence out of what several seers saw of the same calls. */
function countedOnce({ seer: first, evidence: firstEvidence, others }: Sightings): Evidence {
  if (others === undefined) return firstEvidence;
  const seers = [[first, firstEvidence] as const, ...others].toSorted(byName);
  const best = new Map<number, { seer: string; callee: boolean; calls: number }>();
  const all = emptyEvidence();
  for (const [seer, evidence] of seers) {
    const callee = seer.startsWith('callee');
    const perHour = new Map<number, number>();
    for (const [key, n] of evidence.counts) perHour.set(key >> 2, (perHour.get(key >> 2) ?? 0) + n);
    for (const [hour, calls] of perHour) {
      const known = best.get(hour);
      const better =
        known === undefined || (callee === known.callee ? calls > known.calls : callee && !known.callee);
      if (better) best.set(hour, { seer, callee, calls });
    }
    mergeEvidence(all, { ...evidence, counts: new HourCounts() });
  }
  all.mutual = 0;
  all.plaintext = 0;
  for (const [seer, evidence] of seers) {
    for (const [key, n] of evidence.counts) {
      if (best.get(key >> 2)?.seer === seer) all.counts.set(key, n);
    }
    // Not kept by hour: the seer that knows most of how connections were secured speaks for all.
    all.mutual = Math.max(all.mutual, evidence.mutual);
    all.plaintext = Math.max(all.plaintext, evidence.plaintext);
  }
  return all;
}

/** Where a caller used more distinct paths than are kept, all of them are collapsed in the same way. `accesses`: of one pair. */
function limitPaths(accesses: Access[]): Access[] {
  if (accesses.length <= MAX_PATHS && !accesses.some(({ collapsed }) => collapsed)) return accesses;
  const groups = Map.groupBy(accesses, ({ action }) =>
    action.kind === 'http' ? `${action.port} ${action.method}` : '',
  );
  const kept: Access[] = [];
  for (const [key, group] of groups) {
    if (key === '' || (group.length <= MAX_PATHS && !group.some((a) => a.collapsed))) {
      for (const access of group) kept.push(access);
      continue;
    }
    const merged = new Map<string, Access>();
    for (const access of group) {
      if (access.action.kind !== 'http') continue;
      const path = collapsePath(access.action.path);
      const known = merged.get(path);
      const evidence = mergeEvidence(known?.evidence ?? emptyEvidence(), access.evidence);
      merged.set(path, { ...access, action: { ...access.action, path }, evidence, collapsed: true });
    }
    kept.push(...merged.values());
  }
  return kept;
}

/**
 * A connection beside requests of the same caller, callee and port carried those requests: it is no access of
 * its own. Hours with connections and no request are reported: what went over them was not seen. `accesses` are
 * those of one pair; the ones that stay go to `kept`.
 */
function absorbTransport(accesses: readonly Access[], kept: Access[], transportOnly: KnownBlindSpot[]): void {
  const requestHours = requestHoursOf(accesses);
  for (const access of accesses) {
    const { from, to, action, evidence } = access;
    const hours = action.kind === 'tcp' ? requestHours.get(action.port) : undefined;
    if (hours === undefined) {
      kept.push(access);
      continue;
    }
    let count = 0;
    for (const [key, n] of evidence.counts) if (!hours.has(key >> 2)) count += n;
    if (count === 0) continue;
    const { firstSeen, lastSeen } = evidence;
    const what = `connections to port ${action.port} in hours without a recorded request`;
    transportOnly.push({ kind: 'l4-only', from, to, what, action, count, firstSeen, lastSeen });
  }
}

/** Hours with requests, for each port to which there were connections as well. */
function requestHoursOf(accesses: readonly Access[]): Map<number, Set<number>> {
  const ports = new Set<number>();
  for (const { action } of accesses) if (action.kind === 'tcp') ports.add(action.port);
  const byPort = new Map<number, Set<number>>();
  if (ports.size === 0) return byPort;
  for (const { action, evidence } of accesses) {
    if (action.kind === 'tcp' || !ports.has(action.port)) continue;
    const hours = byPort.get(action.port) ?? new Set();
    for (const key of evidence.counts.keys()) hours.add(key >> 2);
    byPort.set(action.port, hours);
  }
  return byPort;
}
