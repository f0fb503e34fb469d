import {
  performServerHandshake,
  sensitiveHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Socket } from 'node:net';
import { isInterlockError } from '../../access/index.ts';
import type { Clock } from '../../workload/index.ts';
import { Deadline } from '../deadline.ts';
import type { HeadFault } from '../http1/request-head.ts';
import type { Timeouts } from '../settings.ts';
import type { Exchange } from './exchange.ts';
import { Http2Head } from './head.ts';
import { CONNECTION_WINDOW, END_STREAM, NO_ERROR, SERVER_OPTIONS } from './limits.ts';
import { localAnswer } from './local-answer.ts';
import { ping } from './session-pool.ts';

/** How often a caller with open streams is asked by PING whether it lives, in milliseconds. */
const PING_MS = 30_000;

/** Who serves the requests of a session. */
export interface SessionOwner {
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  /** A request; gives what becomes of it, or undefined where it was answered at once. */
  onRequest(stream: ServerHttp2Stream, head: Http2Head, hasBody: boolean): Exchange | undefined;
  /** A caller that does not speak HTTP/2 as it must. */
  fault(where: 'request', reason: string): void;
}

/** The server's end of HTTP/2 on one connection. */
export class ServerSession {
  readonly #owner: SessionOwner;
  readonly #session: ServerHttp2Session;
  readonly #exchanges = new Set<Exchange>();
  readonly #deadline: Deadline;
  #isDraining = false;

  /** `first` are bytes that were read already. */
  constructor(socket: Socket, first: Buffer | undefined, owner: SessionOwner) {
    this.#owner = owner;
    const { clock, timeouts } = owner;
    if (first !== undefined && first.length > 0) socket.unshift(first);
    this.#deadline = new Deadline(clock, () => this.#look());
    const session = performServerHandshake(socket, SERVER_OPTIONS);
    this.#session = session;
    session.setLocalWindowSize(CONNECTION_WINDOW);
    session.on('stream', (stream, headers, flags, list) => {
      // Node keeps the names of sensitive fields under this symbol, which its types do not say.
      const sensitive = (headers as Record<symbol, unknown>)[sensitiveHeaders] as string[] | undefined;
      const hasBody = (flags & END_STREAM) === 0;
      this.#onRequest(stream, Http2Head.read(list, sensitive, !hasBody), hasBody);
    });
    session.on('error', (error) => {
      // One that does not answer a PING is gone, and has done nothing wrong.
      if (!isInterlockError(error)) owner.fault('request', error.message);
    });
    session.once('close', () => this.#deadline.close());
    this.#deadline.set(timeouts.idle);
  }

  /** Requests whose answer is not through. */
  *open(): Iterable<Exchange> {
    for (const exchange of this.#exchanges) if (!exchange.isOver) yield exchange;
  }

  /**
   * Takes no new requests, and closes after those that there are. GOAWAY names the last one: what the caller sent later
   * it may send again elsewhere. (A first GOAWAY that names none yet, as RFC 9113 section 6.8 advises, is nothing for
   * Node: after any, nghttp2 passes over new streams without a word.) The connection stays until the caller has read it:
   * closed before, the caller's next bytes would have it reset.
   */
  drain(): void {
    const session = this.#session;
    if (this.#isDraining || session.closed || session.destroyed) return;
    this.#isDraining = true;
    session.goaway(NO_ERROR);
    ping(session, this.#owner.clock, this.#owner.timeouts.connect, () => {
      if (!session.destroyed) session.close();
    });
  }

  #onRequest(stream: ServerHttp2Stream, head: Http2Head | HeadFault, hasBody: boolean): void {
    if (stream.destroyed || stream.closed) return;
    if (!(head instanceof Http2Head)) {
      stream.on('error', () => {});
      this.#owner.fault('request', head.reason);
      localAnswer(stream, undefined, head.status);
      return;
    }
    const exchange = this.#owner.onRequest(stream, head, hasBody);
    if (exchange === undefined) return;
    if (this.#exchanges.size === 0) this.#deadline.set(PING_MS);
    this.#exchanges.add(exchange);
    stream.once('close', () => {
      this.#exchanges.delete(exchange);
      if (this.#exchanges.size === 0) this.#deadline.set(this.#owner.timeouts.idle);
    });
  }

  #look(): void {
    if (this.#exchanges.size === 0) return this.drain();
    ping(this.#session, this.#owner.clock, this.#owner.timeouts.connect);
    this.#deadline.set(PING_MS);
  }
}
