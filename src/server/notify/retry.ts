import type { Timers } from '../timers.ts';
import { hostOf } from './address.ts';
import type { Message } from './message.ts';
import type { Posted } from './post.ts';

/** The waits between attempts: 5 s, four times as long each time, a day at most; milliseconds. */
const FIRST_MS = 5000;
const FACTOR = 4;
const LONGEST_MS = 86_400_000;
/** After this time a message is given up. */
const GIVE_UP_MS = 7 * 86_400_000;
/** A channel sends so many messages at once, and then one in so many milliseconds. */
const BURST = 20;
const ONE_IN_MS = 3000;

/** Why an attempt came to nothing. */
export interface Failure {
  /** In words, without anything that a receiver has said. */
  readonly fault: string;
  /** The receiver is away or has too much to do: nothing else is sent to it for a while. */
  readonly isAway: boolean;
  /** It wants nothing more, ever (410, as Standard Webhooks has it). */
  readonly isGone?: true;
  readonly pauseMs?: number;
}

/** What an answer means; undefined for one that took the message. */
export function failureOf({ status, pauseMs }: Posted, url: URL): Failure | undefined {
  if (status >= 200 && status < 300) return undefined;
  const isRedirect = status >= 300 && status < 400;
  const fault = `${hostOf(url)} answered ${status}${isRedirect ? ': redirects are not followed' : ''}`;
  const isAway = status >= 500 || status === 408 || status === 425 || status === 429;
  return {
    fault,
    isAway,
    ...(status === 410 ? { isGone: true } : {}),
    ...(pauseMs === undefined ? {} : { pauseMs }),
  };
}

/** How long to wait after so many attempts, milliseconds: between four and six fifths of it, by chance (0 to 1). */
export function retryMs(attempts: number, chance: number): number {
  const wait = Math.min(FIRST_MS * FACTOR ** Math.min(attempts - 1, 20), LONGEST_MS);
  return Math.min(LONGEST_MS, Math.round(wait * (0.8 + 0.4 * chance)));
}

/** When a message has been tried for long enough. */
export function giveUpAt({ at }: Pick<Message, 'at'>): number {
  return at + GIVE_UP_MS;
}

/** Keeps one channel from being flooded. */
export class Tokens {
  readonly #timers: Pick<Timers, 'now'>;
  #left = BURST;
  #at: number;

  constructor(timers: Pick<Timers, 'now'>) {
    this.#timers = timers;
    this.#at = timers.now();
  }

  /** When the next message may be sent. */
  readyAt(): number {
    this.#fill();
    return this.#left > 0 ? 0 : this.#at + ONE_IN_MS;
  }

  take(): void {
    this.#fill();
    this.#left = Math.max(0, this.#left - 1);
  }

  #fill(): void {
    const now = this.#timers.now();
    // A clock that was put back gives nothing, and begins anew.
    if (now < this.#at) this.#at = now;
    const more = Math.floor((now - this.#at) / ONE_IN_MS);
    if (more === 0) return;
    this.#left = Math.min(BURST, this.#left + more);
    this.#at += more * ONE_IN_MS;
  }
}
