import {
  type AccessGraph,
  callsThatReached,
  type Coverage,
  HOUR_MS,
  type SpiffeId,
} from '../../access/index.ts';

/**
 * The time in which calls to one workload were recorded: hours in which a source that saw it recorded anything,
 * from its first recorded call to its last. What other workloads' recordings cover says nothing about it. Where
 * the graph does not say which source covers which hours, the coverage of the estate is given.
 */
export function coverageOf({ accesses, coverage }: AccessGraph, to: SpiffeId): Coverage {
  const { bySource } = coverage;
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
  for (const source of sources) {
    for (const hour of bySource.get(source) ?? []) if (hour >= first && hour <= last) hours.add(hour);
  }
  return { ...coverage, firstSeen, lastSeen, hours: [...hours].toSorted((a, b) => a - b) };
}
