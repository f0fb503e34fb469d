import { isIPv6 } from 'node:net';
import type { Timers } from '../timers.ts';

/** Failures in one minute from one address, and from all, before the answer is to wait. */
const MOST = { each: 10, all: 200 } as const;
const WINDOW_MS = 60_000;
/** Addresses that are told apart. */
const MAX_ADDRESSES = 10_000;

/**
 * Counts sign-ins that failed. Who guesses is slowed down; secrets have 256 bits, so one who has the right one is let in
 * all the same: nobody keeps others out by guessing from their address.
 */
export class Attempts {
  readonly #timers: Timers;
  readonly #most: { readonly each: number; readonly all: number };
  #start = 0;
  #all = 0;
  readonly #each = new Map<string, number>();

  constructor(timers: Timers, most: { readonly each: number; readonly all: number } = MOST) {
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

  /** The seconds that an address has to wait before it may fail once more, 0 where it need not. */
  wait(address: string): number {
    this.#turn();
    return this.#seconds((this.#each.get(networkOf(address)) ?? 0) + 1);
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

/** A machine has a whole /64 of IPv6 addresses. */
export function networkOf(address: string): string {
  if (!isIPv6(address) || address.includes('.')) return address;
  const [head = '', tail] = address.split('::');
  const first = head === '' ? [] : head.split(':');
  const last = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - first.length - last.length;
  const groups = [...first, ...Array.from({ length: Math.max(0, zeros) }, () => '0'), ...last];
  return groups.slice(0, 4).join(':');
}
