import { firstMark, fold, hashBytes, mixRest, specials } from './bytes.ts';
import { KeyMemory, REMEMBERED, REMEMBERED_BYTES } from './key-memory.ts';
import type { Spans } from './spans.ts';
import { MAX_DEPTH } from '../source.ts';

/** How a scan ended. */
export type Scanned = 'scanned' | 'broken' | 'too deep';

const LF = 0x0a;
const NULL = 0x6c6c756e;
const NULL_WORD = Buffer.from('null');
const TRUE_WORD = Buffer.from('true');
const FALSE_WORD = Buffer.from('false');

/**
 * Reads one JSON object a line without building it: every byte is checked against the grammar (RFC 8259), and the
 * places of the wanted top-level values are noted. Of equal keys the last wins, as with JSON.parse. Lines of one
 * log name their keys in one order, so a key is first compared with the one that followed last time.
 */
export class JsonScan {
  readonly #spans: Spans;
  readonly #slots: ReadonlyMap<string, number>;
  readonly #keys = new KeyMemory();
  /** The number of the last key, and its slot. */
  #found = 0;
  #slot = -1;
  #deep = false;

  /** `slots`: top-level key -> slot of `spans`. */
  constructor(slots: ReadonlyMap<string, number>, spans: Spans) {
    this.#slots = slots;
    this.#spans = spans;
  }

  /**
   * Scans the line that the spans hold. What is in their slots counts only where the result is `scanned`; then `to`
   * is the line's end in a block, too.
   */
  scan(): Scanned {
    const spans = this.#spans;
    spans.json = true;
    this.#deep = false;
    const p = this.#space(spans.from);
    const end = spans.bytes[p] === 0x7b ? this.#members(p + 1) : -1;
    if (end < 0) return this.#deep ? 'too deep' : 'broken';
    const to = this.#space(end);
    if (!spans.block) return to === spans.to ? 'scanned' : 'broken';
    if (spans.bytes[to] !== LF) return 'broken';
    spans.to = to;
    return 'scanned';
  }

