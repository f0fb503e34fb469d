import { setTimeout as delay } from 'node:timers/promises';
import { isInterlockError } from '../../../access/index.ts';
import type { Terminal } from '../../terminal.ts';
import type { FlipShown } from './shadow.ts';

/** How often it is asked, and how seldom at most while nobody answers. */
const FOLLOW_MS = 500;
const LONGEST_WAIT_MS = 5000;

/**
 * Gives flips to `tell` for ever, each with the count that is new. A control plane that is away is said on standard error
 * and asked again, ever less often; what it refuses is thrown.
 */
export async function followFlips(
  first: readonly FlipShown[],
  ask: (since: number) => Promise<readonly FlipShown[]>,
  terminal: Terminal,
  tell: (flip: FlipShown) => void,
): Promise<never> {
  const told = new Map<string, number>();
  let latest = 0;
  for (let next = first; ; ) {
    for (const flip of next.toSorted((a, b) => a.lastSeen - b.lastSeen)) {
      const { from, to, action, before, after, refused, count } = flip;
      const key = JSON.stringify([from, to, action, before, after, refused]);
      const known = told.get(key) ?? 0;
      if (known === count) continue;
      told.set(key, count);
      // Fewer than before: they were forgotten with a former target, and counted anew.
      tell({ ...flip, count: count > known ? count - known : count });
    }
    latest = next.reduce((max, { lastSeen }) => Math.max(max, lastSeen), latest);
    next = await answered(() => ask(Math.max(0, latest - 1000)), terminal);
  }
}

/** The answer, however long nobody gives one. */
async function answered<T>(ask: () => Promise<T>, terminal: Terminal): Promise<T> {
  for (let wait = FOLLOW_MS; ; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
    await delay(wait);
    try {
      const answer = await ask();
      if (wait > FOLLOW_MS) terminal.aside().line('The control plane answers again.');
      return answer;
    } catch (error) {
      if (!isInterlockError(error) || error.code !== 'unavailable') throw error;
      if (wait === FOLLOW_MS)
        terminal.aside().line('The control plane does not answer: going on as soon as it does.');
    }
  }
}
