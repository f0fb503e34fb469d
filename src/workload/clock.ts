/** Time and randomness as the parts that wait take them, so that tests bring their own. */
export interface Clock {
  /** Milliseconds since 1970 UTC. */
  now(): number;
  /** A number in [0, 1). */
  random(): number;
  /** Calls `run` once after `ms`; the function it gives back calls that off. */
  after(ms: number, run: () => void): () => void;
}

/** Longest time that one timer of Node takes, 2^31 - 1 ms: a longer wait is made of several. */
const LONGEST_MS = 2 ** 31 - 1;

/** The machine's clock. Its timers keep no process alive. */
export const systemClock: Clock = {
  now: () => Date.now(),
  random: () => Math.random(),
  after(ms, run) {
    let timer: NodeJS.Timeout;
    const wait = (left: number) => {
      const part = Math.min(left, LONGEST_MS);
      timer = setTimeout(() => (left > part ? wait(left - part) : run()), part).unref();
    };
    wait(Math.max(0, ms));
    return () => clearTimeout(timer);
  },
};
