import {
  actionKey,
  emptyEvidence,
  endpointKey,
  mergeEvidence,
  type Recorded,
  type RecordedAccess,
  type Tally,
} from '../../access/index.ts';

/** Accesses that are held in memory. What comes after that many is known to the store alone, and counted. */
const MOST_ACCESSES = 500_000;

/**
 * The recorded accesses as the store holds them, in memory. Nothing that was given out is ever changed: an access that
 * calls are added to is replaced by another one.
 */
export class RecordedBook {
  readonly #rest: Omit<Recorded, 'accesses'>;
  readonly #accesses: Map<string, RecordedAccess>;
  readonly #pending: Tally[] = [];
  #events: number;
  #lost: number;
  /** Accesses that found no room. */
  leftOut = 0;

  constructor({ accesses, ...rest }: Recorded) {
    this.#rest = rest;
    this.#accesses = new Map(accesses.map((access) => [keyOf(access), access]));
    this.#events = rest.events;
    this.#lost = rest.lost;
  }

  /** Notes what was kept of live evidence: {@link settle} adds it. */
  add(tallies: readonly Tally[]): void {
    for (const tally of tallies) this.#pending.push(tally);
  }

  /** Adds what was noted, an access in a step. */
  *settle(): Generator<void, void> {
    for (let tally = this.#pending.shift(); tally !== undefined; tally = this.#pending.shift()) {
      this.#events += tally.accepted;
      for (const n of tally.lost.values()) this.#lost += n;
      for (const access of tally.accesses()) {
        this.#addAccess(access);
        yield;
      }
    }
  }

  /** What was added, at this moment. */
  recorded(): Recorded {
    return {
      ...this.#rest,
      accesses: [...this.#accesses.values()],
      events: this.#events,
      lost: this.#lost,
    };
  }

  #addAccess({ from, to, action, side, evidence }: RecordedAccess): void {
    const key = keyOf({ from, to, action, side });
    const before = this.#accesses.get(key);
    if (before === undefined && this.#accesses.size >= MOST_ACCESSES) {
      this.leftOut++;
      return;
    }
    const sum = emptyEvidence();
    if (before !== undefined) mergeEvidence(sum, before.evidence);
    mergeEvidence(sum, evidence);
    // The ends of the one that is known: equal ends stay one object.
    this.#accesses.set(key, { ...(before ?? { from, to, action, side }), evidence: sum });
  }
}

function keyOf({ from, to, action, side }: Omit<RecordedAccess, 'evidence'>): string {
  return `${endpointKey(from)}\n${endpointKey(to)}\n${side}\n${actionKey(action)}`;
}
