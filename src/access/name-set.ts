/**
 * A few names in ascending order, as a set that takes a fifth of a Set's memory: most accesses were seen by one source
 * and called by few instances. Made for tens of names: it looks through all of them.
 */
export class NameSet implements Iterable<string> {
  /** One name stands by itself, several in `#names`. */
  #name: string | undefined;
  #names: string[] | undefined;

  constructor(names: Iterable<string> = []) {
    for (const name of names) this.add(name);
  }

  get size(): number {
    return this.#names?.length ?? (this.#name === undefined ? 0 : 1);
  }

  /** The last of the names, or undefined where there is none. */
  get largest(): string | undefined {
    return this.#names === undefined ? this.#name : this.#names.at(-1);
  }

  /** Another one with the same names. */
  copy(): NameSet {
    const copy = new NameSet();
    copy.#name = this.#name;
    copy.#names = this.#names?.slice();
    return copy;
  }

  has(name: string): boolean {
    return this.#names === undefined ? this.#name === name : this.#names.includes(name);
  }

  add(name: string): void {
    const names = this.#names;
    if (names === undefined) {
      const only = this.#name;
      if (only === undefined) this.#name = name;
      else if (only !== name) {
        this.#name = undefined;
        this.#names = name < only ? [name, only] : [only, name];
      }
      return;
    }
    let at = names.length;
    while (at > 0 && (names[at - 1] as string) > name) at--;
    // A copy has no room to spare, which would be most of its memory.
    if (names[at - 1] !== name) this.#names = names.toSpliced(at, 0, name);
  }

  /** Takes the last of the names out. */
  dropLargest(): void {
    if (this.#names === undefined) this.#name = undefined;
    else if (this.#names.length > 2) this.#names.pop();
    else {
      this.#name = this.#names[0];
      this.#names = undefined;
    }
  }

  /** Calls `visit` with each, in ascending order. */
  forEach(visit: (name: string) => void): void {
    if (this.#names !== undefined) for (const name of this.#names) visit(name);
    else if (this.#name !== undefined) visit(this.#name);
  }

  *[Symbol.iterator](): Generator<string> {
    if (this.#names !== undefined) yield* this.#names;
    else if (this.#name !== undefined) yield this.#name;
  }
}
