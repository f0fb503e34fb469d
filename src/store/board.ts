import type { Json } from './identity-store.ts';

/** One thing that a replica says of itself; without `data` it takes it back. */
export interface Notice {
  readonly kind: string;
  readonly name: string;
  readonly data?: Json;
}

/** Hears what the other replicas say of themselves. Does not fail. */
export interface BoardReader {
  /** What is new of a replica, in the order in which it was said; all that it says now where `isWhole`. */
  said(replica: string, notices: readonly Notice[], isWhole: boolean): void;
  /** A replica has ended, or was not heard of for so long that nobody knows what it does. It may come back, whole. */
  left(replica: string, how: 'ended' | 'silent'): void;
  /** What the others say cannot be read; told once until it can. A database that is away is no fault here. */
  fault(error: unknown): void;
}

/**
 * Where replicas of one database tell each other what is true only while they run: nothing of it outlives the one that said
 * it. A replica is heard of for as long as it renews its lease, by the database's clock.
 */
export interface Board {
  /** Names this replica, this time that it runs. */
  readonly replica: string;
  /**
   * Says it to the others within milliseconds; of the same kind and name the last counts. Never fails: what cannot be said
   * now is said when the database is back.
   */
  say(notices: readonly Notice[]): void;
  /** Tells `reader` from now on; the promise resolves when it was told all that the others say now. Errors: `unavailable`. */
  follow(reader: BoardReader): Promise<void>;
  /** The others are told that this one has ended. */
  close(): Promise<void>;
}
