import { recordedPath } from '../../access/index.ts';
import { isCleanPath, normalizePath, type RequestAttributes } from '../../policy/index.ts';
import { CLASSES, CR, LF, SP, TARGET, TOKEN } from './bytes.ts';
import { Fields, UNSTATED } from './fields.ts';

/** Longest head that is read, in bytes; Envoy's limit is 60 KiB. */
export const MAX_HEAD_BYTES = 65_536;
export const MAX_METHOD_BYTES = 32;

/** Why a message is refused: the status to answer with, and the reason for the log. */
export interface HeadFault {
  readonly status: number;
  readonly reason: string;
}

/** Method names that are looked up instead of being made anew, by their length. */
const METHODS: readonly (readonly string[])[] = [
  [],
  [],
  [],
  ['GET', 'PUT'],
  ['POST', 'HEAD'],
  ['PATCH', 'TRACE'],
  ['DELETE'],
  ['OPTIONS', 'CONNECT'],
];

/**
 * The head of one request, read from its bytes. One is kept for each connection and read into again and again. It is
 * also what conditions see of the request: headers become an object only when a condition asks for them.
 */
export class RequestHead implements RequestAttributes {
  readonly fields = new Fields();
  method = '';
  /** As it was sent, `/path?query`; of an absolute form the part from the path on. */
  path = '';
  /** HTTP/1.minor. */
  minor = 1;
  /** The path that is judged, recorded and forwarded: normal form, without its query. */
  judgedPath = '';
  /** Where the bytes of the target lie, and of the path in it when it is in absolute form. */
  targetStart = 0;
  targetEnd = 0;
  /** The request line has to be written anew: the target as it is forwarded is not the one that was sent. */
  rewritten = false;
  bytes: Buffer = Buffer.alloc(0);
  end = 0;
  sourceAddress = '';
  #fieldsStart = 0;
  #headers: Readonly<Record<string, string>> | undefined;

  /** Reads the head in `bytes`, which ends (with its empty line) at `end`. Gives why it is refused, or undefined. */
  read(bytes: Buffer, end: number): HeadFault | undefined {
    this.bytes = bytes;
    this.end = end;
    this.fields.reset();
    this.rewritten = false;
    this.#headers = undefined;
    let at = 0;
    while (((CLASSES[bytes[at] as number] as number) & TOKEN) !== 0) at++;
    if (at === 0 || at > MAX_METHOD_BYTES || bytes[at] !== SP) return bad('a request line without a method');
    this.method = methodOf(bytes, at);
    this.targetStart = ++at;
    while (((CLASSES[bytes[at] as number] as number) & TARGET) !== 0) at++;
    this.targetEnd = at;
    if (at === this.targetStart || bytes[at] !== SP) return bad('a request line without a target');
    const minor = versionAt(bytes, at + 1);
    if (minor < 0) return minor === -1 ? bad('a request line without a version') : OTHER_VERSION;
    if (bytes[at + 9] !== CR || bytes[at + 10] !== LF) return bad('a request line that does not end');
    this.minor = minor;
    this.#fieldsStart = at + 11;
    const fault = this.fields.read(bytes, this.#fieldsStart, end);
    if (fault !== undefined) return bad(fault);
    return this.#checkFields() ?? this.#readTarget();
  }

  #checkFields(): HeadFault | undefined {
    const { fields } = this;
    if (fields.hosts === 0 && this.minor === 1) return bad('no Host field');
    if (this.minor === 0 && fields.length < UNSTATED) return bad('chunks in HTTP/1.0');
    if (this.method === 'CONNECT') return { status: 405, reason: 'CONNECT: this is no forward proxy' };
    // Its answer would repeat what proxies have added (RFC 9110 section 9.3.8).
    if (this.method === 'TRACE') return { status: 405, reason: 'TRACE' };
    return undefined;
  }

