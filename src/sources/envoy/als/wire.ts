// The wire format of Protocol Buffers (protobuf.dev/programming-guides/encoding), as far as access logs use it.

/** Wire types. Groups (3, 4) were given up before Envoy was written: they are refused. */
export const VARINT = 0;
const FIXED64 = 1;
export const LENGTH = 2;
const FIXED32 = 5;

/** The bytes are no message: they end too early, or hold what no encoder writes. */
export class WireError extends Error {}

/**
 * Reads the fields of one message at a time, in place. A message inside is read by {@link enter}, its own fields, and
 * {@link leave}: only fields that are known are entered, so depth is bounded by the program and not by the input.
 */
export class Wire {
  readonly #bytes: Buffer;
  #at: number;
  #end: number;
  /** Number and wire type of the field that {@link next} found. */
  field = 0;
  type = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#at = 0;
    this.#end = bytes.length;
  }

  /** Moves to the next field of the message; false at its end. */
  next(): boolean {
    if (this.#at >= this.#end) return false;
    const key = this.#varint();
    this.field = Math.floor(key / 8);
    this.type = key % 8;
    if (this.field === 0) throw new WireError('a field without a number');
    return true;
  }

  /** Whether the field is that one, with a text or a message in it. */
  holds(field: number): boolean {
    return this.type === LENGTH && this.field === field;
  }

  /** Whether the field is that one, with a number in it. */
  counts(field: number): boolean {
    return this.type === VARINT && this.field === field;
  }

  /** Goes into the message that the field holds; gives what {@link leave} needs. */
  enter(): number {
    const length = this.#length();
    const outer = this.#end;
    this.#end = this.#at + length;
    return outer;
  }

  /** Goes back to the message around, behind the field. */
  leave(outer: number): void {
    this.#at = this.#end;
    this.#end = outer;
  }

  /** A whole number without a sign; above 2^53 it is not exact. */
  number(): number {
    return this.#varint();
  }

  /** The low 32 bits as a number with a sign: enums, and counts that never are as large. */
  int32(): number {
    return this.#varint() | 0;
  }

  bool(): boolean {
    return this.#varint() !== 0;
  }

  /** A text, of which at most `most` bytes are read; a longer one is given as undefined. */
  text(most: number): string | undefined {
    const length = this.#length();
    const start = this.#at;
    this.#at += length;
    return length > most ? undefined : this.#bytes.toString('utf8', start, this.#at);
  }

  /** Steps over the field. */
  skip(): void {
    switch (this.type) {
      case VARINT:
        this.#varint();
        return;
      case FIXED64:
        return this.#step(8);
      case LENGTH:
        return this.#step(this.#length());
      case FIXED32:
        return this.#step(4);
      default:
        throw new WireError(`a field of wire type ${this.type}`);
    }
  }

  #step(bytes: number): void {
    if (this.#at + bytes > this.#end) throw new WireError('a field that is cut off');
    this.#at += bytes;
  }

  #length(): number {
    const length = this.#varint();
    if (this.#at + length > this.#end) throw new WireError('a field that is cut off');
    return length;
  }

  #varint(): number {
    const bytes = this.#bytes;
    let value = 0;
    let scale = 1;
    // At most ten bytes.
    for (let i = 0; i < 10; i++) {
      if (this.#at >= this.#end) throw new WireError('a number that is cut off');
      const byte = bytes[this.#at++] as number;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 0x80;
    }
    throw new WireError('a number of more than ten bytes');
  }
}
