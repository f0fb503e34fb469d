import {
  actionKey,
  copyOfEvidence,
  endpointKey,
  type GrownRecord,
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
  readonly #rest: Pick<Recorded, 'trustDomain' | 'blindSpots' | 'facts'>;
  readonly #accesses: Map<string, RecordedAccess>;
  readonly #pending: Tally[] = [];
  /** What those that were added to have been, since {@link takeGrown} was asked. */
  #before = new Map<string, RecordedAccess | undefined>();
  #events: number;
  #lost: number;
  /** Accesses that found no room. */
  leftOut = 0;

  constructor({ accesses, trustDomain, blindSpots, facts, events, lost }: Recorded) {
    // What recordings cover is asked of the store: here it would stay as it was at the start.
    this.#rest = { trustDomain, blindSpots, facts };
    this.#accesses = new Map(accesses.map((access) => [keyOf(access), access]));
    this.#events = events;
    this.#lost = lost;
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

  /** What was added to since it was asked the last time. */
  takeGrown(): GrownRecord[] {
    const grown: GrownRecord[] = [];
    for (const [key, before] of this.#before) {
      const now = this.#accesses.get(key);
      if (now !== undefined) grown.push({ before, now });
    }
    this.#before = new Map();
    return grown;
  }

  /** Events that were taken in, and that were lost. */
  get totals(): Pick<Recorded, 'events' | 'lost'> {
    return { events: this.#events, lost: this.#lost };
  }

  /** Everything that was added, without what its recordings cover. */
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
    if (!this.#before.has(key)) this.#before.set(key, before);
    if (before === undefined) {
      this.#accesses.set(key, { from, to, action, side, evidence: copyOfEvidence(evidence) });
      return;
    }
    // The ends of the one that is known: equal ends stay one object.
    const sum = mergeEvidence(copyOfEvidence(before.evidence), evidence);
    this.#accesses.set(key, { ...before, evidence: sum });
  }
}

function keyOf({ from, to, action, side }: Omit<RecordedAccess, 'evidence'>): string {
  return `${endpointKey(from)}\n${endpointKey(to)}\n${side}\n${actionKey(action)}`;
}
