import type { ErrorCode, Fact, TallyData } from '../../access/index.ts';
import type { LineSink } from './framing.ts';
import type { Format, SourceOptions } from '../source.ts';

/** Size of a block of lines that is sent to a thread, in bytes. A longer line stays on this thread. */
export const BLOCK_BYTES = 4 * 1024 * 1024;
/**
 * While the lines of earlier blocks are not counted yet, line `n` of block `i` is numbered `i * BLOCK_LINES + n`.
 * A block has fewer lines than this, even one of line feeds only.
 */
export const BLOCK_LINES = 2 * BLOCK_BYTES;

/** A plain file that several threads read, each taking the next block that nobody has. Shared by all of them. */
export interface SharedFile {
  readonly path: string;
  readonly size: number;
  /** Index of the next block: 32 bits, counted up atomically. */
  readonly next: SharedArrayBuffer;
  /** Lines that start in each block: 32 bits each. */
  readonly lines: SharedArrayBuffer;
  readonly digests: SharedArrayBuffer;
}

/** What a thread is started with. */
export interface Job {
  readonly format: Format;
  readonly options: SourceOptions;
  readonly facts: readonly Fact[];
  /** URL of the module that exports the source. */
  readonly module: string;
  /** The file to take blocks of; absent where blocks are sent. */
  readonly file?: SharedFile;
}

/** Whole lines: `length` bytes at the start of `memory`. The memory goes with it and comes back with `done`. */
export interface Block {
  readonly kind: 'block';
  readonly index: number;
  readonly memory: ArrayBuffer;
  readonly length: number;
}

export type ToWorker = Block | { readonly kind: 'end' };
export type FromWorker =
  | { readonly kind: 'done'; readonly index: number; readonly lines: number; readonly memory: ArrayBuffer }
  | { readonly kind: 'tally'; readonly data: TallyData }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly subject: string; readonly text: string };

/** Where {@link Spreader} puts what it is given. Every call has an `index` of its own, in order of the recording. */
export interface Places {
  /** Whether another thread can take a block now. */
  hasRoom(): boolean;
  /** {@link BLOCK_BYTES} of memory, new or used before. */
  memory(): ArrayBuffer;
  send(block: Block): void;
  /** Reads lines on this thread. */
  here(index: number, lines: Buffer): void;
  oversized(index: number, head: Buffer): void;
}

/** Gathers lines into blocks for other threads while these have room, and leaves the rest to this thread. */
export class Spreader implements LineSink {
  readonly #places: Places;
  #memory: ArrayBuffer | undefined;
  #length = 0;
  #index = 0;

  constructor(places: Places) {
    this.#places = places;
  }

  lines(bytes: Buffer): void {
    if (this.#length + bytes.length > BLOCK_BYTES) this.flush();
    if (this.#memory === undefined) {
      if (bytes.length > BLOCK_BYTES || !this.#places.hasRoom()) {
        this.#places.here(this.#index++, bytes);
        return;
      }
      this.#memory = this.#places.memory();
    }
    bytes.copy(new Uint8Array(this.#memory, this.#length));
    this.#length += bytes.length;
  }

  oversized(head: Buffer): void {
    this.flush();
    this.#places.oversized(this.#index++, head);
  }

  /** Sends what was gathered. Call it after the last line. */
  flush(): void {
    if (this.#memory === undefined) return;
    this.#places.send({ kind: 'block', index: this.#index++, memory: this.#memory, length: this.#length });
    this.#memory = undefined;
    this.#length = 0;
  }
}

/** Gives the absolute number of a line numbered as {@link BLOCK_LINES} says; `lines` are the lines of each block. */
export function lineNumbering(lines: ReadonlyMap<number, number>): (number: number) => number {
  const before: number[] = [];
  let sum = 0;
  for (let index = 0; index < lines.size; index++) {
    before.push(sum);
    sum += lines.get(index) ?? 0;
  }
  return (number) => (before[Math.floor(number / BLOCK_LINES)] ?? 0) + (number % BLOCK_LINES);
}
