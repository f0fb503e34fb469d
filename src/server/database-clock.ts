import type { SharedPlace } from './place.ts';
import type { Timers } from './timers.ts';

/** How often the database is asked for its time, and the difference from which on somebody has to look; milliseconds. */
const ASK_MS = 30_000;
const WARN_MS = 1000;

/**
 * One clock for all control planes of a database: its own, read every half minute and carried on by the monotonic clock
 * of this process. So a machine whose clock is wrong, or jumps, issues, ends and promotes like the others.
 */
export async function databaseClock(
  place: Pick<SharedPlace, 'now'>,
  timers: Timers,
  onWarning: (message: string) => void,
  monotonic: () => number = () => performance.now(),
): Promise<{ timers: Timers; stop: () => void }> {
  const ask = async () => {
    const { now, tookMs } = await place.now();
    // The answer is of some moment on the way: the middle is off by half of it at most.
    return now + tookMs / 2 - monotonic();
  };
  let ahead = await ask();
  const here = timers.now() - (ahead + monotonic());
  if (Math.abs(here) > WARN_MS)
    onWarning(`this machine's clock is ${said(here)} that of the database, which counts`);
  let cancel = () => {};
  let isStopped = false;
  const look = async () => {
    try {
      const next = await ask();
      const off = next - ahead;
      if (!isStopped && Math.abs(off) > WARN_MS)
        onWarning(`the database's clock has jumped: it is ${said(off)} what it was`);
      ahead = next;
    } catch {
      // While the database is away its time goes on here.
    }
    if (!isStopped) again();
  };
  const again = () => {
    cancel = timers.after(ASK_MS, () => void look());
  };
  again();
  return {
    timers: { ...timers, now: () => Math.round(ahead + monotonic()) },
    stop() {
      isStopped = true;
      cancel();
    },
  };
}

const said = (ms: number) => `${Math.round(Math.abs(ms) / 1000)} s ${ms > 0 ? 'ahead of' : 'behind'}`;
