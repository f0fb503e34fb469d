import {
  type AccessGraph,
  callsThatReached,
  type Coverage,
  type Covered,
  HOUR_MS,
  type SpiffeId,
} from '../../access/index.ts';

/** No recording names it. */
const NOTHING: Covered = { events: 0, lost: 0, spans: [] };

/**
 * The time in which calls to one workload were recorded: hours in which a recording that holds calls to it recorded
 * anything, from its first recorded call to its last; with the events that the recordings which name it took in and lost.
 * What other workloads' recordings cover or lost says nothing about it. Where the graph knows no more than its sources,
 * hours are those of the sources that saw it, and where it does not know them either, the coverage of the estate is given.
 */
export function coverageOf({ accesses, coverage }: AccessGraph, to: SpiffeId): Coverage {
  const { bySource, byWorkload } = coverage;
  if (bySource === undefined) return coverage;
  let firstSeen = Number.POSITIVE_INFINITY;
  let lastSeen = Number.NEGATIVE_INFINITY;
  const sources = new Set<string>();
  for (const { to: callee, evidence } of accesses) {
    if (callee.kind !== 'workload' || callee.id !== to || callsThatReached(evidence) === 0) continue;
    if (evidence.firstSeen < firstSeen) firstSeen = evidence.firstSeen;
    if (evidence.lastSeen > lastSeen) lastSeen = evidence.lastSeen;
    for (const source of evidence.sources) sources.add(source);
  }
  const [first, last] = [Math.floor(firstSeen / HOUR_MS), Math.floor(lastSeen / HOUR_MS)];
  const hours = new Set<number>();
  const ofSource = (source: string) => (sources.has(source) ? (bySource.get(source) ?? []) : []);
  const own = byWorkload === undefined ? undefined : (byWorkload.get(to) ?? NOTHING);
  const spans = own?.spans.map((span) => span.hours ?? ofSource(span.source)) ?? [...sources].map(ofSource);
  for (const span of spans) for (const hour of span) if (hour >= first && hour <= last) hours.add(hour);
  const { events, lost } = own ?? coverage;
  return { ...coverage, events, lost, firstSeen, lastSeen, hours: [...hours].toSorted((a, b) => a - b) };
}
