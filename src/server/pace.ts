import type { Timers } from './timers.ts';

export interface PaceOptions {
  readonly timers: Pick<Timers, 'now'>;
  /** How many may come at once, after a time without any. */
  readonly burst: number;
  /** How often they may come in the long run, milliseconds. */
  readonly everyMs: number;
  /** Shortest time between two of them, milliseconds. */
  readonly apartMs?: number;
}

/** When one who may do something only so often may do it next: the generic cell rate algorithm of ATM Forum TM 4.0. */
export class Pace {
  readonly #options: PaceOptions;
  #last = Number.NEGATIVE_INFINITY;
  #expected = Number.NEGATIVE_INFINITY;

  constructor(options: PaceOptions) {
    this.#options = options;
  }

  /** Milliseconds until the next one may be done, which takes its place; undefined, and nothing taken, beyond `most`. */
  take(most = Number.POSITIVE_INFINITY): number | undefined {
    const { timers, burst, everyMs, apartMs = 0 } = this.#options;
    const now = timers.now();
    const at = Math.max(now, this.#last + apartMs, this.#expected - (burst - 1) * everyMs);
    if (at - now > most) return undefined;
    this.#last = at;
    this.#expected = Math.max(this.#expected, at) + everyMs;
    return at - now;
  }
}
