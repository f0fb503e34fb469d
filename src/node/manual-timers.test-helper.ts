import type { Timers } from './timers.ts';

/** Time that stands until a test moves it. */
export class ManualTimers implements Timers {
  #now: number;
  readonly #waiting = new Set<{ at: number; call: () => void }>();
  /** What `random` gives. */
  chance = 0.5;

  constructor(now = Date.UTC(2026, 10, 21)) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  random(): number {
    return this.chance;
  }

  after(ms: number, call: () => void): () => void {
    const timer = { at: this.#now + Math.max(0, ms), call };
    this.#waiting.add(timer);
    return () => void this.#waiting.delete(timer);
  }

  /** Moves the time, and calls what was waiting for it, in order; lets promises settle after each call. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      const [next] = [...this.#waiting].filter(({ at }) => at <= end).toSorted((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.#waiting.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.call();
      await settle();
    }
    this.#now = end;
    await settle();
  }

  get waiting(): number {
    return this.#waiting.size;
  }
}

/** Lets everything that is ready to run, run. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
