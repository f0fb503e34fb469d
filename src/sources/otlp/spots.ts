import { actionKey, type BlindSpot, type Endpoint, endpointKey, type Tally } from '../../access/index.ts';

/** Distinct blind spots kept of one recording. Further ones share one operation and an unnamed other end. */
export const MAX_SPOTS = 20_000;
/** Longest operation text kept. */
const MAX_WHAT_LENGTH = 256;
const OTHERS = 'other operations';

/** One blind spot without its counts, as it was told: the form in which it can be taken back. */
export type Told = Omit<BlindSpot, 'count' | 'firstSeen' | 'lastSeen'>;

interface Sum {
  readonly spot: Told;
  count: number;
  first: number;
  last: number;
}

/**
 * Adds blind spots up until the end of the recording, and tells the tally in one fixed order: what the tally
 * holds must not depend on the order of the spans.
 */
export class Spots {
  readonly #tally: Tally;
  readonly #sums = new Map<string, Sum>();

  constructor(tally: Tally) {
    this.#tally = tally;
  }

  /** Adds one occurrence, or with `n` = -1 takes one back. Returns it as it was kept. */
  add(spot: Told, at: number, n = 1): Told {
    const clipped =
      spot.what.length > MAX_WHAT_LENGTH ? { ...spot, what: spot.what.slice(0, MAX_WHAT_LENGTH) } : spot;
    const full = n > 0 && this.#sums.size >= MAX_SPOTS && !this.#sums.has(keyOf(clipped));
    const kept = full ? generalOf(spot) : clipped;
    const key = keyOf(kept);
    const sum = this.#sums.get(key);
    if (sum === undefined) {
      this.#sums.set(key, { spot: kept, count: n, first: at, last: at });
      return kept;
    }
    sum.count += n;
    widen(sum, at);
    return sum.spot;
  }

  /** Adds one occurrence, however often it is called; widens its time. */
  once(spot: Told, at: number): void {
    const known = this.#sums.get(keyOf(spot));
    if (known === undefined) this.add(spot, at);
    else widen(known, at);
  }

  /** Writes everything to the tally, in the order of the texts. */
  flush(): void {
    for (const key of [...this.#sums.keys()].sort()) {
      const sum = this.#sums.get(key);
      if (sum === undefined || sum.count === 0) continue;
      this.#tally.blindSpot(sum.spot, sum.first, sum.count);
      this.#tally.blindSpot(sum.spot, sum.last, 0);
    }
    this.#sums.clear();
  }
}

function widen(sum: Sum, at: number): void {
  if (at < sum.first) sum.first = at;
  if (at > sum.last) sum.last = at;
}

/** What is kept of a blind spot when there are too many: which service it is about. */
function generalOf({ kind, from, to }: Told): Told {
  const unknown: Endpoint = { entity: 'unknown' };
  if (kind === 'client-only') return { kind, from, to: unknown, what: OTHERS };
  return kind === 'unknown-caller'
    ? { kind, from: unknown, to, what: OTHERS }
    : { kind, from, to, what: OTHERS };
}

function keyOf(spot: Told): string {
  const action = spot.action === undefined ? '' : actionKey(spot.action);
  return `${spot.kind}\n${endpointKey(spot.from)}\n${endpointKey(spot.to)}\n${spot.what}\n${action}`;
}
