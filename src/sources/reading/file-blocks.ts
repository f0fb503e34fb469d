import { closeSync, openSync, readSync } from 'node:fs';
import { InterlockError } from '../../access/index.ts';
import { digestBlock, roomForDigests } from './block-digest.ts';
import { BLOCK_BYTES, BLOCK_LINES, type SharedFile } from './blocks.ts';
import type { Reader } from '../source.ts';
import { LineFramer, linesInto } from './framing.ts';

const LF = 0x0a;
/** How much is read at once behind a block, to find the end of its last line. */
const TAIL_BYTES = 64 * 1024;

/** A file of `size` bytes of which nothing was read yet. */
export function sharedFile(path: string, size: number): SharedFile {
  const blocks = Math.ceil(size / BLOCK_BYTES);
  return {
    path,
    size,
    next: new SharedArrayBuffer(4),
    lines: new SharedArrayBuffer(4 * blocks),
    digests: roomForDigests(blocks),
  };
}

/** Where the lines go. Line `n` of block `i` is numbered as {@link BLOCK_LINES} says. */
export interface BlockLines extends Pick<Reader, 'line' | 'lines'> {
  oversized(head: Buffer, number: number): void;
}

/** One thread's share of a file. Close it in any case. */
export class FileBlocks {
  readonly #file: SharedFile;
  readonly #next: Int32Array;
  readonly #lines: Int32Array;
  readonly #handle: number;
  /** The byte before the block, and the block. */
  readonly #memory = Buffer.allocUnsafe(1 + BLOCK_BYTES);

  constructor(file: SharedFile) {
    this.#file = file;
    this.#next = new Int32Array(file.next);
    this.#lines = new Int32Array(file.lines);
    try {
      this.#handle = openSync(file.path, 'r');
    } catch (cause) {
      throw new InterlockError('io', file.path, `${file.path} could not be opened a second time`, { cause });
    }
  }

  /** Bytes that some thread has taken so far. */
  get taken(): number {
    return Math.min(this.#file.size, Atomics.load(this.#next, 0) * BLOCK_BYTES);
  }

  /** Reads the next block that nobody has taken; false where none is left. Throws `io`. */
  readNext(to: BlockLines): boolean {
    const index = Atomics.add(this.#next, 0, 1);
    if (index >= this.#lines.length) return false;
    const start = index * BLOCK_BYTES;
    const end = Math.min(start + BLOCK_BYTES, this.#file.size);
    const before = index === 0 ? 0 : 1;
    const bytes = this.#read(this.#memory.subarray(0, before + end - start), start - before);
    const block = bytes.subarray(before);
    digestBlock(this.#file.digests, index, block);
    // A line belongs to the block that it starts in.
    const from = before === 0 || bytes[0] === LF ? 0 : block.indexOf(LF) + 1;
    if (from > 0 || before === 0 || bytes[0] === LF) this.#readLines(index, block.subarray(from), end, to);
    return true;
  }

  close(): void {
    closeSync(this.#handle);
  }

  #readLines(index: number, bytes: Buffer, end: number, to: BlockLines): void {
    const first = index * BLOCK_LINES;
    let number = first;
    const framer = new LineFramer(
      {
        lines: (lines) => {
          number = linesInto(to, lines, number);
        },
        oversized: (head) => to.oversized(head, ++number),
      },
      { atStart: index === 0 },
    );
    framer.push(bytes);
    if (bytes.length > 0 && bytes.at(-1) !== LF) this.#finishLine(framer, end);
    framer.end();
    this.#lines[index] = number - first;
  }

  /** The rest of a line that goes on behind its block. */
  #finishLine(framer: LineFramer, from: number): void {
    for (let at = from; at < this.#file.size; at += TAIL_BYTES) {
      const length = Math.min(TAIL_BYTES, this.#file.size - at);
      const tail = this.#read(Buffer.allocUnsafe(length), at);
      const stop = tail.indexOf(LF);
      framer.push(stop < 0 ? tail : tail.subarray(0, stop + 1));
      if (stop >= 0) return;
    }
  }

  #read(into: Buffer, position: number): Buffer {
    let length = 0;
    while (length < into.length) {
      const n = readSync(this.#handle, into, length, into.length - length, position + length);
      if (n === 0) {
        const { path } = this.#file;
        throw new InterlockError(
          'io',
          path,
          `${path} became shorter while it was read: nothing of it was taken in`,
        );
      }
      length += n;
    }
    return into;
  }
}
