import type { JwtSvid } from './jwt-svid.ts';

/** Most tokens that are kept: audiences come from the program's own code, but may be made from its callers' words. */
const MAX_TOKENS = 1_000;

/** A token that is kept. */
export interface HeldToken {
  readonly svid: JwtSvid;
  /** Until when it is given out without asking for a newer one; milliseconds since 1970. */
  readonly freshUntil: number;
}

/** Tokens by what was asked for. The one unused for longest gives way. */
export class JwtCache {
  readonly #held = new Map<string, HeldToken>();

  /** The token kept for this question, if it has not expired. */
  get(key: string, now: number): HeldToken | undefined {
    const held = this.#held.get(key);
    if (held === undefined) return undefined;
    this.#held.delete(key);
    if (held.svid.expiresAt <= now) return undefined;
    // A Map keeps the order of insertion: what is used moves to its end.
    this.#held.set(key, held);
    return held;
  }

  /** No token is fresh any more. */
  age(): void {
    for (const [key, { svid }] of this.#held) this.#held.set(key, { svid, freshUntil: 0 });
  }

  /** Drops the tokens that this is true of. */
  drop(isGone: (svid: JwtSvid) => boolean): void {
    for (const [key, { svid }] of this.#held) if (isGone(svid)) this.#held.delete(key);
  }

  set(key: string, token: HeldToken): void {
    this.#held.delete(key);
    this.#held.set(key, token);
    const [oldest] = this.#held.keys();
    if (this.#held.size > MAX_TOKENS && oldest !== undefined) this.#held.delete(oldest);
  }

  get size(): number {
    return this.#held.size;
  }
}
