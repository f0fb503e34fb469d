import {
  CLASSES,
  COLON,
  CR,
  DASH,
  DIGIT,
  foldedName,
  HOST,
  HT,
  isName,
  LF,
  SP,
  TOKEN,
  VALUE,
} from './bytes.ts';
import { connectionTokens, MAX_TOKENS, TOO_MANY_TOKENS } from './connection-field.ts';

/** Most fields of one head; more than this is an attack on whoever indexes them. */
export const MAX_FIELDS = 256;

/** How the length of a body is given: no field says so, in chunks, or else the number of bytes. */
export const UNSTATED = -1;
export const CHUNKED = -2;

const HOST_NAME = foldedName('host');
const TE = foldedName('te');
const EXPECT = foldedName('expect');
const UPGRADE = foldedName('upgrade');
const TRAILER = foldedName('trailer');
const CONNECTION = foldedName('connection');
const KEEP_ALIVE = foldedName('keep-alive');
const CONTENT_LENGTH = foldedName('content-length');
const HTTP2_SETTINGS = foldedName('http2-settings');
const PROXY_CONNECTION = foldedName('proxy-connection');
const TRANSFER_ENCODING = foldedName('transfer-encoding');
const CALLER = foldedName('x-forwarded-client-cert');
const CHUNKED_CODING = foldedName('chunked');

/** Digits of the longest Content-Length that a double holds exactly. */
const MAX_LENGTH_DIGITS = 15;

/**
 * What the fields of a head say to a proxy. Kept and used again: a request allocates nothing here. Ranges are offsets
 * into the bytes of the head.
 */
export class Fields {
  /** {@link UNSTATED}, {@link CHUNKED}, or the number of bytes. */
  length = UNSTATED;
  /** The connection ends after this message, or is asked to stay. */
  close = false;
  keepAlive = false;
  /** `Connection: upgrade` is there, and the protocols that `Upgrade` names, in lower case. */
  upgrades = false;
  upgrade = '';
  expectsContinue = false;
  /** `Trailer` is there. */
  announcesTrailers = false;
  hosts = 0;
  hostStart = 0;
  hostEnd = 0;
  /** Seconds that `Keep-Alive: timeout=` names; 0 where it does not. */
  keepAliveSeconds = 0;
  /** Lines that go no further than this hop: start and end of each, in their order. */
  readonly cuts: number[] = [];
  /** A `Connection: keep-alive` line that may stay where the connection stays; empty where there is none. */
  keepStart = 0;
  keepEnd = 0;
  /** Other fields that `Connection` names: they go no further either. */
  named: Uint8Array[] | undefined;
  count = 0;

  reset(): void {
    this.length = UNSTATED;
    this.close = false;
    this.keepAlive = false;
    this.upgrades = false;
    this.upgrade = '';
    this.expectsContinue = false;
    this.announcesTrailers = false;
    this.hosts = 0;
    this.keepAliveSeconds = 0;
    this.cuts.length = 0;
    this.keepStart = 0;
    this.keepEnd = 0;
    this.named = undefined;
    this.count = 0;
  }

  /**
   * Reads the lines from `start` to the empty line that ends the head at `end`. Gives what is wrong with them, or
   * undefined. Strict as RFC 9112 section 5: no folding, no space before the colon, no bare CR or LF, no NUL.
   */
  read(bytes: Buffer, start: number, end: number): string | undefined {
    let at = start;
    const last = end - 2;
    while (at < last) {
      const line = at;
      while (((CLASSES[bytes[at] as number] as number) & TOKEN) !== 0) at++;
      const nameEnd = at;
      if (nameEnd === line || bytes[at] !== COLON) return lineFault(bytes, line, at);
      do at++;
      while (bytes[at] === SP || bytes[at] === HT);
      const value = at;
      while (((CLASSES[bytes[at] as number] as number) & VALUE) !== 0) at++;
      if (bytes[at] !== CR || bytes[at + 1] !== LF) return 'a control character in a field';
      let valueEnd = at;
      while (valueEnd > value && (bytes[valueEnd - 1] === SP || bytes[valueEnd - 1] === HT)) valueEnd--;
      at += 2;
      if (++this.count > MAX_FIELDS) return `more than ${MAX_FIELDS} fields`;
      const fault = this.#take(bytes, line, nameEnd, value, valueEnd, at);
      if (fault !== undefined) return fault;
    }
    if (this.named !== undefined) this.#cutNamed(bytes, start, last);
    return undefined;
  }

