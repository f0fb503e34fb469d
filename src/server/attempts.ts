import { networkOf } from './peer-address.ts';
import type { Timers } from './timers.ts';

/** What one address, and all of them together, may do in one minute. */
export interface AttemptLimits {
  readonly each: number;
  readonly all: number;
  /** Behind the limit one is let through all the same, so often: milliseconds. Never where absent. */
  readonly oneInMs?: number;
}

const WINDOW_MS = 60_000;
/** Addresses that are told apart. */
const MAX_ADDRESSES = 10_000;

/**
 * Counts what fails, such as sign-ins, by who tries it: mostly an address. Who guesses is slowed down; secrets have 256 bits, so
 * one who has the right one is let in all the same: nobody keeps others out by guessing from their address.
 */
export class Attempts {
  readonly #timers: Timers;
  readonly #most: AttemptLimits;
  #start = 0;
  #all = 0;
  #triedAt = Number.NEGATIVE_INFINITY;
  readonly #each = new Map<string, number>();

  constructor(timers: Timers, most: AttemptLimits) {
    this.#timers = timers;
    this.#most = most;
  }

  /** One more failed. Gives the seconds to wait, 0 where there were few. */
  failed(address: string): number {
    this.#turn();
    const key = networkOf(address);
    const own = (this.#each.get(key) ?? 0) + 1;
    if (this.#each.size < MAX_ADDRESSES || this.#each.has(key)) this.#each.set(key, own);
    this.#all++;
    return this.#seconds(own);
  }

  /** One that was counted as failed before it was tried was good: it does not count. */
  good(address: string): void {
    this.#turn();
    const key = networkOf(address);
    const own = this.#each.get(key);
    if (own !== undefined && own > 0) this.#each.set(key, own - 1);
    this.#all = Math.max(0, this.#all - 1);
  }

  /** The seconds that an address has to wait before it may fail once more, 0 where it need not. */
  wait(address: string): number {
    this.#turn();
    return this.#seconds((this.#each.get(networkOf(address)) ?? 0) + 1);
  }

  /** As {@link wait}, for what is not even tried behind the limit, but now and then: nobody is kept out for good. */
  waitToTry(address: string): number {
    const seconds = this.wait(address);
    const { oneInMs = Number.POSITIVE_INFINITY } = this.#most;
    if (seconds === 0) return 0;
    const now = this.#timers.now();
    // A clock that was put back does not shut the door.
    if (oneInMs === Number.POSITIVE_INFINITY || (now >= this.#triedAt && now < this.#triedAt + oneInMs))
      return seconds;
    this.#triedAt = now;
    return 0;
  }

  #seconds(own: number): number {
    if (own <= this.#most.each && this.#all <= this.#most.all) return 0;
    return Math.max(1, Math.ceil((this.#start + WINDOW_MS - this.#timers.now()) / 1000));
  }

  #turn(): void {
    const now = this.#timers.now();
    // A clock that was put back starts a new window too.
    if (now < this.#start + WINDOW_MS && now >= this.#start) return;
    this.#start = now;
    this.#all = 0;
    this.#each.clear();
  }
}
