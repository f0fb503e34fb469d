import type { SpiffeId } from '../../../access/index.ts';

/** Something that is added up by what it is: a flip, a plaintext caller. */
export interface Sighting {
  readonly firstSeen: number;
  readonly lastSeen: number;
}

export interface SightingBookOptions<T extends Sighting> {
  readonly keyOf: (sighting: T) => string;
  /** Whose part of the book it takes. */
  readonly workloadOf: (sighting: T) => SpiffeId;
  /** Both are of one key. */
  readonly sum: (a: T, b: T) => T;
  /** The same with less told apart, for a workload that has too many. */
  readonly widened: (sighting: T) => T;
  /** Different ones of one workload. From half of it on they are widened; past it, its oldest tenth goes. */
  readonly mostOfOne: number;
  /** In all; past it, the oldest go. */
  readonly most: number;
}

/** Sightings by key, in the order of the last one. Whoever invents many fills only the part of the workload that they are about. */
export class SightingBook<T extends Sighting> {
  readonly #options: SightingBookOptions<T>;
  readonly #all = new Map<string, T>();
  readonly #ofOne = new Map<SpiffeId, number>();

  /** `kept` is in the order of the last sighting. */
  constructor(options: SightingBookOptions<T>, kept: Iterable<T> = []) {
    this.#options = options;
    for (const sighting of kept) this.add(sighting);
  }

  get all(): Iterable<T> {
    return this.#all.values();
  }

  /** The sightings as they would be kept now, each key once: what is added to the store and then to this book. */
  gathered(sightings: Iterable<T>): T[] {
    const { keyOf, workloadOf, sum, widened, mostOfOne } = this.#options;
    const gathered = new Map<string, T>();
    const fresh = new Map<SpiffeId, number>();
    for (const sighting of sightings) {
      const to = workloadOf(sighting);
      let key = keyOf(sighting);
      let kept = sighting;
      const before = (this.#ofOne.get(to) ?? 0) + (fresh.get(to) ?? 0);
      if (before >= mostOfOne / 2 && !this.#all.has(key) && !gathered.has(key)) {
        kept = widened(sighting);
        key = keyOf(kept);
      }
      const known = gathered.get(key);
      if (known === undefined && !this.#all.has(key)) fresh.set(to, 1 + (fresh.get(to) ?? 0));
      gathered.set(key, known === undefined ? kept : sum(known, kept));
    }
    return [...gathered.values()];
  }

  /** Adds one; gives the keys of those that had to make room. */
  add(sighting: T): string[] {
    const { keyOf, workloadOf, sum, mostOfOne, most } = this.#options;
    const key = keyOf(sighting);
    const known = this.#all.get(key);
    // Taken out and put in again, so that the order is that of the last sighting.
    this.#all.delete(key);
    this.#all.set(key, known === undefined ? sighting : sum(known, sighting));
    if (known !== undefined) return [];
    const own = workloadOf(sighting);
    const ofOne = 1 + (this.#ofOne.get(own) ?? 0);
    this.#ofOne.set(own, ofOne);
    if (ofOne > mostOfOne) return this.#drop(Math.ceil(mostOfOne / 10), (each) => workloadOf(each) === own);
    return this.#all.size > most ? this.#drop(Math.ceil(most / 100), () => true) : [];
  }

  /** Forgets those of a workload that fit: all of them where nothing is said. */
  settle(to: SpiffeId, fits: (sighting: T) => boolean = () => true): void {
    const isOf = (each: T) => this.#options.workloadOf(each) === to && fits(each);
    if (this.#ofOne.has(to)) this.#drop(Number.POSITIVE_INFINITY, isOf);
  }

  #drop(count: number, fits: (sighting: T) => boolean): string[] {
    const dropped: string[] = [];
    for (const [key, sighting] of this.#all) {
      if (dropped.length >= count) break;
      if (!fits(sighting)) continue;
      dropped.push(key);
      this.#all.delete(key);
      const own = this.#options.workloadOf(sighting);
      const left = (this.#ofOne.get(own) ?? 1) - 1;
      if (left === 0) this.#ofOne.delete(own);
      else this.#ofOne.set(own, left);
    }
    return dropped;
  }
}
