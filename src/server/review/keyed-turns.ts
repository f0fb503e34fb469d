/** What is done about one thing is done one after the other, and what is done about others meanwhile. */
export class KeyedTurns<Key> {
  readonly #last = new Map<Key, Promise<unknown>>();

  /** Does a step once all that were begun before it about the same key have ended, however they did. */
  take<T>(key: Key, step: () => Promise<T>): Promise<T> {
    const done = (this.#last.get(key) ?? Promise.resolve()).then(step, step);
    const settled: Promise<unknown> = done
      .catch(() => {})
      .finally(() => {
        if (this.#last.get(key) === settled) this.#last.delete(key);
      });
    this.#last.set(key, settled);
    return done;
  }
}
