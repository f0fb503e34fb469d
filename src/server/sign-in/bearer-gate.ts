import { hash } from 'node:crypto';
import { isInterlockError } from '../../access/index.ts';
import type { Caller } from '../../api/index.ts';
import { tooMany } from '../api/retry-after.ts';
import type { Timers } from '../timers.ts';
import { Attempts } from '../attempts.ts';
import type { BearerTokens } from './bearer.ts';

/** Tokens that may fail in one minute, from one address and from all, before the answer is to wait. */
export const MOST_FAILED = { each: 30, all: 1000, oneInMs: 100 } as const;
/** Tokens that were good and are known by their hash. */
const MAX_GOOD = 10_000;

export interface BearerGateOptions {
  readonly bearer: Pick<BearerTokens, 'callerOf'>;
  readonly timers: Timers;
}

/**
 * Keeps what wrong tokens cost within bounds: behind a limit of failures an unknown token is not looked at, except ten a second.
 * Tokens that were good go on being verified, in full and at once, whoever else fails from the same address: behind a reverse
 * proxy that is everybody's.
 */
export class BearerGate {
  readonly #options: BearerGateOptions;
  readonly #attempts: Attempts;
  /** SHA-256 of tokens, the least recently used first. */
  readonly #good = new Set<string>();

  constructor(options: BearerGateOptions) {
    this.#options = options;
    this.#attempts = new Attempts(options.timers, MOST_FAILED);
  }

  /** Who shows this token. Throws as `BearerTokens` does, and `limit` with the time to wait. */
  async callerOf(token: string, address: string): Promise<Caller> {
    const name = hash('sha256', token, 'base64');
    // It stays among them while it is verified: a program makes many calls at once.
    const isGood = this.#good.has(name);
    const seconds = isGood ? 0 : this.#attempts.waitToTry(address);
    if (seconds > 0) throw tooMany('authorization', 'too many tokens have failed', seconds);
    try {
      const caller = await this.#options.bearer.callerOf(token);
      this.#remember(name);
      return caller;
    } catch (error) {
      if (!isInterlockError(error) || error.code !== 'untrusted') throw error;
      this.#good.delete(name);
      const wait = this.#attempts.failed(address);
      if (wait === 0) throw error;
      throw tooMany('authorization', 'too many tokens have failed', wait);
    }
  }

  #remember(name: string): void {
    this.#good.delete(name);
    this.#good.add(name);
    if (this.#good.size <= MAX_GOOD) return;
    const [oldest] = this.#good;
    if (oldest !== undefined) this.#good.delete(oldest);
  }
}
