import { createHash } from 'node:crypto';
import { InterlockError, type SpiffeId } from '../../access/index.ts';
import type { GivenIdentity, WorkloadAttributes } from '../../identity/index.ts';
import { isPassing } from '../link/link.ts';
import { svidKey } from '../svids/svid.ts';
import type { Timers } from '../timers.ts';

/** A JWT-SVID as the agent serves it. Times in milliseconds since 1970. */
export interface HeldJwt {
  readonly spiffeId: SpiffeId;
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

/** Characters of tokens that are kept for one identity, and for all: audiences are the callers' choice. */
export const MAX_KEPT_EACH = 1024 * 1024;
const MAX_KEPT = 32 * 1024 * 1024;
/** Tokens of one identity that are signed at a time, so that one workload leaves the link to the others. */
const MAX_SIGNING_EACH = 8;
/** Requests of one identity that wait to be signed; one more is refused. */
export const MAX_WAITING_EACH = 256;

/** How long a stale token's successor is waited for, tried in steps; and how long nobody is waited for after that. */
const PATIENCE_MS = 4000;
const RETRY_MS = 500;
const AWAY_MS = 30_000;

/** The tokens of one identity. */
interface Lane {
  /** By the hash of the audience; the oldest first. */
  readonly tokens: Map<string, HeldJwt>;
  /** Of those, the ones to be signed anew before they are given again. */
  readonly stale: Set<string>;
  readonly signing: Map<string, Promise<HeldJwt>>;
  readonly waiting: (() => void)[];
  size: number;
  running: number;
  /** When a successor was last waited for in vain. */
  away?: number;
}

/** JWT-SVIDs by identity and audience: given again for half of their life, and to its end while none can be signed. */
export class JwtCache {
  readonly #timers: Timers;
  readonly #sign: SignJwt;
  readonly #lanes = new Map<string, Lane>();
  #size = 0;

  constructor(timers: Timers, sign: SignJwt) {
    this.#timers = timers;
    this.#sign = sign;
  }

  /** A token for the audience. Rejects where none is kept and none can be signed; `limit` where too many wait. */
  async get(
    identity: GivenIdentity,
    attributes: WorkloadAttributes,
    audience: readonly string[],
  ): Promise<HeldJwt> {
    const name = svidKey(identity);
    const lane = this.#laneOf(name);
    const key = createHash('sha256').update(JSON.stringify(audience.toSorted())).digest('base64');
    const now = this.#timers.now();
    const kept = lane.tokens.get(key);
    const isStale = lane.stale.has(key);
    if (kept !== undefined && !isStale && now < (kept.issuedAt + kept.expiresAt) / 2) return kept;
    try {
      let signing = lane.signing.get(key);
      if (signing === undefined) {
        const sign = () => this.#sign(identity, attributes, audience);
        signing = this.#renew(
          name,
          lane,
          key,
          kept !== undefined && isStale ? () => this.#patiently(lane, sign) : sign,
        );
        lane.signing.set(key, signing);
      }
      return await signing;
    } catch (error) {
      const isOfUse = kept !== undefined && this.#timers.now() < kept.expiresAt;
      // A stale one only while nobody can say whether there may be another.
      if (isOfUse && (!isStale || isPassing(error))) return kept;
      // Not of a lane that was given up meanwhile: its tokens are no longer counted.
      if (isStale && this.#lanes.get(name) === lane) this.#remove(lane, key);
      throw error;
    }
  }

  /**
   * What makes tokens stale often ends the agent's own connection as well, for a moment: a caller who got the old token
   * then would keep it for half of its life. Waits once, and not again while nobody answers.
   */
  async #patiently(lane: Lane, sign: () => Promise<HeldJwt>): Promise<HeldJwt> {
    for (let waited = 0; ; waited += RETRY_MS) {
      try {
        return await sign();
      } catch (error) {
        const isAway = lane.away !== undefined && this.#timers.now() < lane.away + AWAY_MS;
        if (!isPassing(error) || isAway || waited >= PATIENCE_MS) {
          if (isPassing(error)) lane.away = this.#timers.now();
          throw error;
        }
        await new Promise<void>((resolve) => this.#timers.after(RETRY_MS, resolve));
      }
    }
  }

