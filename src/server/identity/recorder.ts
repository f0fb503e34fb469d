import { InterlockError } from '../../access/index.ts';
import type { Change, IdentityStore, Json, NewAuditEntry } from '../../store/index.ts';
import { STORE_WAIT_MS, storeIsLate } from '../in-time.ts';
import { type Timers, within } from '../timers.ts';

/** Records that may wait for the store; more of them would only wait in vain. */
const MAX_WAITING = 20_000;

/** Who does something, for the audit log: `uid:0`, an agent's SPIFFE ID, `system`. */
export type Actor = string;

/** Called with what was recorded; it does not fail. */
export type OnRecorded = (changes: readonly Change[], entry: NewAuditEntry | undefined) => void;

/**
 * Writes to the store, and waits for it with a limit: a store that hangs makes callers come back later and nothing
 * else. What was given up may still be recorded; it has not left, so nothing is ever out that is not recorded.
 */
export class Recorder {
  readonly #store: IdentityStore;
  readonly #timers: Timers;
  readonly #listeners = new Set<OnRecorded>();
  #waiting = 0;

  constructor(store: IdentityStore, timers: Timers) {
    this.#store = store;
    this.#timers = timers;
  }

  /** The audit entry of something that is done now. */
  entry(who: Actor, act: string, what: string, details: Json = {}): NewAuditEntry {
    return { at: this.#timers.now(), who, act, what, details };
  }

  /** Resolves once the changes are durable. Throws `unavailable` where that takes too long. */
  async commit(changes: readonly Change[], entry?: NewAuditEntry): Promise<void> {
    if (this.#waiting >= MAX_WAITING) throw tooMuch();
    this.#waiting++;
    const done = this.#kept(changes, entry).finally(() => this.#waiting--);
    await within(done, STORE_WAIT_MS, this.#timers, () => storeIsLate('begun'));
  }

  /** Resolves once the changes are durable, however long that takes: for a state that must not differ from the store's. */
  record(changes: readonly Change[], entry: NewAuditEntry): Promise<void> {
    return this.#kept(changes, entry);
  }

  /** Calls `listener` with what was recorded, once it is durable, until the function it gives back is called. */
  onCommit(listener: OnRecorded): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #kept(changes: readonly Change[], entry?: NewAuditEntry): Promise<void> {
    await this.#store.commit(changes, entry);
    for (const listener of this.#listeners) listener(changes, entry);
  }

  /** Waits for something that the store was asked, with the same limit. */
  within<T>(asked: Promise<T>): Promise<T> {
    return within(asked, STORE_WAIT_MS, this.#timers, () => storeIsLate('asked'));
  }
}

function tooMuch(): InterlockError {
  return new InterlockError(
    'unavailable',
    'database',
    'the database has too much to do: nothing was issued or changed; look at it, or at the disk of the control plane',
  );
}
