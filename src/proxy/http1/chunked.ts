import { isForbiddenTrailer, MAX_TRAILER_NAME } from '../trailers.ts';
import { CLASSES, COLON, CR, FOLDED, HT, LF, SEMICOLON, SP, TOKEN, VALUE } from './bytes.ts';

/** Longest chunk line and all extensions of one body together, in bytes: they carry nothing that anyone needs. */
const MAX_LINE_BYTES = 256;
const MAX_EXTENSION_BYTES = 4096;
/** Longest trailer section, in bytes. */
const MAX_TRAILER_BYTES = 8192;
/** Hexadecimal digits of a size: 2^48 bytes, which a double holds exactly. */
const MAX_SIZE_DIGITS = 12;

/** What is being read. */
const SIZE = 0;
const EXTENSION = 1;
const SIZE_LF = 2;
const DATA = 3;
const DATA_CR = 4;
const DATA_LF = 5;
const LINE_START = 6;
const NAME = 7;
const TEXT = 8;
const TEXT_LF = 9;
const END_LF = 10;
const DONE = 11;

/** Told where data lies, for whoever does not forward the chunks as they are. */
export type OnChunkData = (bytes: Buffer, start: number, end: number) => void;

/**
 * Follows a body in chunks (RFC 9112 section 7.1) to its end and checks every byte of its framing, so that the bytes can
 * be forwarded as they are: whoever reads them next finds the same end.
 */
export class ChunkedBody {
  #state = SIZE;
  #size = 0;
  #digits = 0;
  #line = 0;
  #extensions = 0;
  #trailers = 0;
  #name = '';
  #allowed: ReadonlySet<string> | undefined;
  /** What is wrong; undefined while nothing is. */
  fault: string | undefined;
  readonly #onData: OnChunkData | undefined;

  constructor(onData?: OnChunkData) {
    this.#onData = onData;
  }

  get done(): boolean {
    return this.#state === DONE;
  }

  /** Begins a body; `allowed` are the names, folded, that its trailers may have: any that is not forbidden where absent. */
  reset(allowed?: ReadonlySet<string>): void {
    this.#allowed = allowed;
    this.#state = SIZE;
    this.#size = 0;
    this.#digits = 0;
    this.#line = 0;
    this.#extensions = 0;
    this.#trailers = 0;
    this.#name = '';
    this.fault = undefined;
  }

  /** Follows the bytes from `from` on; gives where the body ends, or how far it goes on in here. */
  push(bytes: Buffer, from: number): number {
    let at = from;
    const { length } = bytes;
    while (at < length && this.#state !== DONE && this.fault === undefined) {
      if (this.#state === DATA) {
        const step = Math.min(this.#size, length - at);
        this.#onData?.(bytes, at, at + step);
        this.#size -= step;
        at += step;
        if (this.#size === 0) this.#state = DATA_CR;
      } else {
        this.#byte(bytes[at] as number);
        // The byte that is wrong is not passed on.
        if (this.fault === undefined) at++;
      }
    }
    return at;
  }

  #byte(c: number): void {
    switch (this.#state) {
      case SIZE:
        return this.#sizeByte(c);
      case EXTENSION:
        return this.#extensionByte(c);
      case SIZE_LF:
        this.#line = 0;
        return this.#expect(c, LF, this.#size === 0 ? LINE_START : DATA);
      case DATA_CR:
        return this.#expect(c, CR, DATA_LF);
      case DATA_LF:
        this.#digits = 0;
        return this.#expect(c, LF, SIZE);
      case END_LF:
        return this.#expect(c, LF, DONE);
      default:
        return this.#trailerByte(c);
    }
  }

  #expect(c: number, wanted: number, next: number): void {
    if (c === wanted) this.#state = next;
    else this.fault = 'a chunk that does not end where it says';
  }

  #sizeByte(c: number): void {
    const digit = hexOf(c);
    if (digit >= 0) {
      if (++this.#digits > MAX_SIZE_DIGITS) this.fault = 'a chunk that is too large';
      this.#size = this.#size * 16 + digit;
    } else if (this.#digits === 0) this.fault = 'a chunk without a size';
    else if (c === CR) this.#state = SIZE_LF;
    else if (c === SEMICOLON) this.#state = EXTENSION;
    else this.fault = 'a bad chunk size';
  }

  #extensionByte(c: number): void {
    if (++this.#line > MAX_LINE_BYTES || ++this.#extensions > MAX_EXTENSION_BYTES) {
      this.fault = 'chunk extensions that are too long';
    } else if (c === CR) this.#state = SIZE_LF;
    else if (((CLASSES[c] as number) & VALUE) === 0) this.fault = 'a control character in a chunk extension';
  }

  #trailerByte(c: number): void {
    if (++this.#trailers > MAX_TRAILER_BYTES) this.fault = 'trailers that are too long';
    else if (this.#state === LINE_START) this.#lineStart(c);
    else if (this.#state === NAME) this.#nameByte(c);
    else if (this.#state === TEXT_LF) this.#expect(c, LF, LINE_START);
    else if (c === CR) this.#state = TEXT_LF;
    else if (((CLASSES[c] as number) & VALUE) === 0) this.fault = 'a control character in a trailer';
  }

  #lineStart(c: number): void {
    if (c === CR) this.#state = END_LF;
    else if (c === SP || c === HT) this.fault = 'a folded trailer';
    else {
      this.#name = '';
      this.#state = NAME;
      this.#nameByte(c);
    }
  }

  #nameByte(c: number): void {
    if (c === COLON && this.#name !== '') {
      if (isForbiddenTrailer(this.#name)) this.fault = `${this.#name} as a trailer`;
      else if (this.#allowed?.has(this.#name) === false)
        this.fault = `${this.#name} as a trailer, which the head does not announce or has as well`;
      else this.#state = TEXT;
    } else if (((CLASSES[c] as number) & TOKEN) === 0) this.fault = 'a line that is no trailer';
    // One more than the longest that may be named: cut off here, it is the name of nothing.
    else if (this.#name.length <= MAX_TRAILER_NAME) this.#name += String.fromCharCode(FOLDED[c] as number);
  }
}

function hexOf(c: number): number {
  if (c >= 0x30 && c <= 0x39) return c - 0x30;
  const lower = c | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
