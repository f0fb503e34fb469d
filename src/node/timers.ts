/** Time as the agent sees it: passed in, so that tests move it by hand. */
export interface Timers {
  /** Milliseconds since 1970 UTC. */
  now(): number;
  /** Calls once after so many milliseconds; the result calls it off. */
  after(ms: number, call: () => void): () => void;
  /** From 0 up to, but not, 1. */
  random(): number;
}

/** setTimeout fires at once beyond this; a longer wait is made of several. */
const LONGEST_MS = 2 ** 31 - 1;

/** The machine's own time. Waiting keeps no process alive. */
export const systemTimers: Timers = {
  now: Date.now,
  random: Math.random,
  after(ms, call) {
    let timer: NodeJS.Timeout;
    const wait = (left: number) => {
      const part = Math.min(left, LONGEST_MS);
      timer = setTimeout(() => (left > part ? wait(left - part) : call()), Math.max(0, part));
      timer.unref();
    };
    wait(ms);
    return () => clearTimeout(timer);
  },
};

/** `ms`, give or take up to a tenth: what many agents do at one time is spread. */
export function jittered(ms: number, timers: Timers): number {
  return ms * (0.9 + 0.2 * timers.random());
}
