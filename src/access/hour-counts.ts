/**
 * Calls by key (hour and outcome), as a map that takes a fraction of a Map's memory. Time mostly goes on, so a key is
 * mostly the last one or a new last one: the last one stands in the object itself, and most accesses of a long tail
 * have no other. The ones before it are in one array, key and count by turns, by ascending key.
 */
export class HourCounts implements Iterable<[number, number]> {
  #size = 0;
  #key = 0;
  #n = 0;
  #before: number[] | undefined;

  get size(): number {
    return this.#size;
  }

  get(key: number): number | undefined {
    if (this.#size === 0 || key > this.#key) return undefined;
    if (key === this.#key) return this.#n;
    const at = this.#place(key);
    return this.#before?.[at] === key ? this.#before[at + 1] : undefined;
  }

  set(key: number, n: number): void {
    this.add(key, n - (this.get(key) ?? 0));
  }

  /** Adds `n` to what the key has. */
  add(key: number, n: number): void {
    if (this.#size > 0) {
      if (key === this.#key) {
        this.#n += n;
        return;
      }
      if (key < this.#key) {
        this.#addBefore(key, n);
        return;
      }
      if (this.#before === undefined) this.#before = [this.#key, this.#n];
      else this.#before.push(this.#key, this.#n);
    }
    this.#size++;
    this.#key = key;
    this.#n = n;
  }

  delete(key: number): void {
    if (this.get(key) === undefined) return;
    const cells = this.#before ?? [];
    if (key < this.#key) cells.splice(this.#place(key), 2);
    else if (this.#size > 1) {
      // The last one of those before it takes its place.
      this.#n = cells.pop() as number;
      this.#key = cells.pop() as number;
    }
    this.#size--;
  }

  /** Adds all of another. */
  addAll(from: HourCounts): void {
    if (from.#size === 0) return;
    const cells = from.#before;
    if (cells !== undefined) {
      for (let i = 0; i < cells.length; i += 2) this.add(cells[i] as number, cells[i + 1] as number);
    }
    this.add(from.#key, from.#n);
  }

  /** Adds key and count by turns, keys ascending. The array is taken over: the caller lets go of it. */
  takeOver(cells: number[]): void {
    if (this.#size > 0 || cells.length < 2) {
      for (let i = 0; i < cells.length; i += 2) this.add(cells[i] as number, cells[i + 1] as number);
      return;
    }
    this.#size = cells.length / 2;
    // There are two or more.
    this.#n = cells.pop() as number;
    this.#key = cells.pop() as number;
    if (cells.length > 0) this.#before = cells;
  }

  /** Writes key and count by turns into `cells` from index `at` on, and gives the index behind them. */
  copyTo(cells: Float64Array, at: number): number {
    if (this.#size === 0) return at;
    const before = this.#before ?? [];
    cells.set(before, at);
    const last = at + before.length;
    cells[last] = this.#key;
    cells[last + 1] = this.#n;
    return last + 2;
  }

  /** The sum of the counts whose key passes. */
  sum(passes: (key: number) => boolean): number {
    if (this.#size === 0) return 0;
    const cells = this.#before ?? [];
    let sum = passes(this.#key) ? this.#n : 0;
    for (let i = 0; i < cells.length; i += 2) if (passes(cells[i] as number)) sum += cells[i + 1] as number;
    return sum;
  }

  /** Calls `visit` with each key and its count, by ascending key: what walking it costs, without an object for each. */
  each(visit: (key: number, n: number) => void): void {
    if (this.#size === 0) return;
    const cells = this.#before;
    if (cells !== undefined)
      for (let i = 0; i < cells.length; i += 2) visit(cells[i] as number, cells[i + 1] as number);
    visit(this.#key, this.#n);
  }

  /** Another one with the same counts. */
  copy(): HourCounts {
    const copy = new HourCounts();
    copy.#size = this.#size;
    copy.#key = this.#key;
    copy.#n = this.#n;
    copy.#before = this.#before?.slice();
    return copy;
  }

  /** Keys, ascending. */
  *keys(): Generator<number> {
    for (const [key] of this) yield key;
  }

  /** Counts in the order of their keys. */
  *values(): Generator<number> {
    for (const [, n] of this) yield n;
  }

  *[Symbol.iterator](): Generator<[number, number]> {
    if (this.#size === 0) return;
    const cells = this.#before ?? [];
    for (let i = 0; i < cells.length; i += 2) yield [cells[i] as number, cells[i + 1] as number];
    yield [this.#key, this.#n];
  }

  #addBefore(key: number, n: number): void {
    const at = this.#place(key);
    if (this.#before === undefined) this.#before = [key, n];
    else if (this.#before[at] === key) {
      this.#before[at + 1] = (this.#before[at + 1] as number) + n;
      return;
    } else this.#before.splice(at, 0, key, n);
    this.#size++;
  }

  /** Where a key below the last one is among those before it, or belongs. */
  #place(key: number): number {
    const cells = this.#before ?? [];
    let low = 0;
    let high = cells.length / 2;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((cells[middle * 2] as number) < key) low = middle + 1;
      else high = middle;
    }
    return low * 2;
  }
}
