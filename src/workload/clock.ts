/** Time and randomness as the parts of this room take them, so that tests bring their own. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** A number in [0, 1). */
  random(): number;
  /** Calls `run` once after `ms`; the function it gives back calls that off. */
  after(ms: number, run: () => void): () => void;
}

/** Longest time that one timer of Node takes: 2^31 - 1 ms. */
const MAX_TIMER_MS = 2_147_483_647;

/** The machine's clock. Its timers keep no process alive. */
export const systemClock: Clock = {
  now: () => Date.now(),
  random: () => Math.random(),
  after(ms, run) {
    const timer = setTimeout(run, Math.min(Math.max(ms, 0), MAX_TIMER_MS)).unref();
    return () => clearTimeout(timer);
  },
};
