import { type Action, grpcMethodOf } from '../../access/index.ts';
import type { RequestAttributes } from '../../policy/index.ts';
import { CLASSES, HOST, TARGET, TOKEN } from '../http1/bytes.ts';
import { CHUNKED, UNSTATED } from '../http1/fields.ts';
import { type HeadFault, MAX_METHOD_BYTES, targetOf } from '../http1/request-head.ts';
import { folded } from '../trailers.ts';
import { type FieldList, isGrpcType, isHopField } from './fields.ts';

/** Longest Content-Length that a double holds exactly, in digits. */
const MAX_LENGTH_DIGITS = 15;
const CALLER = 'x-forwarded-client-cert';

/** The head of one request over HTTP/2: what is judged, what conditions see, and what goes on. */
export class Http2Head implements RequestAttributes {
  method = '';
  /** As it was sent, with its query. */
  path = '';
  host = '';
  sourceAddress = '';
  /** Normal form, without its query: what is judged, recorded and forwarded. */
  judgedPath = '';
  forwardedPath = '';
  isGrpc = false;
  /** As of `Fields`: the number of bytes, or `CHUNKED` where the stream's end is the body's. */
  length = UNSTATED;
  /** The sender has said that trailers will come. */
  hasTrailers = false;
  /** Fields that go on, without pseudo-fields. */
  readonly fields: string[] = [];
  /** Names of fields that the sender wants in no compression table (RFC 7541 section 7.1.3). */
  readonly sensitive: readonly string[];
  #hosts = 0;

  private constructor(sensitive: readonly string[]) {
    this.sensitive = sensitive;
  }

  /** Reads what the codec has found to be a request, or gives why it is refused. */
  static read(list: FieldList, sensitive: readonly string[] = [], endsHere = false): Http2Head | HeadFault {
    const head = new Http2Head(sensitive);
    for (let i = 0; i < list.length; i += 2) {
      const fault = head.#take(list[i] as string, list[i + 1] as string);
      if (fault !== undefined) return { status: 400, reason: fault };
    }
    if (!endsHere && head.length === UNSTATED) head.length = CHUNKED;
    return head.#check() ?? head;
  }

  /** What the request does, for a policy. */
  actionAt(port: number): Action {
    const { method, judgedPath } = this;
    const called = this.isGrpc && method === 'POST' ? grpcMethodOf(judgedPath) : undefined;
    return called === undefined
      ? { kind: 'http', port, method, path: judgedPath }
      : { kind: 'grpc', port, ...called };
  }

  /** By lower-case name, several of one name joined by "," and cookies by ";", as Envoy shows them to conditions. */
  get headers(): Readonly<Record<string, string>> {
    const headers: Record<string, string> = Object.create(null) as Record<string, string>;
    headers['host'] = this.host;
    for (let i = 0; i < this.fields.length; i += 2) {
      const name = this.fields[i] as string;
      const value = this.fields[i + 1] as string;
      const before = headers[name];
      headers[name] = before === undefined ? value : `${before}${name === 'cookie' ? '; ' : ','}${value}`;
    }
    return headers;
  }

  #take(name: string, value: string): string | undefined {
    if (name.charCodeAt(0) === 0x3a) return this.#pseudo(name, value);
    // The codec lets none of these through; over HTTP/1.1 one of them would begin another field.
    if (/[\0\r\n]/.test(value)) return 'a control character in a field';
    switch (name) {
      case 'host':
        return this.#host(value);
      case 'te':
        if (value !== 'trailers') return undefined;
        break;
      case 'content-type':
        this.isGrpc ||= isGrpcType(value);
        break;
      case 'trailer':
        this.hasTrailers = true;
        break;
      case 'expect':
        if (value.toLowerCase() !== '100-continue') return 'an unknown expectation';
        break;
      case 'content-length':
        if (this.length !== UNSTATED) return 'the length of the body is given twice';
        if (!/^\d+$/.test(value) || value.length > MAX_LENGTH_DIGITS) return 'a bad Content-Length';
        this.length = Number(value);
        break;
      case 'content_length':
      case 'transfer_encoding':
        return `${name}, which some take for ${folded(name)}`;
      default:
        if (isHopField(name)) return undefined;
        // Nobody but this proxy says who the caller is.
        if (name.length === CALLER.length && folded(name) === CALLER) return undefined;
    }
    this.fields.push(name, value);
    return undefined;
  }

  #pseudo(name: string, value: string): string | undefined {
    switch (name) {
      case ':method':
        this.method = value;
        return undefined;
      case ':path':
        this.path = value;
        return undefined;
      case ':authority':
        return this.#host(value);
      case ':scheme':
        return value === 'http' || value === 'https' ? undefined : 'a scheme other than http and https';
      default:
        return `the pseudo-field ${name}`;
    }
  }

  /** `:authority` and `host` may both be there, and then are the same (RFC 9113 section 8.3.1). */
  #host(value: string): string | undefined {
    if (++this.#hosts > 2) return 'several hosts';
    if (this.#hosts === 2 && value.toLowerCase() !== this.host.toLowerCase()) return 'two different hosts';
    if (!consistsOf(value, HOST)) return 'a host that is none';
    this.host = value;
    return undefined;
  }

  #check(): HeadFault | undefined {
    const { method, path } = this;
    if (!consistsOf(method, TOKEN) || method === '' || method.length > MAX_METHOD_BYTES)
      return { status: 400, reason: 'a bad method' };
    if (method === 'CONNECT') return { status: 405, reason: 'CONNECT: this is no forward proxy' };
    if (method === 'TRACE') return { status: 405, reason: 'TRACE' };
    if (this.#hosts === 0) return { status: 400, reason: 'no host' };
    if (path.charCodeAt(0) !== 0x2f && path !== '*') return { status: 400, reason: 'a path that is none' };
    if (!consistsOf(path, TARGET)) return { status: 400, reason: 'a path that is none' };
    const target = targetOf(path, method);
    this.judgedPath = target.judged;
    this.forwardedPath = target.forwarded;
    return undefined;
  }
}

function consistsOf(text: string, kind: number): boolean {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c > 0x7f || ((CLASSES[c] as number) & kind) === 0) return false;
  }
  return true;
}
