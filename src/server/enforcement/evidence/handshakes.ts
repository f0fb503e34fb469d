import { type Principal, principalText, type SpiffeId } from '../../../access/index.ts';
import { handshakeKey, type SeenHandshakes } from '../../../store/index.ts';
import type { ReportedAccess } from './intake.ts';
import { SightingBook } from './sighting-book.ts';
import { sumOf } from './tallies.ts';

/** Stands for a TLS handshake whose group nobody said: an Envoy's access log has none. */
export const UNKNOWN_GROUP = 'unknown';

/** The group of the handshake of each pair, as the calls on these connections say it. Plain text has none. */
export function handshakesOf(accesses: readonly ReportedAccess[]): SeenHandshakes[] {
  return accesses.flatMap(({ from, to, group = UNKNOWN_GROUP, outcomes, plaintext, firstSeen, lastSeen }) => {
    const count = sumOf(outcomes) - plaintext;
    return count > 0 ? [{ from, to, group, count, firstSeen, lastSeen }] : [];
  });
}

/** Groups by pair, added up. Bounded by the callee: nobody but its callers fills its part. */
export function handshakeBook(kept: readonly SeenHandshakes[] = []): SightingBook<SeenHandshakes> {
  return new SightingBook(
    {
      keyOf: handshakeKey,
      workloadOf: ({ to }) => to,
      sum: (a, b) => ({
        ...b,
        count: a.count + b.count,
        firstSeen: Math.min(a.firstSeen, b.firstSeen),
        lastSeen: Math.max(a.lastSeen, b.lastSeen),
      }),
      widened: (seen) => ({ ...seen, from: widenedCaller(seen.from) }),
      mostOfOne: 20_000,
      most: 200_000,
    },
    kept,
  );
}

function widenedCaller(from: Principal): Principal {
  return from.kind === 'workload' ? from : { kind: 'unauthenticated', from: 'unknown' };
}

/** Whether a group agrees the key with a post-quantum mechanism: the hybrids with ML-KEM (IANA "TLS Supported Groups"). */
export function isPostQuantum(group: string): boolean {
  return /MLKEM/i.test(group);
}

/** What a caller or a callee can do, by all pairs that it is one end of. */
export interface HandshakeEnd {
  readonly principal: string;
  readonly postQuantum: number;
  readonly classical: number;
  readonly unknown: number;
  /** The last call without a post-quantum key, and with one. */
  readonly lastClassical?: number;
  readonly lastPostQuantum?: number;
}

/** Coverage of the estate by the groups of its handshakes. */
export interface HandshakeCoverage {
  readonly groups: readonly {
    readonly group: string;
    readonly isPostQuantum: boolean;
    readonly calls: number;
    readonly pairs: number;
    readonly lastSeen: number;
  }[];
  readonly calls: number;
  readonly postQuantum: number;
  readonly unknown: number;
  readonly callers: readonly HandshakeEnd[];
  readonly callees: readonly HandshakeEnd[];
}

/** Adds up the handshakes seen since a time; each list begins with who has the most calls without a post-quantum key. */
export function handshakeCoverage(all: Iterable<SeenHandshakes>, since = 0): HandshakeCoverage {
  const groups = new Map<string, { calls: number; pairs: number; lastSeen: number }>();
  const callers = new Map<string, Sums>();
  const callees = new Map<SpiffeId, Sums>();
  const sums = { calls: 0, postQuantum: 0, unknown: 0 };
  for (const seen of all) {
    const { from, to, group, count, lastSeen } = seen;
    if (lastSeen < since) continue;
    const known = groups.get(group) ?? { calls: 0, pairs: 0, lastSeen: 0 };
    groups.set(group, {
      calls: known.calls + count,
      pairs: known.pairs + 1,
      lastSeen: Math.max(known.lastSeen, lastSeen),
    });
    sums.calls += count;
    if (isPostQuantum(group)) sums.postQuantum += count;
    else if (group === UNKNOWN_GROUP) sums.unknown += count;
    add(callers, principalText(from), seen);
    add(callees, to, seen);
  }
  return {
    groups: [...groups]
      .map(([group, rest]) => ({ group, isPostQuantum: isPostQuantum(group), ...rest }))
      .sort((a, b) => b.calls - a.calls),
    ...sums,
    callers: endsOf(callers),
    callees: endsOf(callees),
  };
}

type Sums = { -readonly [Key in keyof Omit<HandshakeEnd, 'principal'>]: HandshakeEnd[Key] };

function add<Key>(ends: Map<Key, Sums>, key: Key, { group, count, lastSeen }: SeenHandshakes): void {
  let sums = ends.get(key);
  if (sums === undefined) ends.set(key, (sums = { postQuantum: 0, classical: 0, unknown: 0 }));
  if (isPostQuantum(group)) {
    sums.postQuantum += count;
    sums.lastPostQuantum = Math.max(sums.lastPostQuantum ?? 0, lastSeen);
  } else if (group === UNKNOWN_GROUP) sums.unknown += count;
  else {
    sums.classical += count;
    sums.lastClassical = Math.max(sums.lastClassical ?? 0, lastSeen);
  }
}

function endsOf(ends: ReadonlyMap<string, Sums>): HandshakeEnd[] {
  return [...ends]
    .map(([principal, sums]) => ({ principal, ...sums }))
    .sort((a, b) => b.classical - a.classical || (a.principal < b.principal ? -1 : 1));
}
