import type { HourCounts } from '../../access/index.ts';

/**
 * Whole numbers as bytes: 7 bits a byte, lowest first, the high bit says that more follow (LEB128, as in
 * Protocol Buffers' varint); the sign goes into the lowest bit. Arithmetic instead of shifts, because counts
 * and times pass 32 bits.
 */
class Packer {
  #bytes = Buffer.allocUnsafe(4096);
  #length = 0;

  write(value: number): void {
    let rest = value < 0 ? -value * 2 - 1 : value * 2;
    if (this.#length + 10 > this.#bytes.length) {
      this.#bytes = Buffer.concat([this.#bytes], this.#bytes.length * 2);
    }
    while (rest >= 0x80) {
      this.#bytes[this.#length++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[this.#length++] = rest;
  }

  /** What was written, as a copy; the packer starts anew. */
  take(): Uint8Array {
    const taken = Uint8Array.prototype.slice.call(this.#bytes, 0, this.#length);
    this.#length = 0;
    return taken;
  }
}

const packer = new Packer();

/** Packs numbers with magnitudes below 2^52, in their order. */
export function packNumbers(values: Iterable<number>): Uint8Array {
  for (const value of values) packer.write(value);
  return packer.take();
}

/** Packs ascending numbers, each as its distance to the one before. */
export function packAscending(values: Iterable<number>): Uint8Array {
  let before = 0;
  for (const value of values) {
    packer.write(value - before);
    before = value;
  }
  return packer.take();
}

/** The numbers that {@link packAscending} packed. */
export function unpackAscending(bytes: Uint8Array): number[] {
  let sum = 0;
  return unpackNumbers(bytes).map((distance) => (sum += distance));
}

/** The numbers that {@link packNumbers} packed. */
export function unpackNumbers(bytes: Uint8Array): number[] {
  // As many as there are bytes that end one: no room to spare, in hundreds of thousands of lists.
  const values = Array.from<number>({ length: bytes.reduce((n, byte) => (byte < 0x80 ? n + 1 : n), 0) });
  let count = 0;
  let value = 0;
  let scale = 1;
  for (const byte of bytes) {
    value += (byte & 0x7f) * scale;
    if (byte >= 0x80) {
      scale *= 0x80;
      continue;
    }
    values[count++] = value % 2 === 0 ? value / 2 : -(value + 1) / 2;
    value = 0;
    scale = 1;
  }
  return values;
}

/** Packs the counters of an access: keys ascending, each as its distance to the one before, then its count. */
export function packCounts(counts: HourCounts): Uint8Array {
  let before = 0;
  for (const [key, n] of counts) {
    packer.write(key - before);
    packer.write(n);
    before = key;
  }
  return packer.take();
}

/** Adds the counters that {@link packCounts} packed into `counts`. */
export function unpackCounts(bytes: Uint8Array, counts: HourCounts): void {
  const cells = unpackNumbers(bytes);
  for (let i = 2; i < cells.length; i += 2) cells[i] = (cells[i] as number) + (cells[i - 2] as number);
  counts.takeOver(cells);
}
