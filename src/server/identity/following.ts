import type { IdentityStore, TouchedKind } from '../../store/index.ts';
import type { Timers } from '../timers.ts';

/** When what could not be read is read again, milliseconds. */
const RETRY_MS = 1000;

/** Reads anew what others have changed: the things of these names, or all where undefined. */
export type Follow = (names: readonly string[] | undefined) => Promise<void>;

interface Follower {
  readonly kinds: ReadonlySet<TouchedKind>;
  readonly follow: Follow;
  readonly alsoOwn: boolean;
  /** What is to be read: names, all of them (undefined), or nothing. */
  pending: Set<string> | undefined | 'nothing';
  isReading: boolean;
}

/**
 * What other control planes of the same state have changed is read anew, a kind at a time: what comes while it is read is
 * read in one go afterwards, and what cannot be read is tried until it can be.
 */
export class Following {
  readonly #timers: Timers;
  readonly #onFault: (error: unknown) => void;
  readonly #followers = new Set<Follower>();
  #unwatch = () => {};
  #isStopped = false;

  constructor(timers: Timers, onFault: (error: unknown) => void) {
    this.#timers = timers;
    this.#onFault = onFault;
  }

  /**
   * Calls `follow` when others have changed something of these kinds, one call at a time. `alsoOwn`: also when this control
   * plane has, since of a change that was given up it may not know that it was made after all.
   */
  on(
    kinds: readonly TouchedKind[],
    follow: Follow,
    { alsoOwn = false }: { readonly alsoOwn?: boolean } = {},
  ): () => void {
    const of = { kinds: new Set(kinds), follow, alsoOwn };
    const follower: Follower = { ...of, pending: 'nothing', isReading: false };
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  /** Follows from now on, and reads all that may have changed since it was loaded. */
  async start(store: IdentityStore): Promise<void> {
    this.#isStopped = false;
    this.#unwatch = await store.watch(({ own, missed, touched }) => {
      for (const follower of this.#followers) {
        if (own && missed !== true && !follower.alsoOwn) continue;
        const of = touched.filter(({ kind }) => follower.kinds.has(kind));
        if (missed === true) this.#ask(follower, undefined);
        else if (of.length > 0)
          this.#ask(
            follower,
            // Without a name any of the kind may have changed.
            of.some(({ name }) => name === undefined) ? undefined : of.flatMap(({ name }) => name ?? []),
          );
      }
    });
    for (const follower of this.#followers) this.#ask(follower, undefined);
  }

  stop(): void {
    this.#isStopped = true;
    this.#unwatch();
  }

  #ask(follower: Follower, names: readonly string[] | undefined): void {
    if (names === undefined || follower.pending === undefined) follower.pending = undefined;
    else follower.pending = new Set([...(follower.pending === 'nothing' ? [] : follower.pending), ...names]);
    if (!follower.isReading) void this.#read(follower);
  }

  async #read(follower: Follower): Promise<void> {
    follower.isReading = true;
    while (follower.pending !== 'nothing' && !this.#isStopped && this.#followers.has(follower)) {
      const { pending } = follower;
      follower.pending = 'nothing';
      try {
        await follower.follow(pending && [...pending]);
      } catch (error) {
        this.#onFault(error);
        // All of it: what was asked for is among it.
        follower.pending = undefined;
        await new Promise<void>((resolve) => this.#timers.after(RETRY_MS, resolve));
      }
    }
    follower.isReading = false;
  }
}
