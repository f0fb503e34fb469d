import { copyBytes, mix, PAD, sameBytes } from './bytes.ts';

const FIRST_ROWS = 1 << 10;
const FIRST_BYTES = 1 << 16;
/** Most paths kept, and most bytes of them: past either, all are forgotten. */
const MAX_ROWS = 1 << 17;
const MAX_BYTES = 1 << 24;
/** Places that a path may be in, so that made-up hash collisions cost misses, no more. */
const PROBES = 8;
/** The numbers of a row: hash, id, flags, where its bytes begin, how many they are, and marks for the user. */
const WIDTH = 6;
const ID = 1;
const FLAGS = 2;
const START = 3;
const LENGTH = 4;
const MARKS = 5;

/**
 * Values kept under a number and the bytes of a path, without making a string of them. It grows with what is put
 * into it, and starts anew when it is full.
 */
export class PathTable<T> {
  readonly #maxRows: number;
  readonly #maxBytes: number;
  #rows = new Int32Array(FIRST_ROWS * WIDTH);
  #values: T[] = [];
  /** Hash and row + 1 by turns; 0 is no row. */
  #places = new Int32Array(FIRST_ROWS * 4);
  #bytes = new DataView(new ArrayBuffer(FIRST_BYTES));
  #length = 0;
  /** What was looked for last: an id, flags, and a run of bytes. */
  #hash = 0;

  constructor({ maxRows = MAX_ROWS, maxBytes = MAX_BYTES }: { maxRows?: number; maxBytes?: number } = {}) {
    this.#maxRows = maxRows;
    this.#maxBytes = maxBytes;
  }

  /** The row of a path, or -1. `hash` is any hash of its bytes. */
  find(id: number, flags: number, view: DataView, start: number, length: number, hash: number): number {
    const rows = this.#rows;
    const places = this.#places;
    const mask = places.length - 1;
    const mixed = mix(mix(id, flags), hash ^ length);
    this.#hash = mixed;
    let place = (mixed << 1) & mask;
    for (let i = 0; i < PROBES; i++) {
      const row = (places[place + 1] as number) - 1;
      if (row < 0) return -1;
      if (places[place] === mixed) {
        const at = row * WIDTH;
        if (
          rows[at + ID] === id &&
          rows[at + FLAGS] === flags &&
          rows[at + LENGTH] === length &&
          sameBytes(view, start, this.#bytes, rows[at + START] as number, length)
        ) {
          return row;
        }
      }
      place = (place + 2) & mask;
    }
    return -1;
  }

  /** The value of a row that {@link find} gave. */
  value(row: number): T {
    return this.#values[row] as T; // There is a value for every row.
  }

  /** 32 bits that belong to a row, none set at first. */
  marks(row: number): number {
    return this.#rows[row * WIDTH + MARKS] as number;
  }

  setMarks(row: number, marks: number): void {
    this.#rows[row * WIDTH + MARKS] = marks;
  }

  /** Keeps a value under the path that {@link find} was asked for last and did not find; gives its row. */
  add(id: number, flags: number, view: DataView, start: number, length: number, value: T): number {
    this.#makeRoom(length);
    const row = this.#values.length;
    const rows = this.#rows;
    const at = row * WIDTH;
    rows[at] = this.#hash;
    rows[at + ID] = id;
    rows[at + FLAGS] = flags;
    rows[at + START] = this.#length;
    rows[at + LENGTH] = length;
    rows[at + MARKS] = 0;
    copyBytes(this.#bytes, this.#length, view, start, length);
    this.#length += length;
    this.#values.push(value);
    this.#place(this.#hash, row);
    return row;
  }

  /** Puts a row into the first free one of its places; with none free, the row in its first one is lost. */
  #place(hash: number, row: number): void {
    const places = this.#places;
    const mask = places.length - 1;
    const first = (hash << 1) & mask;
    let place = first;
    for (let i = 0; i < PROBES && places[place + 1] !== 0; i++) place = (place + 2) & mask;
    if (places[place + 1] !== 0) place = first;
    places[place] = hash;
    places[place + 1] = row + 1;
  }

  #makeRoom(length: number): void {
    const rows = this.#values.length;
    if (rows === this.#maxRows || this.#length + length > this.#maxBytes) {
      this.#values = [];
      this.#length = 0;
      this.#places.fill(0);
    } else if (rows * WIDTH === this.#rows.length) this.#grow();
    const size = this.#length + length + PAD;
    if (size <= this.#bytes.byteLength) return;
    const bytes = new Uint8Array(Math.max(size, this.#bytes.byteLength * 2));
    bytes.set(new Uint8Array(this.#bytes.buffer, 0, this.#length));
    this.#bytes = new DataView(bytes.buffer);
  }

  #grow(): void {
    const rows = new Int32Array(this.#rows.length * 2);
    rows.set(this.#rows);
    this.#rows = rows;
    this.#places = new Int32Array(this.#places.length * 2);
    for (let row = 0; row < this.#values.length; row++) this.#place(rows[row * WIDTH] as number, row);
  }
}
