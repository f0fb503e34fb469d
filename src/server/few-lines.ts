import type { Timers } from './timers.ts';

const WINDOW_MS = 60_000;
/** Lines in one minute. */
export const MOST_LINES = 60;

/** What a line says beside what it is about; nothing as a rule. */
export interface LeftOut {
  /** With the last line of a minute. */
  readonly note?: string;
  /** How many lines were left out before this one. */
  readonly leftOut?: number;
}

/**
 * Keeps what strangers can cause at will from filling the log: the first lines of each minute are told, the last of them says
 * that no more are, and the next one how many were left out.
 */
export function fewLines<Parts extends readonly unknown[]>(
  timers: Pick<Timers, 'now'>,
  tell: (more: LeftOut, ...parts: Parts) => void,
): (...parts: Parts) => void {
  let start = Number.NEGATIVE_INFINITY;
  let told = 0;
  let leftOut = 0;
  return (...parts) => {
    const now = timers.now();
    // A clock that was put back begins a new minute too.
    if (now >= start + WINDOW_MS || now < start) [start, told] = [now, 0];
    if (told >= MOST_LINES) {
      leftOut++;
      return;
    }
    told++;
    const note = told === MOST_LINES ? { note: 'more of these are counted for a minute, and not told' } : {};
    tell({ ...note, ...(leftOut === 0 ? {} : { leftOut }) }, ...parts);
    leftOut = 0;
  };
}
