import { type FileHandle, open } from 'node:fs/promises';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { InterlockError } from '../../access/index.ts';
import { BlockDigest } from './block-digest.ts';

/** How much of a recording is looked at to find its format, in bytes. */
export const HEAD_BYTES = 64 * 1024;
/** Read and decompressed this many bytes at a time. */
const CHUNK_BYTES = 512 * 1024;
/**
 * A recording that is more than this many times larger than its file, beyond {@link BOMB_BYTES}, is a
 * decompression bomb: gzip reaches 1,032 at most (zlib.net/zlib_tech.html), logs 10 to 100.
 */
const BOMB_RATIO = 2000;
const BOMB_BYTES = 1024 ** 3;

const GZIP = Buffer.from([0x1f, 0x8b]);
const ZSTD = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);

/** A recording that is open for reading, once, from its start. Close it in any case. */
export interface Recording {
  /** Its path, or `standard input`. */
  readonly name: string;
  /** Size of the file in bytes, compressed as it lies there; undefined for a pipe. */
  readonly size: number | undefined;
  /** Known once the head was read. */
  readonly compressed: boolean;
  /** Whether it can be opened and read a second time: a file can, a pipe cannot. */
  readonly repeatable: boolean;
  /** Bytes of the file read so far, to hold against `size`. */
  bytesRead: number;
  /** Bytes of content read so far, decompressed. */
  readonly bytes: number;
  /**
   * The first {@link HEAD_BYTES} of the content, or all of it where it is shorter. They are read again by `chunks`.
   * What can be had of a recording that is cut off is given; `chunks` then ends with the error.
   */
  head(): Promise<Buffer>;
  /** The content. A chunk may be kept: its memory is not used again. */
  chunks(): AsyncIterable<Buffer>;
  /** Digest in hex of all content, whatever it was compressed with ({@link BlockDigest}). Only after its end. */
  digest(): string;
  /** Says that others have read the whole file, and what its digest is. */
  readElsewhere(digest: string): void;
  close(): Promise<void>;
}

/**
 * Opens a file, or standard input for `-`. gzip (also of several members) and zstd are known by their first
 * bytes, never by name. Errors, here and while reading: `not_found`, `io`, `invalid_recording` (its compression
 * is cut off or damaged), `limit` (a decompression bomb).
 */
export async function openRecording(path: string, stdin: Readable = process.stdin): Promise<Recording> {
  if (path === '-') return new OpenRecording('standard input', undefined, stdin);
  let handle: FileHandle | undefined;
  try {
    handle = await open(path);
    const stat = await handle.stat();
    if (stat.isDirectory()) {
      throw new InterlockError(
        'io',
        path,
        `${path} is a directory: name the recordings in it, for example ${path}/*`,
      );
    }
    const stream = handle.createReadStream({ highWaterMark: CHUNK_BYTES });
    const { size } = stat;
    return new OpenRecording(path, stat.isFile() ? size : undefined, stream);
  } catch (error) {
    await handle?.close();
    throw fileFailure(path, error);
  }
}

class OpenRecording implements Recording {
  readonly name: string;
  readonly size: number | undefined;
  bytesRead = 0;
  bytes = 0;
  compressed = false;
  readonly #content: AsyncIterator<Buffer>;
  readonly #hash = new BlockDigest();
  readonly #stream: Readable;
  #ahead: Buffer[] = [];
  /** What ended the reading of the head, to be thrown where the content would go on. */
  #failure: unknown;
  #digest: string | undefined;

  constructor(name: string, size: number | undefined, stream: Readable) {
    this.name = name;
    this.size = size;
    this.#stream = stream;
    this.#content = this.#decompressed(this.#stored(stream));
  }

  get repeatable(): boolean {
    return this.size !== undefined;
  }

