import { Body, UNTIL_CLOSE } from '../http1/body.ts';
import { CHUNKED, UNSTATED } from '../http1/fields.ts';
import { MORE } from '../http1/head-reader.ts';
import type { Pool } from '../http1/pool.ts';
import { REPEATABLE } from '../http1/request-head.ts';
import type { Upstream, UpstreamUser } from '../http1/upstream.ts';
import type { Exchange } from './exchange.ts';
import { isHopField } from './fields.ts';
import type { Http2Head } from './head.ts';
import type { Onward } from './onward.ts';

const LAST_CHUNK = Buffer.from('0\r\n\r\n');
const LINE_END = Buffer.from('\r\n');

/** Sends a request over HTTP/2 on to a program that speaks HTTP/1.1. */
export function sendOverHttp1(
  exchange: Exchange,
  pool: Pool,
  fields: readonly string[],
  hasBody: boolean,
): void {
  const head = requestOf(exchange.head, fields);
  const begin = (upstream: Upstream, again?: () => void) =>
    exchange.begin(new Http1Onward(exchange, upstream, { pool, head, again }), hasBody);
  const connect = () =>
    exchange.waitFor(
      pool.connect((error, upstream) => {
        if (upstream === undefined) exchange.unreachable(error?.message ?? 'no connection');
        else begin(upstream);
      }),
    );
  const idle = pool.take();
  if (idle === undefined) connect();
  // A connection that had rested may have been closed before it was asked.
  else begin(idle, hasBody || !REPEATABLE.has(exchange.head.method) ? undefined : connect);
}

interface Http1Way {
  readonly pool: Pool;
  /** The bytes of the request's head. */
  readonly head: Buffer;
  /** Sends the request once more, where nobody can have seen it. */
  readonly again?: (() => void) | undefined;
}

/** One request on a connection of HTTP/1.1. Its trailers are left out, both ways: HTTP/1.1 programs look for none. */
class Http1Onward implements Onward, UpstreamUser {
  readonly #exchange: Exchange;
  readonly #way: Http1Way;
  readonly #body = new Body((bytes, start, end) => this.#exchange.onBody(bytes.subarray(start, end)));
  readonly #isChunked: boolean;
  #upstream: Upstream | undefined;
  /** Bytes of the request's body that are still to come, where its length was given. */
  #left: number;
  #isSent: boolean;
  #isAnswering = false;
  #hasInterim = false;

  constructor(exchange: Exchange, upstream: Upstream, way: Http1Way) {
    this.#exchange = exchange;
    this.#upstream = upstream;
    this.#way = way;
    const { length } = exchange.head;
    this.#isChunked = length === CHUNKED;
    this.#left = length > 0 ? length : 0;
    this.#isSent = length === UNSTATED || length === 0;
    upstream.user = this;
    upstream.socket.write(way.head);
  }

  write(chunk: Buffer): boolean {
    const { socket } = this.#upstream ?? {};
    if (socket === undefined || chunk.length === 0) return true;
    if (!this.#isChunked) {
      // The codec has compared both lengths; the next request begins where this one says that it ends.
      if (chunk.length > this.#left) {
        this.#broken('a body that is longer than its length');
        return true;
      }
      this.#left -= chunk.length;
      return socket.write(chunk);
    }
    socket.cork();
    socket.write(`${chunk.length.toString(16)}\r\n`, 'latin1');
    socket.write(chunk);
    const hasRoom = socket.write(LINE_END);
    socket.uncork();
    return hasRoom;
  }

