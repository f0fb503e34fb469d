import type { Clock as Timers } from '../workload/index.ts';

export { type Clock as Timers, systemClock as realTimers } from '../workload/index.ts';

/** The promise's value, or `late()` thrown once `ms` milliseconds have passed. */
export function within<T>(promise: Promise<T>, ms: number, timers: Timers, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = timers.after(ms, () => reject(late()));
    promise.then(resolve, reject).finally(cancel);
  });
}
