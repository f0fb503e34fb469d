import { HTTP_FAULT_EVENTS, type HttpFault } from '../http1/gate.ts';
import type { ServerHttp2Stream } from 'node:http2';
import type { Clock } from '../../workload/index.ts';
import type {
  LocalHandler,
  OutboundConnection,
  OutboundHttp2,
  OutboundOptions,
} from '../outbound/listener.ts';
import type { Timeouts } from '../settings.ts';
import { Exchange } from './exchange.ts';
import type { Http2Head } from './head.ts';
import type { ExchangeOwner } from './onward.ts';
import { sendOverHttp2 } from './over-http2.ts';
import { ServerSession, type SessionOwner } from './server-session.ts';
import type { SessionPool } from './session-pool.ts';

/**
 * Takes HTTP/2 in plain text from a local program, a gRPC client mostly, and sends each stream on over HTTP/2 in mutual
 * TLS. Streams of one workload to one peer share connections; those of two workloads never do.
 */
export const http2Outbound: OutboundHttp2 = (connection, first, options) =>
  new LocalHttp2(connection, first, options);

class LocalHttp2 implements LocalHandler, SessionOwner, ExchangeOwner {
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  readonly #connection: OutboundConnection;
  readonly #options: OutboundOptions;
  readonly #session: ServerSession;
  #own: SessionPool | undefined;

  constructor(connection: OutboundConnection, first: Buffer, options: OutboundOptions) {
    this.clock = options.clock;
    this.timeouts = options.timeouts;
    this.#connection = connection;
    this.#options = options;
    const { socket, route, workload } = connection;
    if (route.sendProxyHeader !== undefined) {
      const source = { host: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 };
      this.#own = options.uplinks.ownSessions(workload, route, source);
      socket.once('close', () => this.#own?.close());
    }
    this.#session = new ServerSession(socket, first, this);
  }

  onRequest(stream: ServerHttp2Stream, head: Http2Head, hasBody: boolean): Exchange {
    const exchange = new Exchange(stream, head, this);
    const { route, workload } = this.#connection;
    const sessions = this.#own ?? this.#options.uplinks.sessions(workload, route);
    sendOverHttp2(exchange, sessions, { scheme: 'https', fields: head.fields, hasBody });
    return exchange;
  }

  drain(): void {
    this.#session.drain();
  }

  /** Calls are recorded where they are judged: at the peer. */
  ended(): void {}

  fault(where: HttpFault, reason: string): void {
    const { counters, log } = this.#options;
    if (where === 'response') counters.badAnswers++;
    else if (where === 'request') counters.badRequests++;
    log({ event: HTTP_FAULT_EVENTS[where], workload: this.#connection.workload, reason });
  }
}
