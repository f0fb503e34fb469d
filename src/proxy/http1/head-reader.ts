import { CR, LF } from './bytes.ts';
import { MAX_HEAD_BYTES } from './request-head.ts';

const HEAD_END = Buffer.from('\r\n\r\n');

/** No whole head is there yet; it is longer than {@link MAX_HEAD_BYTES}; it holds a line end that is none. */
export const MORE = -1;
export const TOO_LONG = -2;
export const BROKEN = -3;

/**
 * Gathers bytes until a whole head is there. A head that arrives in one piece, as most do, is not copied; one that
 * trickles in is put together in a buffer that grows by doubling, so that a byte at a time costs no more than its bytes.
 */
export class HeadReader {
  #kept: Buffer | undefined;
  #length = 0;

  /** How many bytes of a head that is not whole are held. */
  get held(): number {
    return this.#length;
  }

  /**
   * Takes a chunk. Gives where the head ends in {@link bytes}, or one of the three constants. What follows the head is
   * in `bytes` as well.
   */
  push(chunk: Buffer): number {
    if (this.#length > 0) return this.#keep(chunk, this.#length);
    const end = this.#find(chunk, 0);
    return end === MORE ? this.#keep(chunk, 0) : end;
  }

  /** What was read up to now; valid after {@link push} gave an end. */
  bytes: Buffer = Buffer.alloc(0);

  /** Forgets the head that was found, for the next one. */
  reset(): void {
    this.#kept = undefined;
    this.#length = 0;
  }

  #keep(chunk: Buffer, before: number): number {
    const length = before + chunk.length;
    let kept = this.#kept;
    if (kept === undefined || kept.length < length) {
      // Never more than a head and one chunk: beyond MAX_HEAD_BYTES nothing is asked for.
      const larger = Buffer.allocUnsafe(Math.max(length, 2 * before, 1024));
      if (kept !== undefined) kept.copy(larger, 0, 0, before);
      kept = larger;
      this.#kept = larger;
    }
    chunk.copy(kept, before);
    this.#length = length;
    const all = kept.subarray(0, length);
    // The empty line may have begun up to three bytes before this chunk.
    const end = this.#find(all, Math.max(0, before - 3));
    if (end !== MORE) return end;
    if (length >= MAX_HEAD_BYTES) return TOO_LONG;
    return hasBareLineEnd(all, Math.max(0, before - 1)) ? BROKEN : MORE;
  }

  #find(all: Buffer, from: number): number {
    // One empty line before a head is passed over (RFC 9112 section 2.2).
    const start = all[0] === CR && all[1] === LF ? 2 : 0;
    const found = all.indexOf(HEAD_END, Math.max(start, from));
    if (found < 0 || found + HEAD_END.length > MAX_HEAD_BYTES) return MORE;
    this.bytes = start === 0 ? all : all.subarray(start);
    return found + HEAD_END.length - start;
  }
}

/** A sender that ends lines otherwise would wait for ever for an answer, or be understood otherwise by the next hop. */
function hasBareLineEnd(bytes: Buffer, from: number): boolean {
  for (let i = bytes.indexOf(LF, from); i >= 0; i = bytes.indexOf(LF, i + 1)) {
    if (bytes[i - 1] !== CR) return true;
  }
  return false;
}
