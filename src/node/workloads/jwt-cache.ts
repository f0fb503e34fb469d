import type { GivenIdentity, WorkloadAttributes } from '../../identity/index.ts';
import { svidKey } from '../svids/svid.ts';
import type { Timers } from '../timers.ts';

/** A JWT-SVID as the agent serves it. Times in milliseconds since 1970. */
export interface HeldJwt {
  readonly token: string;
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** Gets a JWT-SVID signed; rejects as {@link SignSvid} does. */
export type SignJwt = (
  identity: GivenIdentity,
  attributes: WorkloadAttributes,
  audience: readonly string[],
) => Promise<HeldJwt>;

/** Tokens are kept for reuse up to so many; the oldest go first. */
const MAX_TOKENS = 10_000;

/** JWT-SVIDs by identity and audience: given again for half of their life, and to its end while none can be signed. */
export class JwtCache {
  readonly #timers: Timers;
  readonly #sign: SignJwt;
  readonly #tokens = new Map<string, HeldJwt>();
  readonly #signing = new Map<string, Promise<HeldJwt>>();

  constructor(timers: Timers, sign: SignJwt) {
    this.#timers = timers;
    this.#sign = sign;
  }

  /** A token for the audience. Rejects where none is kept and none can be signed. */
  async get(
    identity: GivenIdentity,
    attributes: WorkloadAttributes,
    audience: readonly string[],
  ): Promise<HeldJwt> {
    const key = JSON.stringify([svidKey(identity), audience.toSorted()]);
    const now = this.#timers.now();
    const kept = this.#tokens.get(key);
    if (kept !== undefined && now < (kept.issuedAt + kept.expiresAt) / 2) return kept;
    try {
      return await this.#renew(key, identity, attributes, audience);
    } catch (error) {
      if (kept !== undefined && this.#timers.now() < kept.expiresAt) return kept;
      throw error;
    }
  }

  /** Forgets all tokens: rules, keys or revocations have changed. */
  clear(): void {
    this.#tokens.clear();
  }

  #renew(
    key: string,
    identity: GivenIdentity,
    attributes: WorkloadAttributes,
    audience: readonly string[],
  ): Promise<HeldJwt> {
    const running = this.#signing.get(key);
    if (running !== undefined) return running;
    const signing = this.#sign(identity, attributes, audience)
      .then((token) => {
        this.#tokens.delete(key);
        this.#tokens.set(key, token);
        const [oldest] = this.#tokens.keys();
        if (this.#tokens.size > MAX_TOKENS && oldest !== undefined) this.#tokens.delete(oldest);
        return token;
      })
      .finally(() => this.#signing.delete(key));
    this.#signing.set(key, signing);
    return signing;
  }
}
