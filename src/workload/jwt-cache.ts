import type { JwtSvid } from './jwt-svid.ts';

/** Most tokens that are kept: audiences come from the program's own code, but may be made from its callers' words. */
const MAX_TOKENS = 1_000;

/** Tokens by what was asked for. The one unused for longest gives way. */
export class JwtCache {
  readonly #held = new Map<string, JwtSvid>();

  /** The token kept for this question, if it has not expired. */
  get(key: string, now: number): JwtSvid | undefined {
    const held = this.#held.get(key);
    if (held === undefined) return undefined;
    this.#held.delete(key);
    if (held.expiresAt <= now) return undefined;
    // A Map keeps the order of insertion: what is used moves to its end.
    this.#held.set(key, held);
    return held;
  }

  set(key: string, svid: JwtSvid): void {
    this.#held.delete(key);
    this.#held.set(key, svid);
    const [oldest] = this.#held.keys();
    if (this.#held.size > MAX_TOKENS && oldest !== undefined) this.#held.delete(oldest);
  }

  get size(): number {
    return this.#held.size;
  }
}