  async head(): Promise<Buffer> {
    let length = this.#ahead.reduce((sum, chunk) => sum + chunk.length, 0);
    try {
      while (length < HEAD_BYTES && this.#failure === undefined) {
        const next = await this.#content.next();
        if (next.done === true) break;
        this.#ahead.push(next.value);
        length += next.value.length;
      }
    } catch (error) {
      if (length === 0) throw error;
      this.#failure = error;
    }
    return Buffer.concat(this.#ahead, Math.min(length, HEAD_BYTES));
  }

  async *chunks(): AsyncGenerator<Buffer> {
    const ahead = this.#ahead;
    this.#ahead = [];
    for (const chunk of ahead) yield this.#counted(chunk);
    if (this.#failure !== undefined) throw this.#failure;
    for (let next = await this.#content.next(); next.done !== true; next = await this.#content.next()) {
      yield this.#counted(next.value);
    }
    this.#digest = this.#hash.finish();
  }

  digest(): string {
    if (this.#digest === undefined)
      throw new TypeError('a recording has a digest once it was read to its end');
    return this.#digest;
  }

  readElsewhere(digest: string): void {
    this.#digest = digest;
    this.bytes = this.size ?? this.bytes;
  }

  async close(): Promise<void> {
    await this.#content.return?.();
    this.#stream.destroy();
  }

  #counted(chunk: Buffer): Buffer {
    this.#hash.update(chunk);
    this.bytes += chunk.length;
    return chunk;
  }

  /** The bytes as they lie in the file. */
  async *#stored(stream: Readable): AsyncGenerator<Buffer> {
    try {
      for await (const chunk of stream) {
        // A byte stream gives Buffers; one that was given an encoding gives strings.
        const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : (chunk as Buffer);
        this.bytesRead += bytes.length;
        yield bytes;
      }
    } catch (error) {
      throw fileFailure(this.name, error);
    }
  }

  async *#decompressed(stored: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
    const start = await firstBytes(stored, ZSTD.length);
    const all = (async function* () {
      if (start.length > 0) yield start;
      yield* stored;
    })();
    if (startsWith(start, GZIP)) yield* this.#unpacked(all, 'gzip');
    else if (startsWith(start, ZSTD)) yield* this.#unpacked(all, 'zstd');
    else yield* all;
  }

  async *#unpacked(stored: AsyncGenerator<Buffer>, kind: 'gzip' | 'zstd'): AsyncGenerator<Buffer> {
    const unpack = (kind === 'gzip' ? createGunzip : createZstdDecompress)({ chunkSize: CHUNK_BYTES });
    this.compressed = true;
    // Failures of either stream end the loop below by an exception; the callback has nothing to add.
    pipeline(stored, unpack, () => {});
    let bytes = 0;
    try {
      for await (const chunk of unpack) {
        bytes += chunk.length;
        if (bytes > BOMB_BYTES && bytes > BOMB_RATIO * this.bytesRead) throw bomb(this.name);
        yield chunk;
      }
    } catch (error) {
      throw error instanceof InterlockError ? error : compressionFailure(this.name, kind, error);
    }
    // Node ends a zstd stream without an error where bytes follow that are no frame.
    if (kind === 'zstd' && unpack.bytesWritten < this.bytesRead) throw cutOff(this.name, kind);
  }
}

/** Chunks up to at least `length` bytes, as one; fewer where the stream ends before. */
async function firstBytes(stored: AsyncGenerator<Buffer>, length: number): Promise<Buffer> {
  let start: Buffer = Buffer.alloc(0);
  while (start.length < length) {
    const next = await stored.next();
    if (next.done === true) break;
    start = start.length === 0 ? next.value : Buffer.concat([start, next.value]);
  }
  return start;
}

function startsWith(bytes: Buffer, magic: Buffer): boolean {
  return bytes.subarray(0, magic.length).equals(magic);
}

function bomb(name: string): InterlockError {
  return new InterlockError(
    'limit',
    name,
    `${name} grows to more than ${BOMB_RATIO} times its size when it is decompressed: no recording does that; nothing of it was taken in`,
    { place: { file: name } },
  );
}

function cutOff(name: string, kind: string, cause?: unknown): InterlockError {
  return new InterlockError(
    'invalid_recording',
    name,
    `${name} ends in the middle of its ${kind} data: copy it again; nothing of it was taken in`,
    { cause, place: { file: name } },
  );
}

/** zlib says "unexpected end" (Z_BUF_ERROR) for both formats; anything else is damage. */
function compressionFailure(name: string, kind: string, cause: unknown): Error {
  if (cause instanceof Error && 'code' in cause && cause.code === 'Z_BUF_ERROR')
    return cutOff(name, kind, cause);
  return new InterlockError(
    'invalid_recording',
    name,
    `the ${kind} data of ${name} is damaged: copy it again; nothing of it was taken in`,
    { cause, place: { file: name } },
  );
}

function fileFailure(path: string, cause: unknown): Error {
  if (cause instanceof InterlockError) return cause;
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
  const place = { file: path };
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new InterlockError('not_found', path, `there is no file ${path}`, { cause, place });
  }
  const why =
    code === 'EACCES' || code === 'EPERM' ? 'you may not read it' : `the operating system said ${code}`;
  return new InterlockError('io', path, `${path} cannot be read: ${why}`, { cause, place });
}
