import type { Timers } from '../timers.ts';
import type { ApiLog } from './callers.ts';

/** Lines of one message at once, and how fast there is room for more: no caller can fill the log by being refused. */
const BURST = 30;
const PER_SECOND = 1;
/** Messages that are told apart. */
const MAX_MESSAGES = 500;

interface Allowance {
  left: number;
  at: number;
  leftOut: number;
}

/** A log that writes so many lines of one message and counts the rest: the next line says how many were left out. */
export function limitedLog(log: ApiLog, timers: Pick<Timers, 'now'>): ApiLog {
  const allowances = new Map<string, Allowance>();
  const limited =
    (write: ApiLog['info']): ApiLog['info'] =>
    (fields, message) => {
      const now = timers.now();
      let allowance = allowances.get(message);
      if (allowance === undefined) {
        // Messages are ours and few; those with a caller's words in them share one allowance when they are many.
        const key = allowances.size < MAX_MESSAGES ? message : '';
        allowance = allowances.get(key) ?? { left: BURST, at: now, leftOut: 0 };
        allowances.set(key, allowance);
      }
      allowance.left = Math.min(BURST, allowance.left + ((now - allowance.at) / 1000) * PER_SECOND);
      allowance.at = now;
      if (allowance.left < 1) {
        allowance.leftOut++;
        return;
      }
      allowance.left--;
      const { leftOut } = allowance;
      allowance.leftOut = 0;
      write(leftOut === 0 ? fields : { ...fields, leftOut }, message);
    };
  return {
    info: limited((fields, message) => log.info(fields, message)),
    warn: limited((fields, message) => log.warn(fields, message)),
  };
}
