import { InterlockError, isInterlockError } from '../../../access/index.ts';
import type { Timers } from '../../timers.ts';

/** How soon a store that failed is tried again, milliseconds. */
const RETRY_MS = 2000;
/** How long the end waits for what is left to be kept, milliseconds. */
const CLOSE_MS = 5000;

interface Waiting<T> {
  readonly item: T;
  readonly size: number;
  readonly done: PromiseWithResolvers<void>;
}

export interface BatchesOptions<T> {
  readonly timers: Timers;
  /** Keeps items for good, all or none. */
  readonly write: (items: readonly T[]) => Promise<void>;
  /** An item that can never be kept, because the program fails at it. */
  readonly onPoison: (item: T, error: unknown) => void;
  /** Told once until it works again. */
  readonly onFault: (error: unknown) => void;
  /** Sizes of one write, and of all that waits. */
  readonly mostAtOnce: number;
  readonly most: number;
}

/**
 * Writes one batch at a time; what comes meanwhile is the next one. While the store fails everything waits, in its order, up to
 * a limit: nobody who was told that it is kept is told wrongly, and nothing is kept before what came before it.
 */
export class Batches<T> {
  readonly #options: BatchesOptions<T>;
  #waiting: Waiting<T>[] = [];
  #size = 0;
  #busy = false;
  #faulty = false;
  /** After a failure that is the program's own: one at a time, to find the item. */
  #oneByOne = false;
  #closed = false;
  #poked = false;
  /** Ends the wait after a failure. */
  #tryNow = () => {};
  #idle = Promise.withResolvers<void>();

  constructor(options: BatchesOptions<T>) {
    this.#options = options;
  }

  /** Whether an item of that size finds room. */
  hasRoom(size: number): boolean {
    return !this.#closed && (this.#size === 0 || this.#size + size <= this.#options.most);
  }

  /** What waits, in sizes. */
  get waiting(): number {
    return this.#size;
  }

  /** The last write failed and was not made good yet. */
  get isFaulty(): boolean {
    return this.#faulty;
  }

  /** Resolves when the item is kept; rejects with `unavailable` when this ends before. Throws `unavailable` where there is no room. */
  add(item: T, size: number): Promise<void> {
    if (!this.hasRoom(size))
      throw new InterlockError(
        'unavailable',
        'evidence',
        'too much evidence waits for the store: send it again later',
      );
    const done = Promise.withResolvers<void>();
    this.#waiting.push({ item, size, done });
    this.#size += size;
    this.#next();
    return done.promise;
  }

  /** Writes soon, with nothing new: for what `write` adds of its own. */
  poke(): void {
    this.#poked = true;
    this.#next();
  }

  /** Keeps what waits, for some seconds at most, and refuses the rest. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#busy) {
      this.#tryNow();
      const cancel = this.#options.timers.after(CLOSE_MS, () => this.#idle.resolve());
      await this.#idle.promise;
      cancel();
    }
    const error = new InterlockError(
      'unavailable',
      'evidence',
      'the control plane ends: send the report again',
    );
    for (const { done } of this.#waiting.splice(0)) done.reject(error);
  }

  #next(): void {
    if (this.#busy || (this.#waiting.length === 0 && !this.#poked)) return;
    this.#busy = true;
    this.#idle = Promise.withResolvers();
    void this.#write();
  }

  async #write(): Promise<void> {
    const { write, onFault, onPoison, timers } = this.#options;
    const batch = this.#head();
    this.#poked = false;
    try {
      await write(batch.map(({ item }) => item));
      this.#take(batch);
      this.#faulty = false;
      this.#oneByOne &&= this.#waiting.length > 0;
    } catch (error) {
      if (!this.#faulty) onFault(error);
      this.#faulty = true;
      const [only] = batch;
      if (isInterlockError(error)) {
        // A store that is away, full or held: nothing is lost by waiting.
        if (this.#closed) return this.#rest();
        const { promise, resolve } = Promise.withResolvers<void>();
        const cancel = timers.after(RETRY_MS, resolve);
        this.#tryNow = resolve;
        await promise;
        cancel();
        this.#poked = true;
      } else if (batch.length === 1 && only !== undefined) {
        onPoison(only.item, error);
        this.#take(batch);
      } else this.#oneByOne = true;
    }
    if (this.#waiting.length === 0 && !this.#poked) return this.#rest();
    void this.#write();
  }

  #rest(): void {
    this.#busy = false;
    this.#idle.resolve();
  }

  #head(): Waiting<T>[] {
    if (this.#oneByOne) return this.#waiting.slice(0, 1);
    let size = 0;
    const end = this.#waiting.findIndex((each, i) => (size += each.size) > this.#options.mostAtOnce && i > 0);
    return this.#waiting.slice(0, end < 0 ? undefined : end);
  }

  #take(batch: readonly Waiting<T>[]): void {
    this.#waiting.splice(0, batch.length);
    for (const { size, done } of batch) {
      this.#size -= size;
      done.resolve();
    }
  }
}
