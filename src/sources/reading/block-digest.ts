import { createHash } from 'node:crypto';
import { BLOCK_BYTES } from './blocks.ts';

const SHA256_BYTES = 32;

/**
 * The digest of a recording: SHA-256 over the SHA-256 of each of its blocks of {@link BLOCK_BYTES}, so that
 * several threads can each digest what they read.
 */
export class BlockDigest {
  readonly #blocks = createHash('sha256');
  #block = createHash('sha256');
  #length = 0;

  /** The next bytes of the content. */
  update(bytes: Buffer): void {
    let rest = bytes;
    while (rest.length > 0) {
      const part = rest.subarray(0, BLOCK_BYTES - this.#length);
      this.#block.update(part);
      this.#length += part.length;
      if (this.#length === BLOCK_BYTES) this.#closeBlock();
      rest = rest.subarray(part.length);
    }
  }

  /** The digest of all content in hex. Once. */
  finish(): string {
    if (this.#length > 0) this.#closeBlock();
    return this.#blocks.digest('hex');
  }

  #closeBlock(): void {
    this.#blocks.update(this.#block.digest());
    this.#block = createHash('sha256');
    this.#length = 0;
  }
}

/** Room for the digests of `blocks` blocks that several threads fill. */
export function roomForDigests(blocks: number): SharedArrayBuffer {
  return new SharedArrayBuffer(blocks * SHA256_BYTES);
}

/** Puts the digest of one block into its place. */
export function digestBlock(room: SharedArrayBuffer, index: number, bytes: Buffer): void {
  new Uint8Array(room).set(createHash('sha256').update(bytes).digest(), index * SHA256_BYTES);
}

/** What {@link BlockDigest} gives, from the digests of all blocks. */
export function digestOfBlocks(room: SharedArrayBuffer): string {
  return createHash('sha256').update(new Uint8Array(room)).digest('hex');
}
