/** Bounds of the wait between two attempts, in milliseconds. */
export const BACKOFF_MS = { first: 1_000, longest: 30_000 } as const;

/**
 * Waits between attempts: the first takes 1 to 2 s, each later one twice as long, up to 15 to 30 s. Drawn from the
 * range, so that the workloads of a node do not all come back at one moment.
 */
export class Backoff {
  readonly #random: () => number;
  readonly #longest: number;
  #ceiling: number = BACKOFF_MS.first * 2;

  /** `longest`: another bound, in milliseconds. */
  constructor(random: () => number, longest: number = BACKOFF_MS.longest) {
    this.#random = random;
    this.#longest = longest;
  }

  /** The next wait, in milliseconds. */
  next(): number {
    const ceiling = this.#ceiling;
    this.#ceiling = Math.min(ceiling * 2, this.#longest);
    return Math.round(ceiling / 2 + (this.#random() * ceiling) / 2);
  }

  /** Starts over: the other side answered. */
  reset(): void {
    this.#ceiling = BACKOFF_MS.first * 2;
  }
}
