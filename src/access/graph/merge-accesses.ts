import { type Action, actionKey } from '../action.ts';
import { type Evidence, emptyEvidence, mergeEvidence } from '../evidence.ts';
import type { Access, Coverage, KnownBlindSpot } from './graph.ts';
import { HourCounts } from '../hour-counts.ts';
import { collapsePath, isCollapsed, MAX_PATHS } from '../path-limit.ts';
import { type Principal, principalText } from '../principal.ts';
import type { Side } from '../tally.ts';

type Span = Pick<Coverage, 'firstSeen' | 'lastSeen' | 'hours' | 'bySource'>;

const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]) => (a < b ? -1 : 1);

/** Evidence of one access by who saw it: a source on one side of the call. */
interface Sightings {
  readonly from: Principal;
  readonly to: Principal;
  readonly action: Action;
  readonly bySeer: Map<string, Evidence>;
}

/**
 * Adds recorded accesses up by their resolved ends. One call may have been seen by both ends and by several
 * sources: per hour, the callee's side counts before the caller's (it saw the verified peer), and of several
 * sources the one that saw most.
 */
export class AccessMerger {
  readonly #known = new Map<string, Sightings>();
  readonly #hours = new Map<string, Set<number>>();
  #firstSeen = Number.POSITIVE_INFINITY;
  #lastSeen = Number.NEGATIVE_INFINITY;

  add(from: Principal, to: Principal, action: Action, side: Side, evidence: Evidence): void {
    const key = `${principalText(from)}\n${principalText(to)}\n${actionKey(action)}`;
    let sightings = this.#known.get(key);
    if (sightings === undefined) {
      sightings = { from, to, action, bySeer: new Map() };
      this.#known.set(key, sightings);
    }
    this.#cover(evidence);
    const seer = `${side} ${[...evidence.sources].toSorted().join(' ')}`;
    const known = sightings.bySeer.get(seer);
    if (known === undefined) sightings.bySeer.set(seer, evidence);
    else {
      // The first evidence is the store's own: it is copied before anything is added to it.
      sightings.bySeer.set(seer, mergeEvidence(mergeEvidence(emptyEvidence(), known), evidence));
    }
  }

  /** The observed accesses, connections that stand in for unseen requests, and the time they cover. */
  finish(): {
    accesses: Access[];
    transportOnly: KnownBlindSpot[];
    span: Span;
  } {
    const accesses = limitPaths(
      [...this.#known.values()].map(({ from, to, action, bySeer }) => ({
        from,
        to,
        action,
        views: ['observed'] as const,
        evidence: countedOnce(bySeer),
        declared: [],
        collapsed: action.kind === 'http' && isCollapsed(action.path),
      })),
    );
    return { ...absorbTransport(accesses), span: this.#span() };
  }

  #span(): Span {
    const sorted = (hours: Iterable<number>) => [...hours].toSorted((a, b) => a - b);
    const all = new Set<number>();
    for (const hours of this.#hours.values()) for (const hour of hours) all.add(hour);
    const bySource = new Map([...this.#hours].toSorted(byName).map(([name, of]) => [name, sorted(of)]));
    return { firstSeen: this.#firstSeen, lastSeen: this.#lastSeen, hours: sorted(all), bySource };
  }

  #cover({ counts, sources, firstSeen, lastSeen }: Evidence): void {
    if (firstSeen < this.#firstSeen) this.#firstSeen = firstSeen;
    if (lastSeen > this.#lastSeen) this.#lastSeen = lastSeen;
    for (const source of sources) {
      const hours = this.#hours.get(source) ?? new Set();
      this.#hours.set(source, hours);
      for (const key of counts.keys()) hours.add(key >> 2);
    }
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

/** One evidence out of what several seers saw of the same calls. */
function countedOnce(bySeer: ReadonlyMap<string, Evidence>): Evidence {
  const seers = [...bySeer].toSorted(([a], [b]) => (a < b ? -1 : 1));
  if (seers.length === 1) return (seers[0] as [string, Evidence])[1];
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

/** Where a caller used more distinct paths than are kept, all of them are collapsed in the same way. */
function limitPaths(accesses: readonly Access[]): Access[] {
  const groups = Map.groupBy(accesses, ({ from, to, action }) =>
    action.kind === 'http'
      ? `${principalText(from)}\n${principalText(to)}\n${action.port} ${action.method}`
      : '',
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
 * its own. Hours with connections and no request are reported: what went over them was not seen.
 */
function absorbTransport(accesses: readonly Access[]): {
  accesses: Access[];
  transportOnly: KnownBlindSpot[];
} {
  const place = ({ from, to, action }: Access) =>
    `${principalText(from)}\n${principalText(to)}\n${action.port}`;
  const requestHours = new Map<string, Set<number>>();
  for (const access of accesses) {
    if (access.action.kind === 'tcp') continue;
    const key = place(access);
    const hours = requestHours.get(key) ?? new Set();
    for (const count of access.evidence.counts.keys()) hours.add(count >> 2);
    requestHours.set(key, hours);
  }
  const kept: Access[] = [];
  const transportOnly: KnownBlindSpot[] = [];
  for (const access of accesses) {
    const hours = access.action.kind === 'tcp' ? requestHours.get(place(access)) : undefined;
    if (hours === undefined) {
      kept.push(access);
      continue;
    }
    let count = 0;
    for (const [key, n] of access.evidence.counts) if (!hours.has(key >> 2)) count += n;
    if (count === 0) continue;
    const { from, to, action, evidence } = access;
    const { firstSeen, lastSeen } = evidence;
    const what = `connections to port ${action.port} in hours without a recorded request`;
    transportOnly.push({ kind: 'l4-only', from, to, what, action, count, firstSeen, lastSeen });
  }
  return { accesses: kept, transportOnly };
}
