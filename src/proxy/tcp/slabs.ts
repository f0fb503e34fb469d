/** Most buffers of one size that are kept for the next reads: 4 MB of the larger ones. */
const MAX_KEPT = 64;

/**
 * Buffers that reads fill and that are filled again once they are written out. V8 sees a buffer as memory that it has to
 * find again: a stream of fresh ones has it search the whole heap all the time.
 */
export class Slabs {
  readonly size: number;
  readonly #free: Buffer[] = [];
  /** By what they lie in: a chunk that came from elsewhere is never taken for one. */
  readonly #own = new WeakMap<ArrayBufferLike, Buffer>();

  constructor(size: number) {
    this.size = size;
  }

  /** The first bytes of `source`, at most {@link size}, in a slab. */
  copyOf(source: Buffer, length: number): Buffer {
    const slab = this.#free.pop() ?? this.#make();
    source.copy(slab, 0, 0, length);
    return slab.subarray(0, length);
  }

  #make(): Buffer {
    const made = Buffer.allocUnsafeSlow(this.size);
    this.#own.set(made.buffer, made);
    return made;
  }

  /**
   * Gives back the slab that a chunk lies in. Only for whoever has been given the chunk alone, and has kept no view of
   * it: the next read, of another connection, writes over it.
   */
  release(chunk: Buffer): void {
    const slab = this.#own.get(chunk.buffer);
    if (slab !== undefined && this.#free.length < MAX_KEPT && !this.#free.includes(slab))
      this.#free.push(slab);
  }
}

/** As much as is read from a socket at once. */
export const PLAIN_SLABS = new Slabs(65_536);
/** What one TLS record holds at most (RFC 8446 section 5.1). */
export const TLS_SLABS = new Slabs(16_384);