  /** The members of the top-level object; gives the place after its closing brace, or -1. */
  #members(from: number): number {
    const { bytes, view } = this.#spans;
    const keys = this.#keys;
    const { next } = keys;
    let p = bytes[from] === 0x22 ? from : this.#space(from);
    if (bytes[p] === 0x7d) return p + 1;
    let last = REMEMBERED;
    for (;;) {
      let slot: number;
      const expected = next[last] as number;
      if (keys.isAt(expected, view, p)) {
        slot = keys.slot[expected] as number;
        last = expected;
        p += keys.length[expected] as number;
        if ((bytes[p] as number) <= 0x20) p = this.#space(p);
      } else {
        p = this.#otherKey(p, last);
        if (p < 0) return -1;
        last = this.#found;
        slot = this.#slot;
      }
      const first = bytes[p] as number;
      if (first === 0x22) {
        const start = p + 1;
        let end = start;
        let hash = 0;
        let x = view.getInt32(end, true);
        let marks = specials(x);
        while (marks === 0) {
          hash = fold(hash, x);
          end += 4;
          x = view.getInt32(end, true);
          marks = specials(x);
        }
        const rest = firstMark(marks);
        end += rest;
        if (bytes[end] === 0x22) {
          if (slot >= 0) this.#spans.set(slot, start, end, mixRest(hash, x, rest));
        } else {
          end = this.#codedString(end);
          if (end < 0) return -1;
          if (slot >= 0) this.#setCoded(slot, start, end);
        }
        p = end + 1;
      } else {
        let end = p + 4;
        if (first > 0x30 && first <= 0x39) end = this.#integer(p);
        else if (first !== 0x6e || view.getInt32(p, true) !== NULL) end = this.#value(p, 1);
        if (end < 0) return -1;
        if (slot >= 0) this.#note(slot, first, p, end);
        p = end;
      }
      let after = bytes[p] as number;
      if (after <= 0x20) {
        p = this.#space(p);
        after = bytes[p] as number;
      }
      if (after === 0x7d) return p + 1;
      if (after !== 0x2c) return -1;
      p++;
      if (bytes[p] !== 0x22) p = this.#space(p);
    }
  }

  #setCoded(slot: number, start: number, end: number): void {
    const { bytes, view } = this.#spans;
    // "-" written as an escape, which is as long as this, says no more than a plain one.
    const dash = end - start === 6 && JSON.parse(bytes.toString('latin1', start - 1, end + 1)) === '-';
    if (dash) this.#spans.clear(slot);
    else this.#spans.setCoded(slot, start, end, hashBytes(view, start, end - start));
  }

  /** A value that is no string. */
  #note(slot: number, first: number, start: number, end: number): void {
    if (first === 0x6e) this.#spans.clear(slot);
    else if (first <= 0x39) {
      // Hardly any number is looked up by its hash: that costs more than it is worth.
      this.#spans.set(slot, start, end, 0);
    } else {
      this.#spans.odd = true;
      this.#spans.clear(slot);
    }
  }

  /**
   * A key that is not the expected one, and its colon: sets its number, and its slot (-1 for one that is not wanted),
   * and gives the first place of its value, or -1. `last` is the number of the key before.
   */
  #otherKey(from: number, last: number): number {
    const keys = this.#keys;
    const key = keys.find(last, this.#spans.view, from);
    if (key < 0) return this.#newKey(from, last);
    this.#found = key;
    this.#slot = keys.slot[key] as number;
    return this.#space(from + (keys.length[key] as number));
  }

  #newKey(from: number, last: number): number {
    const { bytes, view } = this.#spans;
    // Stays so for a key that is too long to be remembered.
    this.#found = last;
    if (bytes[from] !== 0x22) return -1;
    const end = this.#string(from + 1);
    if (end < 0) return -1;
    const colon = this.#space(end + 1);
    if (bytes[colon] !== 0x3a) return -1;
    const length = colon + 1 - from;
    // A key that is too long to be remembered is still looked up: its bytes may be escapes.
    this.#slot = this.#slots.get(JSON.parse(bytes.toString('utf8', from, end + 1)) as string) ?? -1;
    // With a line feed before its colon it would be found across the end of a line in a block.
    if (length <= REMEMBERED_BYTES && !bytes.subarray(end, colon).includes(LF)) {
      this.#found = this.#keys.add(last, view, from, length, this.#slot);
    }
    return this.#space(colon + 1);
  }

  /** From after the opening quote to the closing one; -1 where the string is broken. */
  #string(from: number): number {
    const { bytes, view } = this.#spans;
    let p = from;
    let marks = specials(view.getInt32(p, true));
    while (marks === 0) marks = specials(view.getInt32((p += 4), true));
    p += firstMark(marks);
    return bytes[p] === 0x22 ? p : this.#codedString(p);
  }

  /** The rest of a string from its first byte that is not plain. */
  #codedString(from: number): number {
    const { bytes, view } = this.#spans;
    let p = from;
    for (;;) {
      const c = bytes[p] as number;
      if (c === 0x22) return p;
      if (c < 0x20) return -1;
      p++;
      if (c === 0x5c) {
        const escaped = bytes[p++] as number;
        if (escaped === 0x75) {
          for (const last = p + 4; p < last; p++) if (!isHex(bytes[p] as number)) return -1;
        } else if (!isEscape(escaped)) return -1;
      }
      let marks = specials(view.getInt32(p, true));
      while (marks === 0) marks = specials(view.getInt32((p += 4), true));
      p += firstMark(marks);
    }
  }

  /** Passes over one value; gives the place after it, or -1. */
  #value(p: number, depth: number): number {
    const c = this.#spans.bytes[p];
    if (c === 0x22) {
      const end = this.#string(p + 1);
      return end < 0 ? -1 : end + 1;
    }
    if (c === 0x6e) return this.#word(p, NULL_WORD);
    if (c === 0x74) return this.#word(p, TRUE_WORD);
    if (c === 0x66) return this.#word(p, FALSE_WORD);
    if (c !== 0x7b && c !== 0x5b) return this.#number(p);
    if (depth < MAX_DEPTH) return this.#nested(p, depth + 1);
    this.#deep = true;
    return -1;
  }

  /** An object or a list that is not looked into. */
  #nested(from: number, depth: number): number {
    const { bytes } = this.#spans;
    const object = bytes[from] === 0x7b;
    const close = object ? 0x7d : 0x5d;
    let p = this.#space(from + 1);
    if (bytes[p] === close) return p + 1;
    for (;;) {
      if (object) {
        const keyEnd = bytes[p] === 0x22 ? this.#string(p + 1) : -1;
        if (keyEnd < 0) return -1;
        p = this.#space(keyEnd + 1);
        if (bytes[p] !== 0x3a) return -1;
        p = this.#space(p + 1);
      }
      p = this.#value(p, depth);
      if (p < 0) return -1;
      p = this.#space(p);
      const c = bytes[p];
      if (c === close) return p + 1;
      if (c !== 0x2c) return -1;
      p = this.#space(p + 1);
    }
  }

  /** A number that begins with 1 to 9, where it mostly is a whole one. */
  #integer(from: number): number {
    const { bytes } = this.#spans;
    let p = from + 1;
    while ((bytes[p] as number) >= 0x30 && (bytes[p] as number) <= 0x39) p++;
    return bytes[p] === 0x2c || bytes[p] === 0x7d ? p : this.#number(from);
  }

  #word(from: number, word: Uint8Array): number {
    const { bytes } = this.#spans;
    for (let i = 1; i < word.length; i++) if (bytes[from + i] !== word[i]) return -1;
    return from + word.length;
  }

  #number(from: number): number {
    const { bytes } = this.#spans;
    let p = bytes[from] === 0x2d ? from + 1 : from;
    p = bytes[p] === 0x30 ? p + 1 : this.#digits(p);
    if (p > 0 && bytes[p] === 0x2e) p = this.#digits(p + 1);
    if (p > 0 && (bytes[p] === 0x65 || bytes[p] === 0x45)) {
      p++;
      p = this.#digits(bytes[p] === 0x2b || bytes[p] === 0x2d ? p + 1 : p);
    }
    return p;
  }

  /** One digit or more; gives the place after them, or -1. */
  #digits(from: number): number {
    const { bytes } = this.#spans;
    let p = from;
    while ((bytes[p] as number) >= 0x30 && (bytes[p] as number) <= 0x39) p++;
    return p === from ? -1 : p;
  }

  #space(from: number): number {
    const { bytes } = this.#spans;
    let p = from;
    for (;;) {
      const c = bytes[p];
      if (c !== 0x20 && c !== 0x09 && c !== 0x0d && (c !== LF || this.#spans.block)) return p;
      p++;
    }
  }
}

function isHex(c: number): boolean {
  return (c >= 0x30 && c <= 0x39) || ((c | 0x20) >= 0x61 && (c | 0x20) <= 0x66);
}

/** After a backslash: one of `"` `\` `/` b f n r t. */
function isEscape(c: number): boolean {
  return (
    c === 0x22 ||
    c === 0x5c ||
    c === 0x2f ||
    c === 0x62 ||
    c === 0x66 ||
    c === 0x6e ||
    c === 0x72 ||
    c === 0x74
  );
}
