import { copyBytes, PAD, sameBytes } from './bytes.ts';

/** Keys remembered from the lines before, and the longest `"key":` remembered, in bytes. */
export const REMEMBERED = 64;
export const REMEMBERED_BYTES = 64;
/** Bytes that are compared at once, and how many of them a remembered key takes. */
const WORD = 8;
const KEY_WORDS = REMEMBERED_BYTES / WORD;
/** In the place of a key that is not known: the one behind the last, whose length is 0. */
const NONE = REMEMBERED;

/**
 * The keys of the lines before, as far as their colons, and the order they came in: lines of one log name their keys
 * in one order, or in few. Each has a number; {@link REMEMBERED} stands for the beginning of a line.
 */
export class KeyMemory {
  /** Of each key its last word, and all words before that one; keys of less than a word are in `#short`. */
  readonly #words = new Float64Array(REMEMBERED * KEY_WORDS);
  readonly #short = new DataView(new ArrayBuffer(REMEMBERED * WORD + PAD));
  readonly #other = new Int32Array(REMEMBERED + 1).fill(NONE);
  #count = 0;
  /** The number of the key that first came after each; another one that did is kept beside it. */
  readonly next: Int32Array = new Int32Array(REMEMBERED + 1).fill(NONE);
  /** Bytes of each key with its colon; 0 for one that is not there. */
  readonly length: Int32Array = new Int32Array(REMEMBERED + 1);
  readonly slot: Int32Array = new Int32Array(REMEMBERED);

  /** Whether the key stands at `p`; like {@link sameBytes}, with the one side in an array. */
  isAt(key: number, view: DataView, p: number): boolean {
    const length = this.length[key] as number;
    if (length < WORD) return length > 0 && sameBytes(view, p, this.#short, key * WORD, length);
    const words = this.#words;
    const last = length - WORD;
    let at = key * KEY_WORDS;
    // Keys differ at their ends more than at their beginnings.
    if (view.getFloat64(p + last, true) !== words[at]) return false;
    for (let i = 0; i < last; i += WORD) if (view.getFloat64(p + i, true) !== words[++at]) return false;
    return true;
  }

  /** The key that stands at `p` and came after `last`, though not as expected; or -1. */
  find(last: number, view: DataView, p: number): number {
    const other = this.#other[last] as number;
    let key = this.isAt(other, view, p) ? other : 0;
    while (key < this.#count && !this.isAt(key, view, p)) key++;
    if (key >= this.#count) return -1;
    this.#follow(last, key);
    return key;
  }

  /** Remembers a key of at most {@link REMEMBERED_BYTES} bytes that came after `last`; gives its number. */
  add(last: number, view: DataView, from: number, length: number, slot: number): number {
    if (this.#count === REMEMBERED) {
      this.#count = 0;
      this.length.fill(0);
      this.next.fill(NONE);
      this.#other.fill(NONE);
    }
    const key = this.#count++;
    this.length[key] = length;
    this.slot[key] = slot;
    if (length < WORD) copyBytes(this.#short, key * WORD, view, from, length);
    else {
      let at = key * KEY_WORDS;
      this.#words[at] = view.getFloat64(from + length - WORD, true);
      for (let i = 0; i < length - WORD; i += WORD) this.#words[++at] = view.getFloat64(from + i, true);
    }
    this.#follow(last, key);
    return key;
  }

  #follow(last: number, key: number): void {
    if (this.next[last] === NONE) this.next[last] = key;
    else this.#other[last] = key;
  }
}
