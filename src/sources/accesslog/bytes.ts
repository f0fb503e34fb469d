/**
 * Bytes compared, hashed and searched four at a time. All of these may read up to four bytes past the run they
 * are given, so every buffer that they are used on ends in {@link PAD} bytes that do not count.
 */

/** Bytes kept behind a run, so that four can always be read. Zeros, so that no string can run past them. */
export const PAD = 8;

// With x four bytes, `(x ^ c) - ONES` sets the high bit of a byte that equals c, and `x - SPACES` that of a byte
// below 0x20; a borrow can only mark bytes above the first true one, so the lowest mark is exact (Warren, Hacker's
// Delight, section 6-1). Bytes from 0x80 on are marked by x itself.
const ONES = 0x01010101;
const QUOTES = 0x22222222;
const BACKSLASHES = 0x5c5c5c5c;
const SPACES = 0x20202020;
const HIGHS = 0x80808080 | 0;
const PRIME = 0x9e3779b1 | 0;

/** Marks of the bytes of `x` that end a plain run in a JSON string: quote, backslash, control, not ASCII; or 0. */
export function specials(x: number): number {
  return (((x ^ QUOTES) - ONES) | ((x ^ BACKSLASHES) - ONES) | (x - SPACES) | x) & HIGHS;
}

/** Index (0 to 3) of the first marked byte; `marks` is not 0. */
export function firstMark(marks: number): number {
  return (31 - Math.clz32(marks & -marks)) >> 3;
}

/** A hash of `length` bytes. Equal hashes prove nothing, and an adversary can make them. */
export function hashBytes(view: DataView, from: number, length: number): number {
  let h = 0;
  let p = from;
  for (const last = from + (length & ~3); p < last; p += 4) h = fold(h, view.getInt32(p, true));
  return mixRest(h, view.getInt32(p, true), length & 3);
}

/** Takes four bytes more into a hash: quickly, for {@link mixRest} to finish. */
export function fold(h: number, x: number): number {
  return (((h << 5) | (h >>> 27)) + x) | 0;
}

/** A hash made of a hash and 32 bits more. */
export function mix(h: number, x: number): number {
  const product = Math.imul(h ^ x, PRIME);
  return (product << 13) | (product >>> 19);
}

/** Finishes a hash with the first `rest` (0 to 3) bytes of `x`. */
export function mixRest(h: number, x: number, rest: number): number {
  return mix(h, (x & ((1 << (rest << 3)) - 1)) ^ rest);
}

/**
 * Whether two runs of `length` bytes are equal, where neither holds a zero byte. Eight at a time are compared as
 * floating-point numbers: without zero bytes they make no zero, which has two forms. Bytes that make a NaN (0x7f or
 * 0xff before 0xf0 to 0xff) are equal to nothing; they are not in ASCII.
 */
export function sameBytes(a: DataView, aFrom: number, b: DataView, bFrom: number, length: number): boolean {
  if (length < 8) return sameFewBytes(a, aFrom, b, bFrom, length);
  const last = length - 8;
  for (let i = 0; i < last; i += 8) {
    if (a.getFloat64(aFrom + i, true) !== b.getFloat64(bFrom + i, true)) return false;
  }
  return a.getFloat64(aFrom + last, true) === b.getFloat64(bFrom + last, true);
}

/** The same for less than eight bytes. */
function sameFewBytes(a: DataView, aFrom: number, b: DataView, bFrom: number, length: number): boolean {
  const rest = (1 << ((length & 3) << 3)) - 1;
  let i = 0;
  if (length > 3) {
    if (a.getInt32(aFrom, true) !== b.getInt32(bFrom, true)) return false;
    i = 4;
  }
  return ((a.getInt32(aFrom + i, true) ^ b.getInt32(bFrom + i, true)) & rest) === 0;
}

/** Marks of the bytes of `x` that equal the one that `repeated` holds four times; or 0. Only the first is exact. */
export function marksOf(x: number, repeated: number): number {
  const difference = x ^ repeated;
  return (difference - ONES) & ~difference & HIGHS;
}

/** Copies `length` bytes, and up to three more that do not count. */
export function copyBytes(
  to: DataView,
  toFrom: number,
  from: DataView,
  fromFrom: number,
  length: number,
): void {
  for (let i = 0; i < length; i += 4) to.setInt32(toFrom + i, from.getInt32(fromFrom + i, true), true);
}