  #take(
    bytes: Buffer,
    line: number,
    nameEnd: number,
    value: number,
    valueEnd: number,
    next: number,
  ): string | undefined {
    // Lengths tell most fields apart without a look at their letters.
    switch (nameEnd - line) {
      case 2:
        if (isName(bytes, line, TE)) this.cuts.push(line, next);
        return undefined;
      case 4:
        return isName(bytes, line, HOST_NAME) ? this.#host(bytes, value, valueEnd) : undefined;
      case 6:
        if (isName(bytes, line, EXPECT)) return this.#expect(bytes, value, valueEnd);
        return undefined;
      case 7:
        if (isName(bytes, line, TRAILER)) this.announcesTrailers = true;
        if (!isName(bytes, line, UPGRADE)) return undefined;
        this.upgrade += `${this.upgrade === '' ? '' : ','}${bytes.toString('latin1', value, valueEnd).toLowerCase()}`;
        this.cuts.push(line, next);
        return undefined;
      case 10:
        if (isName(bytes, line, CONNECTION)) return this.#connection(bytes, line, value, valueEnd, next);
        if (!isName(bytes, line, KEEP_ALIVE)) return undefined;
        this.keepAliveSeconds = Number(
          /timeout\s*=\s*(\d{1,6})/i.exec(bytes.toString('latin1', value, valueEnd))?.[1] ?? 0,
        );
        this.cuts.push(line, next);
        return undefined;
      case 14:
        if (isName(bytes, line, CONTENT_LENGTH))
          return this.#contentLength(bytes, line, nameEnd, value, valueEnd);
        if (isName(bytes, line, HTTP2_SETTINGS)) this.cuts.push(line, next);
        return undefined;
      case 16:
        if (isName(bytes, line, PROXY_CONNECTION)) this.cuts.push(line, next);
        return undefined;
      case 17:
        return isName(bytes, line, TRANSFER_ENCODING)
          ? this.#coding(bytes, line, nameEnd, value, valueEnd)
          : undefined;
      case 23:
        // Nobody but this proxy says who the caller is.
        if (isName(bytes, line, CALLER)) this.cuts.push(line, next);
        return undefined;
      default:
        return undefined;
    }
  }

  #host(bytes: Buffer, value: number, valueEnd: number): string | undefined {
    if (++this.hosts > 1) return 'several Host fields';
    for (let i = value; i < valueEnd; i++) {
      if (((CLASSES[bytes[i] as number] as number) & HOST) === 0) return 'a Host field that names no host';
    }
    this.hostStart = value;
    this.hostEnd = valueEnd;
    return undefined;
  }

  #expect(bytes: Buffer, value: number, valueEnd: number): string | undefined {
    if (bytes.toString('latin1', value, valueEnd).toLowerCase() !== '100-continue')
      return 'an unknown expectation';
    this.expectsContinue = true;
    return undefined;
  }

  #connection(
    bytes: Buffer,
    line: number,
    value: number,
    valueEnd: number,
    next: number,
  ): string | undefined {
    const found = connectionTokens(bytes, value, valueEnd);
    if (typeof found === 'string') return found;
    this.close ||= found.close;
    this.keepAlive ||= found.keepAlive;
    this.upgrades ||= found.upgrades;
    // A connection that merely stays, as it does anyway, may be said to stay on the next hop too: nothing is cut.
    if (found.plain && this.keepEnd === 0) {
      this.keepStart = line;
      this.keepEnd = next;
    } else this.cuts.push(line, next);
    if (found.named.length > 0) this.named = [...(this.named ?? []), ...found.named];
    return (this.named?.length ?? 0) > MAX_TOKENS ? TOO_MANY_TOKENS : undefined;
  }

  #contentLength(
    bytes: Buffer,
    line: number,
    nameEnd: number,
    value: number,
    valueEnd: number,
  ): string | undefined {
    if (bytes[line + 7] !== DASH) return 'a name that some take for Content-Length';
    if (this.length !== UNSTATED) return 'the length of the body is given twice';
    if (nameEnd === line || valueEnd === value || valueEnd - value > MAX_LENGTH_DIGITS)
      return 'a bad Content-Length';
    let length = 0;
    for (let i = value; i < valueEnd; i++) {
      const c = bytes[i] as number;
      if (((CLASSES[c] as number) & DIGIT) === 0) return 'a bad Content-Length';
      length = length * 10 + c - 0x30;
    }
    this.length = length;
    return undefined;
  }

  #coding(bytes: Buffer, line: number, nameEnd: number, value: number, valueEnd: number): string | undefined {
    if (bytes[line + 8] !== DASH) return 'a name that some take for Transfer-Encoding';
    if (this.length !== UNSTATED) return 'the length of the body is given twice';
    const isChunked = valueEnd - value === CHUNKED_CODING.length && isName(bytes, value, CHUNKED_CODING);
    if (nameEnd === line || !isChunked) return 'a transfer coding other than chunked';
    this.length = CHUNKED;
    return undefined;
  }

  /** A second pass over a head that has passed the first, for the rare Connection field that names others. */
  #cutNamed(bytes: Buffer, start: number, last: number): void {
    const { named = [] } = this;
    for (let line = start; line < last; ) {
      const next = bytes.indexOf('\r\n', line) + 2;
      const length = bytes.indexOf(COLON, line) - line;
      const isNamed = named.some((name) => name.length === length && isName(bytes, line, name));
      if (isNamed && !this.cuts.some((at, i) => i % 2 === 0 && at === line)) this.cuts.push(line, next);
      line = next;
    }
    sortPairs(this.cuts);
  }
}

function sortPairs(cuts: number[]): void {
  const pairs: [number, number][] = [];
  for (let i = 0; i < cuts.length; i += 2) pairs.push([cuts[i] as number, cuts[i + 1] as number]);
  pairs.sort(([a], [b]) => a - b);
  cuts.splice(0, cuts.length, ...pairs.flat());
}

function lineFault(bytes: Buffer, line: number, at: number): string {
  const c = bytes[at];
  if (at === line && (c === SP || c === HT)) return 'a folded field';
  if (c === SP || c === HT) return 'space before the colon of a field';
  return 'a line that is no field';
}
