import { InterlockError, SAMPLE_LENGTH } from '../../access/index.ts';
import { MAX_DOCUMENT_BYTES, MAX_LINE_BYTES, type Reader } from '../source.ts';

const LF = 0x0a;
const CR = 0x0d;
const BOM = Buffer.from([0xef, 0xbb, 0xbf]);

/** Takes what {@link LineFramer} cuts, in the order of the recording. */
export interface LineSink {
  /** Whole lines, one after the other, with their line feeds (the last one of a recording may have none). */
  lines(bytes: Buffer): void;
  /** One line that is longer than the limit: its first bytes. */
  oversized(head: Buffer): void;
}

/**
 * Cuts chunks at line ends. Bytes are copied only for a line that lies in two chunks or more. A line over
 * the limit is passed over without being held. A byte order mark at the start is taken off.
 */
export class LineFramer {
  readonly #sink: LineSink;
  readonly #limit: number;
  /** The parts of a line whose end has not come yet. */
  #held: Buffer[] = [];
  #heldBytes = 0;
  #passingOver = false;
  #atStart: boolean;

  /** `atStart`: whether the first bytes are the recording's first, where a byte order mark may stand. */
  constructor(
    sink: LineSink,
    { limit = MAX_LINE_BYTES, atStart = true }: { limit?: number; atStart?: boolean } = {},
  ) {
    this.#sink = sink;
    this.#limit = limit;
    this.#atStart = atStart;
  }

  push(chunk: Buffer): void {
    let from = 0;
    if (this.#heldBytes > 0 || this.#passingOver) {
      const end = chunk.indexOf(LF);
      if (end < 0) {
        this.#hold(chunk);
        return;
      }
      from = end + 1;
      this.#hold(chunk.subarray(0, from));
      this.#release();
    }
    const last = chunk.lastIndexOf(LF);
    if (last >= from) {
      this.#emit(chunk.subarray(from, last + 1));
      from = last + 1;
    }
    if (from < chunk.length) this.#hold(chunk.subarray(from));
  }

  end(): void {
    this.#release();
  }

  #hold(part: Buffer): void {
    if (this.#passingOver) return;
    this.#held.push(part);
    this.#heldBytes += part.length;
    // The line feed, and a carriage return before it, do not count.
    if (this.#heldBytes <= this.#limit + 2) return;
    this.#sink.oversized(sampleOf(this.#held));
    this.#atStart = false;
    this.#passingOver = true;
    this.#held = [];
    this.#heldBytes = 0;
  }

  #release(): void {
    const held = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    this.#passingOver = false;
    if (held.length > 0) this.#emit(held.length === 1 ? (held[0] as Buffer) : Buffer.concat(held));
  }

  #emit(bytes: Buffer): void {
    const start = this.#atStart ? withoutBom(bytes) : bytes;
    this.#atStart = false;
    if (start.length > 0) this.#sink.lines(start);
  }
}

function sampleOf(parts: readonly Buffer[]): Buffer {
  const sample = Buffer.alloc(SAMPLE_LENGTH);
  let length = 0;
  for (const part of parts) {
    if (length === SAMPLE_LENGTH) break;
    length += part.copy(sample, length);
  }
  return sample.subarray(0, length);
}

/** The bytes without a UTF-8 byte order mark. */
export function withoutBom(bytes: Buffer): Buffer {
  return bytes.subarray(0, BOM.length).equals(BOM) ? bytes.subarray(BOM.length) : bytes;
}

/**
 * Calls `line` for every line in `bytes` that is not empty, without its line end, as a view. Lines are numbered
 * after `before`, empty ones too; the number of the last one is returned.
 */
export function eachLine(
  bytes: Buffer,
  before: number,
  line: (bytes: Buffer, number: number) => void,
): number {
  let number = before;
  let from = 0;
  while (from < bytes.length) {
    let end = bytes.indexOf(LF, from);
    if (end < 0) end = bytes.length;
    number++;
    const stop = end > from && bytes[end - 1] === CR ? end - 1 : end;
    if (stop > from) line(bytes.subarray(from, stop), number);
    from = end + 1;
  }
  return number;
}

/** Gives a reader every line in `bytes`, numbered as by {@link eachLine}: the number of the last one is returned. */
export function linesInto(reader: Pick<Reader, 'line' | 'lines'>, bytes: Buffer, before: number): number {
  if (reader.lines !== undefined) return reader.lines(bytes, before);
  return eachLine(bytes, before, (line, number) => reader.line(line, number));
}

/** All chunks as one document. Throws `limit` when they are more than `limit` bytes. */
export async function wholeDocument(
  chunks: AsyncIterable<Buffer>,
  name: string,
  limit: number = MAX_DOCUMENT_BYTES,
): Promise<Buffer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    if (bytes > limit) {
      throw new InterlockError(
        'limit',
        name,
        `${name} is a document of more than ${limit / 1024 ** 2} MiB: split it, for example by namespace; nothing of it was taken in`,
        { place: { file: name } },
      );
    }
    parts.push(chunk);
  }
  return withoutBom(parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts, bytes));
}
