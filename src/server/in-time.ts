import { InterlockError } from '../access/index.ts';
import { type Timers, within } from './timers.ts';

/** How long a caller waits for the database before it is told to come back, milliseconds. */
export const STORE_WAIT_MS = 5000;

/**
 * Has a step take its turn behind others, and waits for it with a limit. A caller who was sent away before the step's turn
 * came has it not made behind his back; one that has begun goes on to its end, since what is stored must be in force. Throws
 * `unavailable`, which says which of the two it was.
 */
export function inTime<T>(
  take: (step: () => Promise<T>) => Promise<T>,
  step: () => Promise<T>,
  timers: Timers,
): Promise<T> {
  let isBegun = false;
  let isTooLate = false;
  const late = () => {
    isTooLate = !isBegun;
    return storeIsLate(isBegun ? 'begun' : 'not begun');
  };
  const done = take(() => {
    if (isTooLate) return Promise.reject(storeIsLate('not begun'));
    isBegun = true;
    return step();
  });
  return within(done, STORE_WAIT_MS, timers, late);
}

const OUTCOMES = {
  begun: 'whether the change is made is not known yet: look before you repeat it',
  'not begun': 'nothing was changed: try again later',
  asked: 'try again later',
} as const;

/** The database does not answer: to a change that has begun or not, or to somebody who only asked. */
export function storeIsLate(what: keyof typeof OUTCOMES): InterlockError {
  return new InterlockError(
    'unavailable',
    'database',
    `the database did not answer within ${STORE_WAIT_MS / 1000} s; ${OUTCOMES[what]}. If it goes on, look at the database, or the disk of the control plane`,
  );
}
