import { InterlockError } from '../../access/index.ts';
import { encodeOid } from './oid.ts';
import { TAG } from './reader.ts';

/** An element of DER: its tag, its length in the shortest form, and the parts of its content one after another. */
export function element(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  let length = 0;
  for (const part of parts) length += part.length;
  const octets = length < 0x80 ? 0 : length < 0x100 ? 1 : length < 0x1_00_00 ? 2 : 3;
  if (length > 0xff_ff_ff) throw new RangeError('an element of DER is longer than 16 MiB');
  const out = Buffer.allocUnsafe(2 + octets + length);
  out[0] = tag;
  out[1] = octets === 0 ? length : 0x80 | octets;
  for (let i = 0; i < octets; i++) out[2 + i] = (length >> (8 * (octets - 1 - i))) & 0xff;
  let at = 2 + octets;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** A SEQUENCE of elements. */
export function sequence(...parts: readonly Uint8Array[]): Buffer {
  return element(TAG.sequence, ...parts);
}

/** A SET OF elements, in the order that DER asks for (X.690 section 11.6). */
export function set(...parts: readonly Uint8Array[]): Buffer {
  return element(TAG.set, ...parts.toSorted((one, other) => Buffer.compare(one, other)));
}

/** An INTEGER: a number from 0 to 2^53 - 1, or the big-endian bytes of a number that is not negative. */
export function integer(value: number | Uint8Array, tag: number = TAG.integer): Buffer {
  const bytes = typeof value === 'number' ? numberBytes(value) : Buffer.from(value);
  let first = 0;
  while (first < bytes.length - 1 && bytes[first] === 0) first++;
  const shortest = bytes.subarray(first);
  const sign = (shortest[0] ?? 0) >= 0x80 || shortest.length === 0 ? Buffer.alloc(1) : Buffer.alloc(0);
  return element(tag, sign, shortest);
}

function numberBytes(value: number): Buffer {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is no number to write`);
  return Buffer.from(value.toString(16).padStart(14, '0'), 'hex');
}

/** An OBJECT IDENTIFIER from its dotted form. */
export function oid(dotted: string): Buffer {
  return element(TAG.oid, encodeOid(dotted));
}

/** An OCTET STRING. */
export function octetString(...parts: readonly Uint8Array[]): Buffer {
  return element(TAG.octetString, ...parts);
}

/** A BIT STRING of whole bytes. */
export function bitString(bytes: Uint8Array): Buffer {
  return element(TAG.bitString, Buffer.alloc(1), bytes);
}

/** A UTF8String. */
export function utf8String(text: string): Buffer {
  return element(TAG.utf8String, Buffer.from(text, 'utf8'));
}

/** NULL. */
export const NULL: Buffer = Buffer.from([TAG.null, 0]);
/** BOOLEAN TRUE. */
export const TRUE: Buffer = Buffer.from([TAG.boolean, 1, 0xff]);

/**
 * Writes DER from its end to its beginning into a buffer made once: the length of every element is known when its
 * header is written, and nothing is allocated or moved. A caller writes the last element first.
 */
export class DerWriter {
  readonly bytes: Buffer;
  /** Where what was written begins. */
  at: number;

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size);
    this.at = size;
  }

  /** Starts anew: what is written next ends at `end`. */
  reset(end: number): void {
    this.at = end;
  }

  /** Bytes as they are. */
  raw(part: Buffer): void {
    this.at = this.#room(part.length);
    // Short parts, the usual ones, are copied faster byte by byte than by a call into the runtime.
    if (part.length > 40) part.copy(this.bytes, this.at);
    else for (let i = 0; i < part.length; i++) this.bytes[this.at + i] = part[i] as number;
  }

  /** Text of ASCII characters as they are; the caller has checked that. */
  ascii(text: string): void {
    this.at = this.#room(text.length);
    this.bytes.write(text, this.at, 'latin1');
  }

  /** One byte. */
  byte(value: number): void {
    this.at = this.#room(1);
    this.bytes[this.at] = value;
  }

  /** The header of an element whose content is everything written since `end`. */
  header(tag: number, end: number): void {
    const length = end - this.at;
    const { bytes } = this;
    let at = this.#room(5);
    at += 5;
    if (length < 0x80) bytes[--at] = length;
    else {
      let octets = 0;
      for (let rest = length; rest > 0; rest >>= 8, octets++) bytes[--at] = rest & 0xff;
      bytes[--at] = 0x80 | octets;
    }
    bytes[--at] = tag;
    this.at = at;
  }

  /** Where something of this length begins; throws `limit` where the buffer has no room for it. */
  #room(length: number): number {
    if (this.at < length) {
      throw new InterlockError(
        'limit',
        'certificate',
        `a certificate has at most ${this.bytes.length} bytes`,
      );
    }
    return this.at - length;
  }
}
