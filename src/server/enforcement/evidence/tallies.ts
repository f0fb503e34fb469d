import { type Outcome, type Principal, type SpiffeId, Tally } from '../../../access/index.ts';
import type { AccessBook } from './access-book.ts';
import type { CoverageBook } from './coverage-book.ts';
import type { Reported, Reporter } from './intake.ts';

/** What found no room, by who reported it. */
export type Lost = readonly [SpiffeId, { readonly kind: Reporter['kind']; readonly n: number }];

/** One tally for each kind of reporter, so that their accesses are added up before they are written. */
export function talliesOf(
  items: readonly { readonly reporter: Reporter; readonly reported: Reported }[],
  lost: readonly Lost[],
  coverage: CoverageBook,
  known: AccessBook,
): Tally[] {
  const tallies = new Map<string, Tally>();
  const tallyOf = (kind: Reporter['kind']) => {
    let tally = tallies.get(kind);
    if (tally === undefined) tallies.set(kind, (tally = new Tally(kind)));
    return tally;
  };
  for (const { reporter, reported } of items)
    addTo(tallyOf(reporter.kind), coverage, reporter, reported, known);
  for (const [identity, { kind, n }] of lost) tallyOf(kind).lose(identity, n);
  return [...tallies.values()];
}

/** Calls over all outcomes. */
export function sumOf(outcomes: Readonly<Record<Outcome, number>>): number {
  return outcomes.ok + outcomes.error + outcomes.failed + outcomes.denied;
}

/** Calls of all accesses of a report. */
export function callsOf(accesses: Reported['accesses']): number {
  return accesses.reduce((sum, { outcomes }) => sum + sumOf(outcomes), 0);
}

/** Nobody knows whose calls these were: of everyone that the reporter serves, and of nobody else. */
export function loseUnnamed(coverage: CoverageBook, { kind, workloads }: Reporter, lost: number): void {
  if (lost > 0) for (const workload of workloads) coverage.add(workload, kind, { lost });
}

/** Adds what a report says; what there is no room for is lost, and counted. */
function addTo(
  tally: Tally,
  coverage: CoverageBook,
  reporter: Reporter,
  { accesses, lost, skips }: Reported,
  known: AccessBook,
): void {
  const { kind } = reporter;
  let unkept = lost;
  loseUnnamed(coverage, reporter, lost);
  for (const { from, to, action, outcomes, mutual, plaintext, firstSeen, lastSeen, instance } of accesses) {
    const calls = sumOf(outcomes);
    const kept = known.kept(from, to, action);
    if (kept === undefined) {
      unkept += calls;
      coverage.add(to, kind, { lost: calls });
      continue;
    }
    const counter = tally.access(endpointOf(kept.from), { spiffeId: to }, kept.action, 'callee');
    for (const [outcome, n] of Object.entries(outcomes) as [Outcome, number][])
      if (n > 0) counter.add(lastSeen, outcome, instance === '' ? undefined : instance, n);
    counter.evidence.firstSeen = Math.min(counter.evidence.firstSeen, firstSeen);
    counter.evidence.mutual += mutual;
    counter.evidence.plaintext += plaintext;
    tally.cover(firstSeen);
    tally.cover(lastSeen);
    tally.read += calls;
    tally.accepted += calls;
    coverage.add(to, kind, { events: calls, at: lastSeen });
  }
  for (const [reason, { count, sample }] of skips) tally.skip(reason, 0, sample, count);
  if (unkept > 0) tally.lose(reporter.identity, unkept);
}

function endpointOf(from: Principal) {
  if (from.kind === 'workload') return { spiffeId: from.id };
  return from.from === 'unknown' ? ({ entity: 'unknown' } as const) : { ip: from.from };
}
