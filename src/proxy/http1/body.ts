import { ChunkedBody, type OnChunkData } from './chunked.ts';
import { CHUNKED, UNSTATED } from './fields.ts';

/** A body that ends with its connection; only a response's may. */
export const UNTIL_CLOSE = -3;

/** Follows the body of one message to its end, by the length that its head gave. */
export class Body {
  readonly #chunks: ChunkedBody;
  /** Bytes that are left, or a way of framing. */
  #left = 0;

  /** `onChunkData` is told where data lies in chunks, for whoever does not forward them as they are. */
  constructor(onChunkData?: OnChunkData) {
    this.#chunks = new ChunkedBody(onChunkData);
  }

  /** The body comes in chunks. */
  get isChunked(): boolean {
    return this.#left === CHUNKED;
  }

  /**
   * `length` as of `Fields`, where {@link UNSTATED} is an empty body; or {@link UNTIL_CLOSE}. `trailers` as of
   * `ChunkedBody.reset`.
   */
  start(length: number, trailers?: ReadonlySet<string>): void {
    this.#left = length === UNSTATED ? 0 : length;
    if (length === CHUNKED) this.#chunks.reset(trailers);
  }

  get done(): boolean {
    return this.#left === CHUNKED ? this.#chunks.done : this.#left === 0;
  }

  get endsWithConnection(): boolean {
    return this.#left === UNTIL_CLOSE;
  }

  /** What is wrong with its framing; undefined while nothing is. */
  get fault(): string | undefined {
    return this.#left === CHUNKED ? this.#chunks.fault : undefined;
  }

  /** Follows the bytes from `from` on; gives where the body ends, or how far it goes on in here. */
  push(bytes: Buffer, from: number): number {
    if (this.#left === UNTIL_CLOSE) return bytes.length;
    if (this.#left === CHUNKED) return this.#chunks.push(bytes, from);
    const step = Math.min(this.#left, bytes.length - from);
    this.#left -= step;
    return from + step;
  }
}