  end(): void {
    if (this.#upstream === undefined) return;
    if (this.#left > 0) return this.#broken('a body that is shorter than its length');
    if (this.#isChunked) this.#upstream.socket.write(LAST_CHUNK);
    this.#isSent = true;
  }

  pause(): void {
    this.#upstream?.socket.pause();
  }

  resume(): void {
    this.#upstream?.socket.resume();
  }

  abandon(): void {
    this.#upstream?.abandon();
    this.#upstream = undefined;
  }

  onUpstreamData(chunk: Buffer): void {
    if (this.#isAnswering) this.#readBody(chunk, 0);
    else this.#readHeads(chunk);
  }

  onUpstreamDrain(): void {
    this.#exchange.onwardDrained();
  }

  onUpstreamEnd(): void {
    if (this.#isAnswering && this.#body.endsWithConnection) this.#complete(true);
    else this.#lost('the connection ended before the answer did');
  }

  onUpstreamClose(error: Error | undefined): void {
    this.#lost(error?.message ?? 'the connection closed before the answer was through');
  }

  #readHeads(first: Buffer): void {
    let chunk: Buffer | undefined = first;
    while (chunk !== undefined && this.#upstream !== undefined) {
      const { reader, head } = this.#upstream;
      const end = reader.push(chunk);
      if (end === MORE) return;
      if (end < 0) return this.#broken('a head that is too long or whose lines do not end with CR LF');
      const { bytes } = reader;
      reader.reset();
      const fault = head.read(bytes, 0, end);
      if (fault !== undefined) return this.#broken(fault);
      if (head.status === 101) return this.#broken('a protocol that was not asked for');
      const fields = answerLines(bytes, head.fieldsStart, end, head.fields.cuts);
      if (head.status >= 200) return this.#answer(head.status, fields, bytes, end);
      this.#hasInterim = true;
      this.#exchange.onInterim(head.status, fields);
      chunk = bytes.length > end ? bytes.subarray(end) : undefined;
    }
  }

  #answer(status: number, fields: string[], bytes: Buffer, end: number): void {
    const { length } = this.#upstream?.head.fields ?? { length: UNSTATED };
    if (length === CHUNKED && this.#upstream?.head.minor === 0) return this.#broken('chunks with HTTP/1.0');
    const isEmpty = this.#exchange.head.method === 'HEAD' || status === 204 || status === 304;
    this.#body.start(isEmpty ? 0 : length === UNSTATED ? UNTIL_CLOSE : length);
    this.#isAnswering = true;
    // The end of a body that is empty is not told apart: its stream ends like any other.
    this.#exchange.onAnswer(status, fields, false);
    if (bytes.length > end || this.#body.done) this.#readBody(bytes, end);
  }

  #readBody(bytes: Buffer, from: number): void {
    const end = this.#body.push(bytes, from);
    if (!this.#body.isChunked && end > from) this.#exchange.onBody(bytes.subarray(from, end));
    if (this.#body.fault !== undefined) this.#broken(this.#body.fault);
    else if (this.#body.done) this.#complete(end < bytes.length);
  }

  /** The answer is through. A program that goes on to speak has lost the thread: its connection is not used again. */
  #complete(hasMore: boolean): void {
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    this.#upstream = undefined;
    const { fields, minor } = upstream.head;
    const stays = minor === 1 ? !fields.close : fields.keepAlive;
    if (stays && !hasMore && this.#isSent) {
      upstream.socket.resume();
      const { keepAliveSeconds } = fields;
      // A second less than the program says: it may count from earlier.
      this.#way.pool.give(
        upstream,
        keepAliveSeconds > 0 ? (keepAliveSeconds - 1) * 1000 : Number.POSITIVE_INFINITY,
      );
    } else upstream.destroy();
    this.#exchange.onEnd(undefined);
    this.#exchange.onwardGone();
  }

  #lost(reason: string): void {
    const upstream = this.#upstream;
    const { again } = this.#way;
    const isUnseen =
      upstream !== undefined && !this.#isAnswering && !this.#hasInterim && upstream.reader.held === 0;
    if (again === undefined || !isUnseen) return this.#broken(reason);
    this.#upstream = undefined;
    upstream.abandon();
    again();
  }

  #broken(reason: string): void {
    this.#upstream?.abandon();
    this.#upstream = undefined;
    this.#exchange.fail(reason);
  }
}

/** The head in HTTP/1.1. What the codec let through is checked once more: a line end in a value would begin a field. */
function requestOf({ method, forwardedPath, host, length }: Http2Head, fields: readonly string[]): Buffer {
  let text = `${method} ${forwardedPath} HTTP/1.1\r\nhost: ${host}\r\n`;
  let cookies = '';
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    const value = fields[i + 1] as string;
    if (isHopField(name) || name === 'te' || name === 'trailer') continue;
    // RFC 9113 section 8.2.3.
    if (name === 'cookie') cookies += `${cookies === '' ? '' : '; '}${value}`;
    else text += `${name}: ${value}\r\n`;
  }
  if (cookies !== '') text += `cookie: ${cookies}\r\n`;
  if (length === CHUNKED) text += 'transfer-encoding: chunked\r\n';
  else if (length === UNSTATED && WITH_BODY.has(method)) text += 'content-length: 0\r\n';
  return Buffer.from(`${text}\r\n`, 'latin1');
}

/** RFC 9110 section 8.6: these are expected to have a body, and say so where they have none. */
const WITH_BODY: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);

/** The field lines of an answer that go on, in lower case. */
function answerLines(bytes: Buffer, start: number, end: number, cuts: readonly number[]): string[] {
  const fields: string[] = [];
  const last = end - 2;
  for (let line = start, cut = 0; line < last; ) {
    const next = bytes.indexOf('\r\n', line) + 2;
    if (cuts[cut] === line) cut += 2;
    else {
      const text = bytes.toString('latin1', line, next - 2);
      const colon = text.indexOf(':');
      const name = text.slice(0, colon).toLowerCase();
      if (!isHopField(name) && name !== 'trailer') {
        fields.push(name, text.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, ''));
      }
    }
    line = next;
  }
  return fields;
}
