const DASH = 0x2d;
const FIRST_SIZE = 16 * 1024;
/** Bytes that must follow a line: a remembered key is compared with what may be a line's last bytes. */
export const LINE_PAD = 80;
/** A buffer that a long line has made larger than this is given up with the next short one. */
const KEPT_SIZE = 1024 * 1024;

/** One line with the places of its wanted values, each in a slot (a small number). A scanner fills it. */
export class Spans {
  #copy: Buffer = Buffer.alloc(FIRST_SIZE);
  #copyView: DataView = viewOf(this.#copy);
  /** What the line lies in: a copy of it with zeros behind, or a block of lines. */
  bytes: Buffer = this.#copy;
  view: DataView = this.#copyView;
  /** Whether it is a block, where the line ends at a line feed and the scanner finds `to`. */
  block = false;
  /** The line's first byte, and the place behind its last one; that is -1 while it was not found. */
  from = 0;
  to = 0;
  /** Whether a coded value is the inside of a JSON string; else it is bare UTF-8. */
  json = true;
  /** Whether a wanted value is a list, an object or a truth value. */
  odd = false;
  /** A bit for each slot that holds a value, and one for each that is named and holds none. */
  present = 0;
  empty = 0;
  /** A bit for each slot whose value is not ASCII or has escapes. */
  coded = 0;
  readonly start: Int32Array;
  readonly end: Int32Array;
  /** A hash of a value's bytes. */
  readonly hash: Int32Array;

  /** `slots`: how many, at most 31. */
  constructor(slots: number) {
    if (slots > 31) throw new RangeError('a slot is a bit');
    this.hash = new Int32Array(slots);
    this.start = new Int32Array(slots);
    this.end = new Int32Array(slots);
  }

  /** Takes a line over and forgets the one before. The bytes are copied: they may be used again. */
  load(line: Uint8Array): void {
    const size = line.length + LINE_PAD;
    if (size > this.#copy.length || (this.#copy.length > KEPT_SIZE && size <= FIRST_SIZE)) {
      this.#copy = Buffer.alloc(Math.max(FIRST_SIZE, size * 2));
      this.#copyView = viewOf(this.#copy);
    }
    this.#copy.set(line, 0);
    this.#copy.fill(0, line.length, size);
    this.bytes = this.#copy;
    this.view = this.#copyView;
    this.block = false;
    this.to = line.length;
    this.#begin(0);
  }

  /** Takes over a line of a block that is not copied; {@link LINE_PAD} bytes or more follow its line feed there. */
  loadFrom(bytes: Buffer, view: DataView, from: number): void {
    this.bytes = bytes;
    this.view = view;
    this.block = true;
    this.to = -1;
    this.#begin(from);
  }

  #begin(from: number): void {
    this.from = from;
    this.odd = false;
    this.present = 0;
    this.empty = 0;
    this.coded = 0;
  }

  /** Notes a value; "" and Envoy's "-" for "not set" are none. */
  set(slot: number, start: number, end: number, hash: number): void {
    const length = end - start;
    if (length === 0 || (length === 1 && this.bytes[start] === DASH)) {
      this.clear(slot);
      return;
    }
    this.start[slot] = start;
    this.end[slot] = end;
    this.hash[slot] = hash;
    const bit = 1 << slot;
    if (((this.present | this.empty) & bit) !== 0) {
      this.empty &= ~bit;
      this.coded &= ~bit;
    }
    this.present |= bit;
  }

  /** Notes a value that is not ASCII, or has escapes. */
  setCoded(slot: number, start: number, end: number, hash: number): void {
    this.set(slot, start, end, hash);
    this.coded |= 1 << slot;
  }

  /** Notes that the line names the slot and holds no value there. */
  clear(slot: number): void {
    this.present &= ~(1 << slot);
    this.empty |= 1 << slot;
  }

  /** Whether the slot holds a value. */
  has(slot: number): boolean {
    return ((this.present >> slot) & 1) === 1;
  }

  /** Whether the line names the slot and holds no value there: what it would say was not so. */
  isEmpty(slot: number): boolean {
    return ((this.empty >> slot) & 1) === 1;
  }

  /** The value as text, or undefined where {@link has} says that there is none. */
  text(slot: number): string | undefined {
    if (!this.has(slot)) return undefined;
    const start = this.start[slot] as number;
    const end = this.end[slot] as number;
    if (((this.coded >> slot) & 1) === 0) return this.bytes.toString('latin1', start, end);
    if (!this.json) return this.bytes.toString('utf8', start, end);
    // A JSON string between its quotes always parses to a string.
    return JSON.parse(this.bytes.toString('utf8', start - 1, end + 1)) as string;
  }

  /** Whether the slot holds a value that begins with this ASCII prefix. */
  startsWith(slot: number, prefix: Uint8Array): boolean {
    const start = this.start[slot] as number;
    if (!this.has(slot) || (this.end[slot] as number) - start < prefix.length) return false;
    for (let i = 0; i < prefix.length; i++) if (this.bytes[start + i] !== prefix[i]) return false;
    return true;
  }

  /** The value as a whole number from 0 to 999,999,999, or undefined where it is none. */
  integer(slot: number): number | undefined {
    const start = this.start[slot] as number;
    const end = this.end[slot] as number;
    if (!this.has(slot) || end - start > 9) return undefined;
    let n = 0;
    for (let p = start; p < end; p++) {
      const digit = (this.bytes[p] as number) - 0x30;
      if (digit < 0 || digit > 9) return undefined;
      n = n * 10 + digit;
    }
    return n;
  }
}

/** A view of the same bytes. */
export function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
