import type { Timers } from './timers.ts';

/** How much later than it was to be a look may come: a busy machine is no clock that was set. Milliseconds. */
const LATE_MS = 60_000;

/**
 * Tells since when the clock goes on as time does. Told at every look, which come about `every` milliseconds apart: one that
 * comes at another time of the clock means that the clock was set, or the machine slept, and nothing was seen meanwhile.
 */
export class SteadyClock {
  readonly #timers: Pick<Timers, 'now'>;
  readonly #every: number;
  #last: number;
  #since: number;

  constructor(timers: Pick<Timers, 'now'>, every: number) {
    this.#timers = timers;
    this.#every = every;
    this.#last = timers.now();
    this.#since = this.#last;
  }

  /** Milliseconds since 1970 UTC, by the clock of now: since this was made, or since the clock was set last. */
  get since(): number {
    return this.#since;
  }

  /** To be called at every look; true where the clock was set since the last one. */
  look(): boolean {
    const now = this.#timers.now();
    const elapsed = now - this.#last;
    this.#last = now;
    const wasSet = elapsed < 0 || elapsed > this.#every + LATE_MS;
    if (wasSet) this.#since = now;
    return wasSet;
  }
}