  /**
   * Has all tokens signed anew when they are next asked for: rules or keys have changed. They serve on while none can
   * be, but for those that are not of use any more.
   */
  renewAll(isOfUse: (token: HeldJwt) => boolean = () => true): void {
    for (const [name, lane] of this.#lanes) {
      for (const [key, token] of lane.tokens) if (!isOfUse(token)) this.#remove(lane, key);
      const { tokens, size } = lane;
      if (tokens.size === 0) this.#lanes.delete(name);
      // What is being signed ends in a lane that nobody looks into any more.
      else this.#lanes.set(name, { ...newLane(), tokens, size, stale: new Set(tokens.keys()) });
    }
  }

  /** Forgets all tokens, those under way too: something was revoked. */
  clear(): void {
    // What is being signed ends in a lane that nobody looks into any more.
    this.#lanes.clear();
    this.#size = 0;
  }

  /** Forgets the tokens of one identity (its {@link svidKey}): it has another ID now. */
  forget(name: string): void {
    this.#size -= this.#lanes.get(name)?.size ?? 0;
    this.#lanes.delete(name);
  }

  #laneOf(name: string): Lane {
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      this.#forgetEnded();
      lane = newLane();
      this.#lanes.set(name, lane);
    }
    return lane;
  }

  async #renew(name: string, lane: Lane, key: string, sign: () => Promise<HeldJwt>): Promise<HeldJwt> {
    try {
      await turn(lane);
      try {
        const token = await sign();
        if (this.#lanes.get(name) === lane) this.#keep(lane, key, token);
        return token;
      } finally {
        lane.running--;
        lane.waiting.shift()?.();
      }
    } finally {
      lane.signing.delete(key);
    }
  }

  /** The oldest of the same identity make room: no workload drives out another's tokens. */
  #keep(lane: Lane, key: string, token: HeldJwt): void {
    this.#remove(lane, key);
    if (this.#size + token.token.length > MAX_KEPT) this.#forgetEnded();
    for (const oldest of lane.tokens.keys()) {
      if (lane.size + token.token.length <= MAX_KEPT_EACH && this.#size + token.token.length <= MAX_KEPT)
        break;
      this.#remove(lane, oldest);
    }
    if (this.#size + token.token.length > MAX_KEPT) return;
    lane.tokens.set(key, token);
    lane.size += token.token.length;
    this.#size += token.token.length;
  }

  #remove(lane: Lane, key: string): void {
    const length = lane.tokens.get(key)?.token.length;
    if (length === undefined) return;
    lane.tokens.delete(key);
    lane.stale.delete(key);
    lane.size -= length;
    this.#size -= length;
  }

  #forgetEnded(): void {
    const now = this.#timers.now();
    for (const [name, lane] of this.#lanes) {
      for (const [key, { expiresAt }] of lane.tokens) if (expiresAt <= now) this.#remove(lane, key);
      if (lane.tokens.size === 0 && lane.signing.size === 0) this.#lanes.delete(name);
    }
  }
}

function newLane(): Lane {
  return { tokens: new Map(), stale: new Set(), signing: new Map(), waiting: [], size: 0, running: 0 };
}

/** Waits until the identity may have one more token signed. Rejects with `limit` where too many wait already. */
async function turn(lane: Lane): Promise<void> {
  if (lane.running < MAX_SIGNING_EACH) {
    lane.running++;
    return;
  }
  if (lane.waiting.length >= MAX_WAITING_EACH) {
    throw new InterlockError(
      'limit',
      'JWT-SVID',
      `${MAX_WAITING_EACH} JWT-SVIDs of this identity wait to be signed already`,
    );
  }
  const { promise, resolve } = Promise.withResolvers<void>();
  lane.waiting.push(resolve);
  await promise;
  lane.running++;
}
