const INITIAL_SLOTS = 16;
/** Three numbers of the key and the value, side by side: one line of cache holds four slots. */
const SLOT = 4;

/**
 * Three small non-negative integers -> one integer other than 0, by open addressing over one flat array. Reading
 * allocates nothing, and tens of thousands of entries stay in the processor's cache, which a tree of Maps does not.
 */
export class IntTable {
  #slots = new Int32Array(INITIAL_SLOTS * SLOT);
  #mask = INITIAL_SLOTS - 1;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The value, or 0 where there is none. */
  get(a: number, b: number, c: number): number {
    const slots = this.#slots;
    for (let i = hash(a, b, c) & this.#mask; ; i = (i + 1) & this.#mask) {
      const at = i * SLOT;
      const value = slots[at + 3] as number;
      if (value === 0 || (slots[at] === a && slots[at + 1] === b && slots[at + 2] === c)) return value;
    }
  }

  /** Sets a value other than 0. */
  set(a: number, b: number, c: number, value: number): void {
    // At most three quarters full: denser is slower to miss in, sparser is slower to fetch.
    if (this.#size * 4 >= this.#mask * 3) this.#grow();
    const slots = this.#slots;
    let i = hash(a, b, c) & this.#mask;
    for (; slots[i * SLOT + 3] !== 0; i = (i + 1) & this.#mask) {
      const at = i * SLOT;
      if (slots[at] === a && slots[at + 1] === b && slots[at + 2] === c) {
        slots[at + 3] = value;
        return;
      }
    }
    slots.set([a, b, c, value], i * SLOT);
    this.#size++;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Int32Array(old.length * 2);
    this.#mask = this.#mask * 2 + 1;
    this.#size = 0;
    for (let at = 0; at < old.length; at += SLOT) {
      const value = old[at + 3] as number;
      if (value !== 0) this.set(old[at] as number, old[at + 1] as number, old[at + 2] as number, value);
    }
  }
}

/** Odd constants and a final mix, so that consecutive numbers spread (the finaliser of MurmurHash3). */
function hash(a: number, b: number, c: number): number {
  let h = Math.imul(a, 0x9e3779b1) ^ Math.imul(b, 0x85ebca77) ^ Math.imul(c, 0xc2b2ae3d);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  return (h ^ (h >>> 13)) >>> 0;
}
