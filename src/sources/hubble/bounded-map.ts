/**
 * A map that forgets what was not set for long. It keeps two generations of half its limit each: one that fills
 * and the one before. Ordered deletion of single entries from a large Map would cost more than everything else.
 */
export class BoundedMap<V> {
  #young = new Map<string, V>();
  #old = new Map<string, V>();
  readonly #half: number;
  readonly #forgotten: (value: V) => void;

  /** Keeps at most `limit` entries, and at least the half of it that was set last. `forgotten` gets every other. */
  constructor(limit: number, forgotten: (value: V) => void = () => {}) {
    this.#half = Math.floor(limit / 2);
    this.#forgotten = forgotten;
  }

  get(key: string): V | undefined {
    return this.#young.get(key) ?? this.#old.get(key);
  }

  set(key: string, value: V): void {
    this.#old.delete(key);
    this.#young.set(key, value);
    if (this.#young.size < this.#half) return;
    const gone = this.#old;
    this.#old = this.#young;
    this.#young = new Map();
    for (const forgotten of gone.values()) this.#forgotten(forgotten);
  }

  delete(key: string): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }

  /** Empties the map and gives what it held, oldest first. */
  drain(): V[] {
    const values = [...this.#old.values(), ...this.#young.values()];
    this.#old.clear();
    this.#young.clear();
    return values;
  }
}
