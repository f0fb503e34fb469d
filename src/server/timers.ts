/** The clock, delays and chance of the control plane: the real ones, or a test's. */
export interface Timers {
  /** Milliseconds since 1970 UTC. */
  now(): number;
  /** Calls `run` once after `ms` milliseconds, unless the function that it gives back was called. */
  after(ms: number, run: () => void): () => void;
  /** From 0 up to 1, without 1. */
  random(): number;
}

/** The longest delay that Node takes: 2^31 - 1 milliseconds. */
const LONGEST_MS = 0x7fff_ffff;

export const realTimers: Timers = {
  now: Date.now,
  after(ms, run) {
    const timer = setTimeout(run, Math.min(Math.max(0, ms), LONGEST_MS));
    timer.unref();
    return () => clearTimeout(timer);
  },
  random: Math.random,
};

/** The promise's value, or `late()` thrown once `ms` milliseconds have passed. */
export function within<T>(promise: Promise<T>, ms: number, timers: Timers, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = timers.after(ms, () => reject(late()));
    promise.then(resolve, reject).finally(cancel);
  });
}
