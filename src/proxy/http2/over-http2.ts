import {
  type ClientHttp2Stream,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  sensitiveHeaders,
} from 'node:http2';
import type { Exchange } from './exchange.ts';
import { answerFields, type FieldList } from './fields.ts';
import { END_STREAM, REFUSED_STREAM } from './limits.ts';
import type { Onward } from './onward.ts';
import type { Lease, SessionPool } from './session-pool.ts';

/** How often a request is sent again that was refused unseen (RFC 9113 section 8.7): a peer that drains refuses once. */
const MAX_REPEATS = 2;

/** How a request goes on. */
export interface Http2Request {
  readonly scheme: 'http' | 'https';
  /** Without pseudo-fields. */
  readonly fields: FieldList;
  readonly hasBody: boolean;
}

/** Sends a request on over HTTP/2. */
export function sendOverHttp2(exchange: Exchange, sessions: SessionPool, request: Http2Request): void {
  // A body that has flowed is gone; its sender learns that nobody has seen it, and may send it again.
  send(exchange, sessions, request, request.hasBody ? 0 : MAX_REPEATS);
}

function send(exchange: Exchange, sessions: SessionPool, request: Http2Request, repeats: number): void {
  const again = repeats === 0 ? undefined : () => send(exchange, sessions, request, repeats - 1);
  exchange.waitFor(
    sessions.take((error, lease) => {
      if (lease === undefined) exchange.unreachable(error?.message ?? 'no connection');
      else begin(exchange, lease, request, again);
    }),
  );
}

function begin(
  exchange: Exchange,
  lease: Lease,
  request: Http2Request,
  again: (() => void) | undefined,
): void {
  let onward: Http2Onward;
  try {
    onward = new Http2Onward(exchange, lease, request, again);
  } catch (error) {
    // Fields that Node does not send.
    lease.release();
    exchange.fail(String(error));
    return;
  }
  exchange.begin(onward, request.hasBody);
}

/** A request on its way over HTTP/2, stream to stream. */
class Http2Onward implements Onward {
  readonly #exchange: Exchange;
  readonly #lease: Lease;
  readonly #stream: ClientHttp2Stream;
  /** Sends the request once more, where nobody has seen it. */
  readonly #again: (() => void) | undefined;
  #isOver = false;
  #answerTrailers: FieldList | undefined;
  #requestTrailers: OutgoingHttpHeaders | undefined;

  /** Throws what Node throws for fields that it does not send. */
  constructor(
    exchange: Exchange,
    lease: Lease,
    { scheme, fields, hasBody }: Http2Request,
    again: (() => void) | undefined,
  ) {
    this.#again = again;
    this.#exchange = exchange;
    this.#lease = lease;
    const { method, host, forwardedPath, hasTrailers, sensitive } = exchange.head;
    const list = [
      ':method',
      method,
      ':scheme',
      scheme,
      ':authority',
      host,
      ':path',
      forwardedPath,
      ...fields,
    ];
    if (sensitive.length > 0) Object.assign(list, { [sensitiveHeaders]: sensitive });
    const waitForTrailers = hasBody && hasTrailers;
    const stream = lease.session.request(list, { endStream: !hasBody, waitForTrailers });
    this.#stream = stream;
    stream.on('headers', (_, __, list) => exchange.onInterim(statusOf(list), answerFields(list)));
    stream.on('response', (headers, flags, list) => this.#onResponse(headers, flags, list));
    stream.on('data', (chunk: Buffer) => exchange.onBody(chunk));
    stream.on('trailers', (_, __, list) => {
      this.#answerTrailers = list;
    });
    stream.once('end', () => this.#onEnd());
    stream.on('drain', () => exchange.onwardDrained());
    stream.on('wantTrailers', () => stream.sendTrailers(this.#requestTrailers ?? {}));
    stream.on('error', () => {});
    stream.once('close', () => this.#onClose());
  }

  write(chunk: Buffer): boolean {
    return this.#isOpen ? this.#stream.write(chunk) : true;
  }

  end(trailers: OutgoingHttpHeaders | undefined): void {
    this.#requestTrailers = trailers;
    if (this.#isOpen) this.#stream.end();
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  abandon(code: number): void {
    this.#isOver = true;
    this.#stream.close(code);
    // What was read and waits is wanted by nobody, and until it is read the stream does not end.
    this.#stream.resume();
  }

  get #isOpen(): boolean {
    return !this.#stream.destroyed && !this.#stream.closed;
  }

  #onResponse(headers: IncomingHttpHeaders, flags: number, list: FieldList): void {
    // Node keeps the names of sensitive fields under this symbol, which its types do not say.
    const sensitive = (headers as Record<symbol, unknown>)[sensitiveHeaders] as string[] | undefined;
    const isLast = (flags & END_STREAM) !== 0;
    if (isLast) this.#isOver = true;
    this.#exchange.onAnswer(statusOf(list), answerFields(list), isLast, sensitive);
  }

  #onEnd(): void {
    // A stream that was reset ends as well, but for a reset without an error: that follows a whole answer.
    if (this.#isOver || this.#stream.rstCode !== 0 || this.#lease.session.destroyed) return;
    this.#isOver = true;
    this.#exchange.onEnd(this.#answerTrailers);
  }

  #onClose(): void {
    this.#lease.release();
    if (this.#isOver) return this.#exchange.onwardGone();
    this.#isOver = true;
    const { session } = this.#lease;
    if (this.#stream.rstCode === REFUSED_STREAM && this.#again !== undefined) return this.#again();
    if (session.destroyed || this.#stream.rstCode === 0) this.#exchange.fail('the connection broke');
    else this.#exchange.onReset(this.#stream.rstCode);
  }
}

function statusOf(list: FieldList): number {
  // The codec has checked that it is there, and comes first or among the first.
  return Number(list[list.indexOf(':status') + 1]);
}
