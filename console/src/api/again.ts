import type { RouteName } from '../../../src/api/index.ts';

/** Soonest that what is shown is read again after the last time, milliseconds; and in times of what reading took. */
const LEAST_MS = 1000;
const REST_FACTOR = 2;

export interface AgainOptions {
  /** Reads again, where anything shows it; done when the answer is there. */
  readonly read: (name: RouteName) => Promise<unknown>;
  readonly now: () => number;
  readonly after: (ms: number, run: () => void) => void;
}

interface Reading {
  startedAt: number;
  tookMs: number;
  isDue: boolean;
}

/**
 * Reads again what events make old: at once after a quiet time, else as soon as it may, and once for all that came
 * meanwhile. An estate under load tells of a change every second, and what is long takes its time to read and to draw.
 */
export class Again {
  readonly #options: AgainOptions;
  readonly #readings = new Map<RouteName, Reading>();

  constructor(options: AgainOptions) {
    this.#options = options;
  }

  /** What this route answers has changed. */
  isOld(name: RouteName): void {
    const { now, after } = this.#options;
    let of = this.#readings.get(name);
    if (of === undefined) {
      of = { startedAt: Number.NEGATIVE_INFINITY, tookMs: 0, isDue: false };
      this.#readings.set(name, of);
    }
    if (of.isDue) return;
    const wait = of.startedAt + Math.max(LEAST_MS, of.tookMs * REST_FACTOR) - now();
    const reading = of;
    if (wait <= 0) return void this.#read(name, reading);
    reading.isDue = true;
    after(wait, () => void this.#read(name, reading));
  }

  async #read(name: RouteName, of: Reading): Promise<void> {
    of.isDue = false;
    of.startedAt = this.#options.now();
    try {
      await this.#options.read(name);
    } catch {
      // What cannot be read says so where it is shown.
    }
    of.tookMs = this.#options.now() - of.startedAt;
  }
}
