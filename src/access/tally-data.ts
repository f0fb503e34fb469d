import type { Action } from './action.ts';
import type { Endpoint } from './endpoint.ts';
import { emptyEvidence, mergeEvidence } from './evidence.ts';
import { type Fact, factKey } from './inventory/facts.ts';
import type { BlindSpot, Side, Skip, Tally } from './tally.ts';

/** A tally as plain data, to be sent to another thread (everything in it can be cloned; `counts` transferred). */
export interface TallyData {
  readonly read: number;
  readonly accepted: number;
  readonly firstSeen: number;
  readonly lastSeen: number;
  readonly accesses: readonly {
    readonly from: Endpoint;
    readonly to: Endpoint;
    readonly action: Action;
    readonly side: Side;
    readonly firstSeen: number;
    readonly lastSeen: number;
    readonly mutual: number;
    readonly plaintext: number;
    readonly instances: readonly string[];
    readonly sources: readonly string[];
    /** How many of the pairs in `counts`, after those of the accesses before, are this one's. */
    readonly cells: number;
  }[];
  /** Key and count by turns, of all accesses in their order; the keys are those of `Evidence.counts`. */
  readonly counts: Float64Array<ArrayBuffer>;
  readonly blindSpots: readonly BlindSpot[];
  readonly skips: readonly Skip[];
  readonly facts: readonly Fact[];
  readonly lost: readonly (readonly [string, number])[];
}

/** Everything that a tally counted. */
export function exportTally(tally: Tally): TallyData {
  let cells = 0;
  for (const { evidence } of tally.accesses()) cells += evidence.counts.size;
  const counts = new Float64Array(cells * 2);
  const accesses = [];
  let at = 0;
  for (const { from, to, action, side, evidence } of tally.accesses()) {
    for (const [key, n] of evidence.counts) {
      counts[at++] = key;
      counts[at++] = n;
    }
    accesses.push({
      from,
      to,
      action,
      side,
      firstSeen: evidence.firstSeen,
      lastSeen: evidence.lastSeen,
      mutual: evidence.mutual,
      plaintext: evidence.plaintext,
      instances: [...evidence.instances],
      sources: [...evidence.sources],
      cells: evidence.counts.size,
    });
  }
  const { read, accepted, firstSeen, lastSeen } = tally;
  return {
    read,
    accepted,
    firstSeen,
    lastSeen,
    accesses,
    counts,
    blindSpots: [...tally.blindSpots()],
    skips: [...tally.skips()],
    facts: [...tally.facts()],
    lost: [...tally.lost],
  };
}

/** Adds what another tally counted to this one: in any order to the same result. */
export function absorbTally(tally: Tally, data: TallyData): void {
  tally.read += data.read;
  tally.accepted += data.accepted;
  // Not cover(): where nothing was accepted, both are infinite and each may only widen its own side.
  tally.firstSeen = Math.min(tally.firstSeen, data.firstSeen);
  tally.lastSeen = Math.max(tally.lastSeen, data.lastSeen);
  absorbAccesses(tally, data);
  for (const { count, firstSeen, lastSeen, ...spot } of data.blindSpots) {
    tally.blindSpot(spot, firstSeen, count);
    tally.blindSpot(spot, lastSeen, 0);
  }
  for (const { reason, count, firstLine, sample } of data.skips) tally.skip(reason, firstLine, sample, count);
  for (const fact of data.facts) tally.fact(factKey(fact), fact);
  for (const [by, n] of data.lost) tally.lose(by, n);
}

function absorbAccesses(tally: Tally, { accesses, counts }: TallyData): void {
  let at = 0;
  for (const { from, to, action, side, cells, instances, sources, ...rest } of accesses) {
    const part = { ...emptyEvidence(), ...rest, instances: new Set(instances), sources: new Set(sources) };
    for (const end = at + cells * 2; at < end; at += 2) {
      part.counts.set(counts[at] as number, counts[at + 1] as number);
    }
    mergeEvidence(tally.access(from, to, action, side).evidence, part);
  }
}
