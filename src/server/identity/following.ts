import type { IdentityStore, TouchedKind } from '../../store/index.ts';
import type { Timers } from '../timers.ts';

/** When what could not be read is read again, milliseconds. */
const RETRY_MS = 1000;
/** The same fault is told once, then after a minute of tries, after twice as many each time, and every hour. */
const FIRST_AGAIN = 60;
const LAST_AGAIN = 3600;
/** Different faults of one trouble that are told at once. */
const MOST_TOLD = 10;

/** Reads anew what others have changed: the things of these names, or all where undefined. */
export type Follow = (names: readonly string[] | undefined) => Promise<void>;

interface Follower {
  readonly kinds: ReadonlySet<TouchedKind>;
  readonly follow: Follow;
  readonly alsoOwn: boolean;
  /** What is to be read: names, all of them (undefined), or nothing. */
  pending: Set<string> | undefined | 'nothing';
  isReading: boolean;
  trouble: Trouble | undefined;
}

/** What cannot be read, try after try. */
interface Trouble {
  tries: number;
  /** The try at which it is told again. */
  tellAt: number;
  /** What was told of it. */
  readonly told: Set<string>;
}

/**
 * What other control planes of the same state have changed is read anew, a kind at a time: what comes while it is read is
 * read in one go afterwards, and what cannot be read is tried until it can be.
 */
export class Following {
  readonly #timers: Timers;
  readonly #onFault: (error: unknown) => void;
  readonly #onWell: (message: string) => void;
  readonly #followers = new Set<Follower>();
  #unwatch = () => {};
  #isStopped = false;

  /** `onWell` is told when something can be read again. */
  constructor(
    timers: Timers,
    onFault: (error: unknown) => void,
    onWell: (message: string) => void = () => {},
  ) {
    this.#timers = timers;
    this.#onFault = onFault;
    this.#onWell = onWell;
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
    const follower: Follower = { ...of, pending: 'nothing', isReading: false, trouble: undefined };
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
        this.#well(follower);
      } catch (error) {
        this.#tell(follower, error);
        // All of it: what was asked for is among it.
        follower.pending = undefined;
        await new Promise<void>((resolve) => this.#timers.after(RETRY_MS, resolve));
      }
    }
    follower.isReading = false;
  }

  /** What goes on for hours is no line a second in a log. */
  #tell(follower: Follower, error: unknown): void {
    follower.trouble ??= { tries: 0, tellAt: FIRST_AGAIN, told: new Set() };
    const { trouble } = follower;
    trouble.tries++;
    const text = error instanceof Error ? error.message : String(error);
    const isNew = !trouble.told.has(text) && trouble.told.size < MOST_TOLD;
    const isDue = trouble.tries >= trouble.tellAt;
    if (isDue) trouble.tellAt += Math.min(trouble.tellAt, LAST_AGAIN);
    if (!isNew && !isDue) return;
    if (isNew) trouble.told.add(text);
    this.#onFault(error);
  }

  #well(follower: Follower): void {
    const { trouble } = follower;
    follower.trouble = undefined;
    if (trouble === undefined) return;
    const what = [...follower.kinds].join(', ');
    this.#onWell(`what others change can be read again (${what}), after ${trouble.tries} tries in vain`);
  }
}
