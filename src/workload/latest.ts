import { HOUR_MS, type InterlockError } from '../access/index.ts';

/** The newest of a row of complete states, and who wants to hear of the next. */
export class Latest<T> {
  readonly #listeners = new Set<(state: T) => void>();
  readonly #waiting = new Set<{ resolve: () => void; reject: (error: unknown) => void }>();
  #state: T | undefined;
  #version = 0;
  #failure: InterlockError | undefined;
  #closed = false;

  get current(): T | undefined {
    return this.#state;
  }

  /** Takes a newer state. A listener that throws is told to `onFault`, and stops no other. */
  set(state: T, onFault: (error: unknown) => void): void {
    if (this.#closed) return;
    this.#state = state;
    this.#version += 1;
    for (const listener of new Set(this.#listeners)) {
      try {
        listener(state);
      } catch (error) {
        onFault(error);
      }
    }
    this.#wake();
  }

  /** There will be no newer state: those who wait are told why. */
  fail(error: InterlockError): void {
    this.#failure = error;
    this.#wake();
  }

  close(): void {
    this.#closed = true;
    this.#listeners.clear();
    this.#wake();
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Calls `listener` with every later state, until the function it gives back is called. */
  listen(listener: (state: T) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * The first state, now or later. Rejects when the row fails or is closed, or `signal` aborts. Keeps the process
   * alive until then: between two attempts to connect nothing else would.
   */
  async first(what: string, signal: AbortSignal | undefined): Promise<T> {
    const alive = setInterval(() => {}, HOUR_MS);
    try {
      for (;;) {
        signal?.throwIfAborted();
        if (this.#state !== undefined) return this.#state;
        if (this.#failure !== undefined) throw this.#failure;
        if (this.#closed) throw new TypeError(`${what} was closed before its first update`);
        await this.#change(signal);
      }
    } finally {
      clearInterval(alive);
    }
  }

  /** The newest state and then every newer one; a slow reader gets the newest, not each. Ends when closed. */
  async *states(): AsyncGenerator<T, void, void> {
    let seen = 0;
    while (!this.#closed) {
      if (this.#version > seen && this.#state !== undefined) {
        seen = this.#version;
        yield this.#state;
      } else if (this.#failure === undefined) await this.#change(undefined);
      else throw this.#failure;
    }
  }

  #wake(): void {
    for (const { resolve } of this.#waiting) resolve();
    this.#waiting.clear();
  }

  #change(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = () => {
        this.#waiting.delete(waiter);
        reject(signal?.reason as Error);
      };
      const waiter = {
        resolve: () => {
          signal?.removeEventListener('abort', abort);
          resolve();
        },
        reject,
      };
      this.#waiting.add(waiter);
      signal?.addEventListener('abort', abort, { once: true });
    });
  }
}
