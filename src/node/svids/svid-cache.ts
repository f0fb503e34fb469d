import { InterlockError, isInterlockError } from '../../access/index.ts';
import type { GivenIdentity, WorkloadAttributes } from '../../identity/index.ts';
import type { Timers } from '../timers.ts';
import { type HeldSvid, renewalTime, svidKey } from './svid.ts';

/** Gets an SVID signed. Rejects with `unavailable` where asking again later helps, and otherwise with the refusal. */
export type SignSvid = (
  identity: GivenIdentity,
  attributes: WorkloadAttributes,
  replaces: string | undefined,
) => Promise<HeldSvid>;

/** Where SVIDs survive a restart of the agent. */
export interface SvidStore {
  load(): ReadonlyMap<string, HeldSvid>;
  save(key: string, svid: HeldSvid): void;
  remove(key: string): void;
}

export interface SvidCacheOptions {
  readonly timers: Timers;
  readonly sign: SignSvid;
  readonly store: SvidStore;
  /** Told of every SVID that came or went, and of every refusal. */
  readonly onChange: (key: string) => void;
  /** Told of SVIDs that nobody is served any more. Serial numbers. */
  readonly onDropped: (serials: readonly string[]) => void;
  readonly onRefused: (identity: GivenIdentity, error: unknown) => void;
}

/** How many requests to sign are under way at one time: a restart with thousands of workloads comes in waves. */
const MAX_SIGNING = 64;
/** How long an SVID is kept for a workload that may come back. */
const KEPT_UNUSED_MS = 10 * 60_000;
/** First and longest wait before a failed request is made again. */
const RETRY_MS = 1000;
const LONGEST_RETRY_MS = 60_000;

interface Entry {
  readonly key: string;
  /** Unknown for one that was loaded and not asked for since. */
  identity: GivenIdentity | undefined;
  /** Of those who want it, and how often each does; the first ones are asked with. None of a workload that has gone. */
  readonly wanters: Map<WorkloadAttributes, number>;
  svid: HeldSvid | undefined;
  wanted: number;
  state: 'idle' | 'queued' | 'signing';
  refused: boolean;
  failures: number;
  /** After a failure: not before. Milliseconds since 1970. */
  retryAt: number;
  /** When a new SVID is asked for; set as one arrives, and made earlier by a taint. Milliseconds since 1970. */
  renewAt: number;
  cancelTimer: (() => void) | undefined;
  cancelEnd: (() => void) | undefined;
}

/**
 * Every SVID of the agent: signed when first wanted, renewed at half of its life for as long as it is wanted, and
 * replaced on demand. It is the only writer of them.
 */
export class SvidCache {
  readonly #options: SvidCacheOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #queue: Entry[] = [];
  /** Authorities whose SVIDs are being replaced, and until when. One more may arrive that was asked for before. */
  readonly #replacing = new Map<string, number>();
  #signing = 0;
  #online = false;
  #closed = false;

  constructor(options: SvidCacheOptions) {
    this.#options = options;
    const now = options.timers.now();
    for (const [key, svid] of options.store.load()) {
      if (svid.notAfter <= now) {
        options.store.remove(key);
        continue;
      }
      const entry = newEntry(key);
      entry.svid = svid;
      entry.renewAt = renewalTime(svid, options.timers.random());
      this.#entries.set(key, entry);
      this.#schedule(entry);
    }
  }

