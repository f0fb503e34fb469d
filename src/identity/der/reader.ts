import { InterlockError } from '../../access/index.ts';

/** Tags of X.690 that certificates use, with the constructed bit where the standard asks for it. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  printableString: 0x13,
  teletexString: 0x14,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  universalString: 0x1c,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Elements within elements that a reader follows; the deepest structure here, a certificate's SAN, needs 8. */
const MAX_DEPTH = 24;
/** Length octets of one element: 16 MiB, far above every limit on a whole document. */
const MAX_LENGTH_OCTETS = 3;

/** The bytes are no DER, or not the structure that was to be read. */
export class DerError extends InterlockError {
  constructor(what: string, fault: string, at: number) {
    super('invalid_certificate', what, `${what} is malformed: ${fault}, at byte ${at}`);
  }
}

/** The same bytes as a Buffer, not copied. */
export function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Reads DER (X.690 section 10) element by element. Strict: definite and shortest lengths, tags of one byte, nothing
 * outside its parent. It looks at the bytes in place, so they must not change while it, or what it gave, is in use.
 */
export class DerReader {
  readonly bytes: Buffer;
  readonly end: number;
  /** What is read, for messages. */
  readonly what: string;
  readonly #depth: number;
  /** Where the next element begins. */
  at: number;
  /** The tag of the element read last. */
  tag = 0;
  /** Where the element read last begins, where its content begins, and where both end. */
  from = 0;
  start = 0;
  stop = 0;

  constructor(bytes: Buffer, what: string, at = 0, end = bytes.length, depth = 0) {
    this.bytes = bytes;
    this.what = what;
    this.at = at;
    this.end = end;
    this.#depth = depth;
    if (depth > MAX_DEPTH) throw new DerError(what, `it is nested more than ${MAX_DEPTH} deep`, at);
  }

  get done(): boolean {
    return this.at >= this.end;
  }

  /** The tag of the next element, or -1 where there is none. */
  peek(): number {
    return this.at < this.end ? (this.bytes[this.at] as number) : -1;
  }

  /** Reads the header of the next element and steps over it; gives its tag. */
  next(): number {
    const { bytes, end } = this;
    const from = this.at;
    if (from + 2 > end) throw this.fault('it ends too early');
    const tag = bytes[from] as number;
    if ((tag & 0x1f) === 0x1f) throw this.fault('a tag has more than one byte');
    let length = bytes[from + 1] as number;
    let start = from + 2;
    if (length >= 0x80) {
      const octets = length & 0x7f;
      if (octets === 0) throw this.fault('a length is indefinite');
      if (octets > MAX_LENGTH_OCTETS) throw this.fault('an element is too long');
      if (start + octets > end) throw this.fault('it ends too early');
      length = 0;
      for (let i = 0; i < octets; i++) length = (length << 8) | (bytes[start + i] as number);
      if (length < 0x80 || length >> ((octets - 1) * 8) === 0)
        throw this.fault('a length is not in its shortest form');
      start += octets;
    }
    if (length > end - start) throw this.fault('an element is longer than what it stands in');
    this.from = from;
    this.start = start;
    this.stop = start + length;
    this.at = this.stop;
    return (this.tag = tag);
  }

  /** Steps over the next element, which must have this tag. */
  expect(tag: number): this {
    if (this.at >= this.end || this.bytes[this.at] !== tag) {
      throw this.fault(`tag 0x${tag.toString(16).padStart(2, '0')} is missing`);
    }
    this.next();
    return this;
  }

  /** A reader of what is inside the next element, which must have this tag. */
  enter(tag: number): DerReader {
    this.expect(tag);
    return this.inside();
  }

  /** A reader of what is inside the element read last. */
  inside(start = this.start, stop = this.stop): DerReader {
    return new DerReader(this.bytes, this.what, start, stop, this.#depth + 1);
  }

  /** The content of the element read last, in place. */
  content(): Buffer {
    return this.bytes.subarray(this.start, this.stop);
  }

  /** The element read last with its header, in place. */
  whole(): Buffer {
    return this.bytes.subarray(this.from, this.stop);
  }

  /** There must be nothing more. */
  finish(): void {
    if (this.at !== this.end) throw this.fault('more follows than the standard allows');
  }

  /** An INTEGER's content, checked to be the shortest form (X.690 section 8.3.2). */
  integer(tag: number = TAG.integer): Buffer {
    this.#checkInteger(tag);
    return this.content();
  }

  #checkInteger(tag: number): void {
    this.expect(tag);
    const { bytes, start, stop } = this;
    if (start === stop) throw this.fault('a number is empty');
    const first = bytes[start] as number;
    if (stop - start > 1 && (first === 0 || first === 0xff)) {
      const negative = (bytes[start + 1] as number) >= 0x80;
      if ((first === 0xff) === negative) throw this.fault('a number is not in its shortest form');
    }
  }

  /** An INTEGER from 0 to 2^31 - 1. */
  smallInteger(tag: number = TAG.integer): number {
    this.#checkInteger(tag);
    const { bytes, start, stop } = this;
    if (stop - start > 4 || (bytes[start] as number) >= 0x80) throw this.fault('a number is out of range');
    let value = 0;
    for (let at = start; at < stop; at++) value = (value << 8) | (bytes[at] as number);
    return value;
  }

  /** A BOOLEAN (X.690 section 11.1). */
  boolean(): boolean {
    this.expect(TAG.boolean);
    const value = this.stop - this.start === 1 ? this.bytes[this.start] : -1;
    if (value !== 0 && value !== 0xff) throw this.fault('a boolean is neither 00 nor ff');
    return value === 0xff;
  }

  /** A BIT STRING of whole bytes, in place. */
  bitString(tag: number = TAG.bitString): Buffer {
    this.expect(tag);
    if (this.stop === this.start || this.bytes[this.start] !== 0)
      throw this.fault('a bit string does not consist of whole bytes');
    return this.bytes.subarray(this.start + 1, this.stop);
  }

  /** A BIT STRING of named bits (X.690 section 11.2.2): bit 0 is the lowest bit of the number. At most 16 bits. */
  namedBits(): number {
    this.expect(TAG.bitString);
    const { bytes, start, stop } = this;
    const length = stop - start - 1;
    const unused = length >= 0 ? (bytes[start] as number) : 8;
    if (unused > 7 || length > 2 || (length === 0 && unused !== 0))
      throw this.fault('named bits are malformed');
    if (length === 0) return 0;
    const last = bytes[stop - 1] as number;
    if ((last & ((1 << unused) - 1)) !== 0 || ((last >> unused) & 1) === 0)
      throw this.fault('named bits have bits that the standard leaves out');
    let bits = 0;
    for (let i = 0; i < length * 8; i++) {
      if (((bytes[start + 1 + (i >> 3)] as number) & (0x80 >> (i & 7))) !== 0) bits |= 1 << i;
    }
    return bits;
  }

  /** An error about what is read here. */
  fault(reason: string): DerError {
    return new DerError(this.what, reason, this.at);
  }
}
