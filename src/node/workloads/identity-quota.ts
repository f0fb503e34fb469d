import type { GivenIdentity, WorkloadAttributes } from '../../identity/index.ts';
import type { Timers } from '../timers.ts';

/** Identities that one pod, container or user has at a time, and that one rule gives on this node. */
export const MAX_PER_OWNER = 512;
export const MAX_PER_RULE = 16_384;

interface Held {
  readonly owner: string;
  readonly rule: string;
  /** Streams that have it. */
  holders: number;
  /** When it counts no more, where nobody holds it: what was signed may live that long. Milliseconds since 1970. */
  until: number;
}

/**
 * Bounds how many identities there are: a rule may build an ID from what a user can choose at will, as the hash of an
 * executable, and every ID costs a signature, a record and a place in memory.
 */
export class IdentityQuota {
  readonly #timers: Pick<Timers, 'now'>;
  readonly #held = new Map<string, Held>();
  readonly #counts = new Map<string, number>();
  #refused = 0;

  constructor(timers: Pick<Timers, 'now'>) {
    this.#timers = timers;
  }

  /** How often an identity was refused. */
  get refused(): number {
    return this.#refused;
  }

  /** Whether the workload may have this identity; counted from now on until its SVIDs have ended. */
  admit({ rule, spiffeId, ttl, jwtTtl }: GivenIdentity, attributes: WorkloadAttributes): boolean {
    const owner = ownerOf(attributes);
    const key = keyOf(owner, rule, spiffeId);
    const until = this.#timers.now() + Math.max(ttl, jwtTtl);
    const known = this.#held.get(key);
    if (known !== undefined) {
      known.until = until;
      return true;
    }
    const isFull = () => this.#count(owner) >= MAX_PER_OWNER || this.#count(`rule ${rule}`) >= MAX_PER_RULE;
    if (isFull()) this.#forgetEnded();
    if (isFull()) {
      this.#refused++;
      return false;
    }
    this.#held.set(key, { owner, rule, holders: 0, until });
    this.#add(owner, 1);
    this.#add(`rule ${rule}`, 1);
    return true;
  }

  /** A stream has an admitted identity (1), or has it no more (-1). */
  hold({ rule, spiffeId, ttl, jwtTtl }: GivenIdentity, attributes: WorkloadAttributes, by: 1 | -1): void {
    const held = this.#held.get(keyOf(ownerOf(attributes), rule, spiffeId));
    if (held === undefined) return;
    held.holders += by;
    held.until = this.#timers.now() + Math.max(ttl, jwtTtl);
  }

  #forgetEnded(): void {
    const now = this.#timers.now();
    for (const [key, { owner, rule, holders, until }] of this.#held) {
      if (holders > 0 || until > now) continue;
      this.#held.delete(key);
      this.#add(owner, -1);
      this.#add(`rule ${rule}`, -1);
    }
  }

  #count(of: string): number {
    return this.#counts.get(of) ?? 0;
  }

  #add(of: string, by: number): void {
    const count = this.#count(of) + by;
    if (count === 0) this.#counts.delete(of);
    else this.#counts.set(of, count);
  }
}

/** Pods mostly run as the same few users, and one must not use up what is there for the others. */
function ownerOf({ k8s, docker, unix }: WorkloadAttributes): string {
  if (k8s !== undefined) return `pod ${k8s.pod_uid}`;
  return docker === undefined ? `user ${unix?.uid}` : `container ${docker.container_id}`;
}

function keyOf(owner: string, rule: string, spiffeId: string): string {
  return JSON.stringify([owner, rule, spiffeId]);
}