  /** Serial numbers of all SVIDs that are kept. */
  held(): string[] {
    return [...this.#entries.values()].flatMap(({ svid }) => (svid === undefined ? [] : [svid.serial]));
  }

  /** How many SVIDs are kept, wanted, and waiting to be signed. */
  counts(): { held: number; wanted: number; waiting: number } {
    let [held, wanted, waiting] = [0, 0, 0];
    for (const entry of this.#entries.values()) {
      if (this.#valid(entry) !== undefined) held++;
      if (entry.wanted > 0) wanted++;
      if (entry.state !== 'idle') waiting++;
    }
    return { held, wanted, waiting };
  }

  /** Wants the identity's SVID from now on; {@link release} ends it. */
  want(identity: GivenIdentity, attributes: WorkloadAttributes): string {
    const key = svidKey(identity);
    let entry = this.#entries.get(key);
    if (entry === undefined) this.#entries.set(key, (entry = newEntry(key)));
    entry.wanted++;
    entry.identity = identity;
    const known = entry.wanters.get(attributes);
    entry.wanters.set(attributes, (known ?? 0) + 1);
    if (entry.refused) {
      // Somebody else may want it now for whom it is not refused.
      entry.refused = false;
      if (known === undefined) this.#askFirstWith(entry, attributes);
    }
    this.#schedule(entry);
    return key;
  }

  /** One less wants the SVID, with the very attributes given to {@link want}. It is kept for a while, for who comes back. */
  release(key: string, attributes: WorkloadAttributes): void {
    const entry = this.#entries.get(key);
    const count = entry?.wanters.get(attributes);
    if (entry === undefined || count === undefined) return;
    if (count === 1) entry.wanters.delete(attributes);
    else entry.wanters.set(attributes, count - 1);
    entry.wanted--;
    if (entry.wanted === 0) this.#schedule(entry);
  }

  /** The SVID, or why there is none: still `waiting` to be signed, or `refused`. */
  get(key: string): HeldSvid | 'waiting' | 'refused' {
    const entry = this.#entries.get(key);
    if (entry === undefined) return 'waiting';
    return this.#valid(entry) ?? (entry.refused || entry.failures > 0 ? 'refused' : 'waiting');
  }

  /** Whether the control plane can be asked. What waited for it is asked for at once, in waves. */
  setOnline(online: boolean): void {
    this.#online = online;
    if (!online) return;
    for (const entry of this.#entries.values()) {
      if (entry.failures > 0 && !entry.refused) {
        entry.failures = 0;
        this.#schedule(entry);
      }
    }
    this.#pump();
  }

  /** Replaces every SVID of an authority, spread evenly over the time. Gives how many there are. */
  replaceAll(authority: string, overMs: number): number {
    const { timers } = this.#options;
    const now = timers.now();
    this.#replacing.set(authority, now + overMs);
    const entries = [...this.#entries.values()].filter(({ svid }) => svid?.authority === authority);
    for (const [i, entry] of entries.entries()) {
      if (entry.wanted === 0) {
        this.#drop(entry);
        continue;
      }
      entry.renewAt = Math.min(entry.renewAt, now + ((i + timers.random()) / entries.length) * overMs);
      this.#schedule(entry);
    }
    return entries.length;
  }

  /** Drops what `gone` names: revoked SVIDs are served to nobody, whether or not a new one is given. */
  revoke(gone: (svid: HeldSvid) => boolean): void {
    for (const entry of this.#entries.values()) {
      if (entry.svid === undefined || !gone(entry.svid)) continue;
      entry.svid = undefined;
      entry.cancelTimer?.();
      this.#options.store.remove(entry.key);
      this.#options.onChange(entry.key);
      this.#schedule(entry);
    }
  }

  /** Ends all timers. What is on disk stays. */
  close(): void {
    this.#closed = true;
    for (const entry of this.#entries.values()) {
      entry.cancelTimer?.();
      entry.cancelEnd?.();
    }
  }

  #valid({ svid }: Entry): HeldSvid | undefined {
    return svid !== undefined && svid.notAfter > this.#options.timers.now() ? svid : undefined;
  }

  /** Decides what happens to the entry next, and when. */
  #schedule(entry: Entry): void {
    const { timers } = this.#options;
    entry.cancelTimer?.();
    entry.cancelTimer = undefined;
    if (this.#closed || entry.state !== 'idle') return;
    if (entry.wanted === 0) {
      entry.cancelTimer = timers.after(KEPT_UNUSED_MS, () => this.#drop(entry));
      return;
    }
    const svid = this.#valid(entry);
    const retry = entry.failures === 0 ? 0 : entry.retryAt - timers.now();
    const due = svid === undefined ? 0 : entry.renewAt - timers.now();
    const wait = Math.max(retry, due);
    if (wait <= 0) this.#enqueue(entry);
    else entry.cancelTimer = timers.after(wait, () => this.#enqueue(entry));
    // A workload must learn that its SVID has ended, also when no new one came.
    if (svid !== undefined && retry > svid.notAfter - timers.now()) this.#tellOfEnd(entry, svid);
  }

  #tellOfEnd(entry: Entry, svid: HeldSvid): void {
    const { timers, onChange } = this.#options;
    entry.cancelEnd?.();
    entry.cancelEnd = timers.after(svid.notAfter - timers.now(), () => {
      if (!this.#closed && entry.svid === svid) onChange(entry.key);
    });
  }

  #enqueue(entry: Entry): void {
    if (entry.state !== 'idle' || entry.wanted === 0) return;
    entry.state = 'queued';
    this.#queue.push(entry);
    this.#pump();
  }

  #pump(): void {
    while (this.#online && !this.#closed && this.#signing < MAX_SIGNING) {
      const entry = this.#queue.shift();
      if (entry === undefined) return;
      void this.#renew(entry);
    }
  }

  async #renew(entry: Entry): Promise<void> {
    const { identity } = entry;
    const [attributes] = entry.wanters.keys();
    if (identity === undefined || attributes === undefined || entry.wanted === 0) {
      entry.state = 'idle';
      return;
    }
    entry.state = 'signing';
    this.#signing++;
    const askedAt = this.#options.timers.now();
    try {
      const svid = await this.#options.sign(identity, attributes, entry.svid?.serial);
      if (svid.notAfter <= this.#options.timers.now()) throw ended(svid);
      entry.svid = svid;
      entry.renewAt = this.#renewalTime(svid, askedAt);
      entry.failures = 0;
      entry.refused = false;
      this.#options.store.save(entry.key, svid);
    } catch (error) {
      this.#failed(entry, attributes, isInterlockError(error) && error.code !== 'unavailable');
      this.#options.onRefused(identity, error);
    } finally {
      this.#signing--;
      entry.state = 'idle';
    }
    if (this.#closed) return;
    this.#options.onChange(entry.key);
    this.#schedule(entry);
    this.#pump();
  }

  #failed(entry: Entry, attributes: WorkloadAttributes, refused: boolean): void {
    const { timers } = this.#options;
    entry.failures++;
    entry.refused = refused;
    entry.retryAt = timers.now() + backoff(entry.failures, timers.random());
    const count = entry.wanters.get(attributes);
    if (!refused || count === undefined) return;
    // What is refused for one workload may hold for the next one that shares the identity.
    entry.wanters.delete(attributes);
    entry.wanters.set(attributes, count);
  }

  #askFirstWith(entry: Entry, attributes: WorkloadAttributes): void {
    const others = [...entry.wanters].filter(([other]) => other !== attributes);
    entry.wanters.clear();
    entry.wanters.set(attributes, 1);
    for (const [other, count] of others) entry.wanters.set(other, count);
    entry.retryAt = Math.min(entry.retryAt, this.#options.timers.now() + RETRY_MS);
  }

  #renewalTime(svid: HeldSvid, askedAt: number): number {
    const { timers } = this.#options;
    const replaced = this.#replacing.get(svid.authority);
    const usual = renewalTime(svid, timers.random());
    const soonest = timers.now() + RETRY_MS;
    // What is asked for later and comes from it all the same is meant: it signs again.
    const isOver = replaced === undefined || askedAt > replaced;
    return Math.max(soonest, isOver ? usual : Math.min(usual, replaced));
  }

  #drop(entry: Entry): void {
    if (entry.wanted > 0) return;
    entry.cancelTimer?.();
    entry.cancelEnd?.();
    this.#entries.delete(entry.key);
    if (entry.svid === undefined) return;
    this.#options.store.remove(entry.key);
    this.#options.onDropped([entry.svid.serial]);
  }
}

function ended({ spiffeId, notAfter }: HeldSvid): InterlockError {
  return new InterlockError(
    'untrusted',
    spiffeId,
    `the SVID signed for ${spiffeId} ended at ${new Date(notAfter).toISOString()}, which is over: set this node's clock, or the control plane's`,
  );
}

function newEntry(key: string): Entry {
  return {
    key,
    identity: undefined,
    wanters: new Map(),
    svid: undefined,
    wanted: 0,
    state: 'idle',
    refused: false,
    failures: 0,
    retryAt: 0,
    renewAt: 0,
    cancelTimer: undefined,
    cancelEnd: undefined,
  };
}

/** Milliseconds before try number `failures` + 1: doubled each time, and spread over the whole of it. */
function backoff(failures: number, random: number): number {
  return Math.min(LONGEST_RETRY_MS, RETRY_MS * 2 ** Math.min(failures - 1, 10)) * (0.5 + random / 2);
}
