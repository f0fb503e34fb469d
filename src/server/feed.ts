/** A state with the number of its version; versions only grow. */
export interface Versioned<T> {
  readonly version: number;
  readonly value: T;
}

/**
 * A stream of complete states from its single writer to any number of readers. A reader gets every state that is
 * published while it is subscribed, and can look at the current one at any time.
 */
export class Feed<T> {
  #current: Versioned<T>;
  readonly #readers = new Set<(state: Versioned<T>) => void>();

  constructor(value: T, version = 1) {
    this.#current = { version, value };
  }

  get current(): Versioned<T> {
    return this.#current;
  }

  /** Publishes the next state; its version is one more unless a larger one is given. */
  publish(value: T, version = this.#current.version + 1): Versioned<T> {
    this.#current = { version, value };
    for (const reader of this.#readers) reader(this.#current);
    return this.#current;
  }

  /** Calls `reader` with each later state, until the function that it gives back is called. */
  subscribe(reader: (state: Versioned<T>) => void): () => void {
    this.#readers.add(reader);
    return () => this.#readers.delete(reader);
  }
}
