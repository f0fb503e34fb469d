import { z } from 'zod';
import type { SpiffeId } from '../../access/index.ts';
import type { Answer } from '../../api/index.ts';
import type { AccessPolicy } from '../../policy/index.ts';
import type { Change, IdentityStore, Json } from '../../store/index.ts';
import { Following } from '../identity/following.ts';
import { targetHash } from '../review/index.ts';
import type { Timers } from '../timers.ts';

/** Contents of one policy that are remembered: what is in force is older than the target. */
const MOST_KEPT = 5;

const origin = z.strictObject({
  /** Names the content that was synced. */
  hash: z.string(),
  source: z.string(),
  file: z.string(),
  commit: z.string().exactOptional(),
  branch: z.string().exactOptional(),
  authors: z.array(z.string()),
  authorsCut: z.literal(true).exactOptional(),
  by: z.string(),
  at: z.number(),
});
const schema = z.record(z.string(), z.array(origin));

/** Where one content of a policy was synced from; times are milliseconds since 1970 UTC. */
export type Origin = z.output<typeof origin>;
type Kept = ReadonlyMap<string, readonly Origin[]>;
/** As the API gives it. */
export type OriginShown = Answer<'rollouts.get'>['origins'][number];

/**
 * Where the policies of each workload were synced from: the newest contents of each. Kept in one commit with the target that
 * comes of it, and followed where another replica does so.
 */
export class SyncOrigins {
  readonly #store: Pick<IdentityStore, 'documents'>;
  readonly #following: Following;
  readonly #onFault: (error: unknown) => void;
  readonly #all = new Map<string, { readonly version: number; readonly kept: Kept }>();

  private constructor(
    store: IdentityStore,
    { timers, onFault }: { readonly timers: Timers; readonly onFault: (error: unknown) => void },
  ) {
    this.#store = store;
    this.#onFault = onFault;
    this.#following = new Following(timers, onFault);
    this.#following.on(['origin'], (names) => this.#read(names), { alsoOwn: true });
  }

  /** Throws what the store throws. */
  static async open(
    store: IdentityStore,
    parts: { readonly timers: Timers; readonly onFault: (error: unknown) => void },
  ): Promise<SyncOrigins> {
    const origins = new SyncOrigins(store, parts);
    await origins.#read(undefined);
    await origins.#following.start(store);
    return origins;
  }

  close(): void {
    this.#following.stop();
  }

  /** Where a policy was synced from: this content of it, or what it was before it was changed here. */
  of(workload: SpiffeId, policy: AccessPolicy): (Origin & { readonly changedSince?: true }) | undefined {
    const kept = this.#all.get(workload)?.kept.get(policy.metadata.name);
    if (kept === undefined) return undefined;
    const hash = hashOf(policy);
    const same = kept.find((each) => each.hash === hash);
    const [newest] = kept;
    return same ?? (newest && { ...newest, changedSince: true });
  }

  /** The same for readers. */
  shown(workload: SpiffeId, policy: AccessPolicy): Omit<OriginShown, 'policy' | 'set'> | undefined {
    const found = this.of(workload, policy);
    if (found === undefined) return undefined;
    const { hash: _, ...rest } = found;
    return rest;
  }

  /**
   * What is to be kept of a sync, in one commit with what it changes: of another replica that was faster it is a `conflict`.
   * What is neither in the target nor in force any more is forgotten.
   */
  change(
    workload: SpiffeId,
    synced: ReadonlyMap<string, { readonly policy: AccessPolicy } & Omit<Origin, 'hash'>>,
    sets: readonly AccessPolicy[],
  ): Change {
    const before = this.#all.get(workload);
    const names = new Set([...sets.map(({ metadata }) => metadata.name), ...synced.keys()]);
    const next = new Map<string, readonly Origin[]>();
    for (const name of names) {
      const old = before?.kept.get(name) ?? [];
      const fresh = synced.get(name);
      if (fresh === undefined) {
        if (old.length > 0) next.set(name, old);
        continue;
      }
      const { policy, ...rest } = fresh;
      const hash = hashOf(policy);
      next.set(name, [{ hash, ...rest }, ...old.filter((each) => each.hash !== hash)].slice(0, MOST_KEPT));
    }
    // Names of policies are no keys of a prototype: each is its own.
    const data = Object.fromEntries(next) as unknown as Json;
    return { change: 'put', kind: 'origin', name: workload, data, expect: before?.version ?? 0 };
  }

  /** Reads what others have changed, of these workloads or of all. */
  follow(names?: readonly string[]): Promise<void> {
    return this.#read(names);
  }

  async #read(names: readonly string[] | undefined): Promise<void> {
    const found = await this.#store.documents('origin', names);
    for (const { name, version, data } of found) {
      if (this.#all.get(name)?.version === version) continue;
      const read = schema.safeParse(data);
      if (!read.success) this.#onFault(read.error);
      // What cannot be read is written over by the next sync: nothing but its names rests on it.
      this.#all.set(name, { version, kept: new Map(read.success ? Object.entries(read.data) : []) });
    }
  }
}

/** As an approval names a target: what a rule rests on is no part of it. */
const hashes = new WeakMap<AccessPolicy, string>();
function hashOf(policy: AccessPolicy): string {
  let hash = hashes.get(policy);
  if (hash === undefined) {
    hash = targetHash([policy]);
    hashes.set(policy, hash);
  }
  return hash;
}
