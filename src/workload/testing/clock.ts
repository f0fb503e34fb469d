/** The clock of a test: time passes when the test says so. */
export class TestClock {
  #now: number;
  readonly #timers = new Set<{ at: number; run: () => void }>();

  constructor(now: number = Date.now()) {
    this.#now = now;
  }

  now = (): number => this.#now;
  random = (): number => 0.5;

  after = (ms: number, run: () => void): (() => void) => {
    const timer = { at: this.#now + ms, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  };

  /** When the next timer fires, in milliseconds from now. */
  get next(): number | undefined {
    const times = [...this.#timers].map(({ at }) => at - this.#now);
    return times.length === 0 ? undefined : Math.min(...times);
  }

  /** Lets `ms` pass, and runs what falls due, in order. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter(({ at }) => at <= end).toSorted((a, b) => a.at - b.at);
      const [timer] = due;
      if (timer === undefined) break;
      this.#timers.delete(timer);
      this.#now = Math.max(this.#now, timer.at);
      timer.run();
    }
    this.#now = end;
  }
}
