/** Different pairs that are kept; what has no room any more is only counted. */
const MAX_PAIRS = 1000;

/** Connections of this node that went on in plain text because no route knows where they go. */
export interface UnmanagedCalls {
  /** A workload, or `user N` for a process that is none. */
  readonly from: string;
  /** Where it meant to go: ADDRESS:PORT. */
  readonly to: string;
  readonly count: number;
  readonly firstSeen: number;
  readonly lastSeen: number;
}

/** What passes a node proxy without a route: who calls whom, and how often. */
export class Unmanaged {
  readonly #pairs = new Map<string, { -readonly [K in keyof UnmanagedCalls]: UnmanagedCalls[K] }>();
  #total = 0;

  /** All of them since the proxy started, listed or not. */
  get total(): number {
    return this.#total;
  }

  get calls(): readonly UnmanagedCalls[] {
    return [...this.#pairs.values()];
  }

  /** Gives whether this pair is a new one. */
  record(from: string, to: string, at: number): boolean {
    this.#total++;
    const key = `${from} ${to}`;
    const pair = this.#pairs.get(key);
    if (pair !== undefined) {
      pair.count++;
      pair.lastSeen = at;
      return false;
    }
    if (this.#pairs.size >= MAX_PAIRS) return false;
    this.#pairs.set(key, { from, to, count: 1, firstSeen: at, lastSeen: at });
    return true;
  }
}
