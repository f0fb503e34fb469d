/**
 * Calls by key (hour and outcome), as a map that takes a fifth of a Map's memory: key and count by turns in one
 * array, by ascending key. Time mostly goes on, so a key is mostly the last one or a new last one.
 */
export class HourCounts implements Iterable<[number, number]> {
  #cells: number[] = [];

  get size(): number {
    return this.#cells.length / 2;
  }

  get(key: number): number | undefined {
    const at = this.#place(key);
    return this.#cells[at] === key ? this.#cells[at + 1] : undefined;
  }

  set(key: number, n: number): void {
    const at = this.#place(key);
    if (this.#cells[at] === key) this.#cells[at + 1] = n;
    else this.#insert(at, key, n);
  }

  /** Adds `n` to what the key has. */
  add(key: number, n: number): void {
    const at = this.#place(key);
    const cells = this.#cells;
    if (cells[at] === key) cells[at + 1] = (cells[at + 1] as number) + n;
    else this.#insert(at, key, n);
  }

  delete(key: number): void {
    const at = this.#place(key);
    if (this.#cells[at] === key) this.#cells.splice(at, 2);
  }

  /** Adds all of another. */
  addAll(from: HourCounts): void {
    const cells = from.#cells;
    for (let i = 0; i < cells.length; i += 2) this.add(cells[i] as number, cells[i + 1] as number);
  }

  /** Adds key and count by turns, keys ascending. The array is taken over: the caller lets go of it. */
  takeOver(cells: number[]): void {
    if (this.#cells.length === 0) {
      this.#cells = cells;
      return;
    }
    for (let i = 0; i < cells.length; i += 2) this.add(cells[i] as number, cells[i + 1] as number);
  }

  /** The sum of the counts whose key passes. */
  sum(passes: (key: number) => boolean): number {
    const cells = this.#cells;
    let sum = 0;
    for (let i = 0; i < cells.length; i += 2) if (passes(cells[i] as number)) sum += cells[i + 1] as number;
    return sum;
  }

  /** Keys, ascending. */
  *keys(): Generator<number> {
    for (let i = 0; i < this.#cells.length; i += 2) yield this.#cells[i] as number;
  }

  /** Counts in the order of their keys. */
  *values(): Generator<number> {
    for (let i = 1; i < this.#cells.length; i += 2) yield this.#cells[i] as number;
  }

  *[Symbol.iterator](): Generator<[number, number]> {
    const cells = this.#cells;
    for (let i = 0; i < cells.length; i += 2) yield [cells[i] as number, cells[i + 1] as number];
  }

  /** Where the key is, or belongs. */
  #place(key: number): number {
    const cells = this.#cells;
    const { length } = cells;
    if (length === 0) return 0;
    const last = cells[length - 2] as number;
    if (key === last) return length - 2;
    if (key > last) return length;
    let low = 0;
    let high = length / 2 - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((cells[middle * 2] as number) < key) low = middle + 1;
      else high = middle;
    }
    return low * 2;
  }

  #insert(at: number, key: number, n: number): void {
    if (at === this.#cells.length) this.#cells.push(key, n);
    else this.#cells.splice(at, 0, key, n);
  }
}