  #readTarget(): HeadFault | undefined {
    const { bytes } = this;
    let start = this.targetStart;
    if (bytes[start] !== 0x2f && !(this.targetEnd - start === 1 && bytes[start] === 0x2a)) {
      start = this.#afterAuthority();
      if (start < 0) return bad('a target in a form that is not served, or for another host than Host names');
    }
    const path = bytes.toString('latin1', start, this.targetEnd);
    this.path = start === this.targetEnd ? '/' : path.charCodeAt(0) === 0x3f ? `/${path}` : path;
    if (start !== this.targetStart) this.rewritten = true;
    if (isCleanPath(this.path)) {
      this.judgedPath = this.path;
      return undefined;
    }
    const { judged, forwarded } = targetOf(this.path, this.method);
    this.judgedPath = judged;
    if (forwarded !== this.path) this.rewritten = true;
    return undefined;
  }

  /** The path and query as they are forwarded. */
  forwardedTarget(): string {
    const query = this.path.indexOf('?');
    return query < 0 ? this.judgedPath : this.judgedPath + this.path.slice(query);
  }

  /** Where the path of an absolute form begins (RFC 9112 section 3.2.2), or -1. Its host has to be the one of Host. */
  #afterAuthority(): number {
    const { bytes, fields } = this;
    const text = bytes.toString('latin1', this.targetStart, this.targetEnd);
    // What follows the host is a path or a query: with user information in front this would not be the host.
    const match = /^https?:\/\/([^/?#@]*)(?=[/?]|$)/i.exec(text);
    if (match === null) return -1;
    const host = bytes.toString('latin1', fields.hostStart, fields.hostEnd);
    const isSame = fields.hosts === 1 && match[1]?.toLowerCase() === host.toLowerCase();
    return isSame ? this.targetStart + match[0].length : -1;
  }

  get host(): string {
    const { hosts, hostStart, hostEnd } = this.fields;
    return hosts === 0 ? '' : this.bytes.toString('latin1', hostStart, hostEnd);
  }

  /**
   * Headers by lower-case name, several of one name joined by "," as Envoy shows them to conditions; without those that
   * are not forwarded.
   */
  get headers(): Readonly<Record<string, string>> {
    // Each condition of each set asks.
    return (this.#headers ??= this.#readHeaders());
  }

  #readHeaders(): Readonly<Record<string, string>> {
    const headers: Record<string, string> = Object.create(null) as Record<string, string>;
    const { cuts } = this.fields;
    const last = this.end - 2;
    for (let line = this.#fieldsStart, cut = 0; line < last; ) {
      const next = this.bytes.indexOf('\r\n', line) + 2;
      if (cuts[cut] === line) cut += 2;
      else {
        const text = this.bytes.toString('latin1', line, next - 2);
        const colon = text.indexOf(':');
        const name = text.slice(0, colon).toLowerCase();
        const value = text.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '');
        const before = headers[name];
        headers[name] = before === undefined ? value : `${before},${value}`;
      }
      line = next;
    }
    return headers;
  }
}

/** What is judged and recorded of a path with its query, and what goes on in its place. */
export function targetOf(
  path: string,
  method: string,
): { readonly judged: string; readonly forwarded: string } {
  if (isCleanPath(path)) return { judged: path, forwarded: path };
  const recorded = recordedPath(path);
  const normal = normalizePath(recorded, method);
  // What cannot be made safe is denied where policies bite, and goes on as it came where none does.
  if (!normal.ok) return { judged: recorded, forwarded: path };
  const query = path.indexOf('?');
  return { judged: normal.path, forwarded: query < 0 ? normal.path : normal.path + path.slice(query) };
}

const OTHER_VERSION: HeadFault = { status: 505, reason: 'a version other than HTTP/1.0 and HTTP/1.1' };

function bad(reason: string): HeadFault {
  return { status: 400, reason };
}

function methodOf(bytes: Buffer, length: number): string {
  for (const method of METHODS[length] ?? []) {
    let i = 0;
    while (i < length && bytes[i] === method.charCodeAt(i)) i++;
    if (i === length) return method;
  }
  return bytes.toString('latin1', 0, length);
}

const HTTP = Buffer.from('HTTP/');

/** The minor version of `HTTP/1.x` at an offset; -1 where none stands there, -2 for another version. */
export function versionAt(bytes: Buffer, at: number): number {
  for (let i = 0; i < HTTP.length; i++) if (bytes[at + i] !== HTTP[i]) return -1;
  const major = bytes[at + 5] as number;
  const minor = bytes[at + 7] as number;
  if (bytes[at + 6] !== 0x2e || !isDigit(major) || !isDigit(minor)) return -1;
  if (major !== 0x31 || minor > 0x31) return -2;
  return minor - 0x30;
}

function isDigit(c: number): boolean {
  return c >= 0x30 && c <= 0x39;
}

/** A request without a body may be sent a second time where nobody has seen it. */
export function mayRepeat(head: RequestHead): boolean {
  return head.fields.length === UNSTATED && REPEATABLE.has(head.method);
}

/** RFC 9110 section 9.2.2. */
export const REPEATABLE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);
