import type { TLSSocket } from 'node:tls';
import { Pool } from '../http1/pool.ts';
import { proxyHeader } from '../proxy-protocol/index.ts';
import { connectPlain } from '../tcp/connect.ts';
import type { InboundRoute } from '../types.ts';
import type { InboundConnection, InboundContext } from './connection.ts';
import { serveHttp1 } from './http1.ts';
import { opening } from './opening.ts';
import { serveTcp } from './tcp.ts';

/** The ways to the program of one connection. */
export interface ToProgram {
  /** For HTTP/1.1. */
  readonly pool: Pool;
  /** What every connection to the program begins with; then it is that of one caller, and no other's. */
  readonly preamble: Buffer | undefined;
}

/** Speaks HTTP/2 on a connection whose first bytes are `first`, and sets its `handler`. */
export type Http2Server = (
  connection: InboundConnection,
  first: Buffer | undefined,
  program: ToProgram,
) => void;

/** What a client of HTTP/2 sends first (RFC 9113 section 3.4); its first words are enough to tell it from HTTP/1.1. */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

/** Finds out what is spoken on a connection, and has it served. */
export class Protocols {
  readonly #context: InboundContext;
  readonly #http2: Http2Server | undefined;
  /** Connections to programs, by where they listen. */
  readonly #pools = new Map<string, Pool>();

  constructor(context: InboundContext, http2: Http2Server | undefined) {
    this.#context = context;
    this.#http2 = http2;
  }

  /** The protocols to offer in TLS. Where bytes are not looked at, none: what the ends agree on is theirs. */
  alpnOf({ protocol }: InboundRoute): readonly string[] | undefined {
    if (protocol === 'tcp') return undefined;
    return this.#http2 === undefined ? ['http/1.1'] : ['h2', 'http/1.1'];
  }

  /** Serves it; `first` are bytes that were read already. */
  serve(connection: InboundConnection, first: Buffer | undefined): void {
    const { socket, route } = connection;
    if (route.protocol === 'tcp') {
      serveTcp(connection, first, this.#preambleOf(connection));
      return;
    }
    const http2 = this.#http2;
    const agreed = (socket as Partial<TLSSocket>).alpnProtocol;
    if (http2 === undefined || agreed === 'http/1.1') return this.#http1(connection, first);
    if (agreed === 'h2') return http2(connection, first, this.#programOf(connection));
    const { clock, timeouts } = this.#context;
    if (first !== undefined && first.length > 0) socket.unshift(first);
    opening(socket, clock, timeouts.idle, isHttp2, (found, bytes) => {
      if (found === undefined) return;
      if (found === 'silent') socket.destroy();
      else if (found === 'h2') http2(connection, bytes, this.#programOf(connection));
      else this.#http1(connection, bytes);
    });
  }

  close(): void {
    for (const pool of this.#pools.values()) pool.close();
  }

  #http1(connection: InboundConnection, first: Buffer | undefined): void {
    serveHttp1(connection, this.#programOf(connection).pool, first);
  }

  #programOf(connection: InboundConnection): ToProgram {
    const preamble = this.#preambleOf(connection);
    if (preamble === undefined) return { pool: this.#poolOf(connection.route), preamble };
    // With a PROXY header in front a connection to the program is that of one caller, and no other's.
    const pool = this.#newPool(connection.route, preamble);
    connection.socket.once('close', () => pool.close());
    return { pool, preamble };
  }

  #poolOf(route: InboundRoute): Pool {
    const key = `${route.forward.host}:${route.forward.port}`;
    let pool = this.#pools.get(key);
    if (pool === undefined) {
      pool = this.#newPool(route, undefined);
      this.#pools.set(key, pool);
    }
    return pool;
  }

  #newPool(route: InboundRoute, preamble: Buffer | undefined): Pool {
    const { clock, timeouts } = this.#context;
    const options = { to: route.forward, clock, timeout: timeouts.connect, preamble };
    return new Pool({ clock, idleMs: timeouts.pool, dial: (done) => connectPlain(options, done) });
  }

  #preambleOf({ route, caller }: InboundConnection): Buffer | undefined {
    if (route.sendProxyHeader === undefined) return undefined;
    return proxyHeader(route.sendProxyHeader, { host: caller.address, port: caller.port }, route.forward);
  }
}

function isHttp2(bytes: Buffer): 'h2' | 'http/1.1' | undefined {
  const length = Math.min(bytes.length, PREFACE.length);
  if (bytes.compare(PREFACE, 0, length, 0, length) !== 0) return 'http/1.1';
  // "PRI" is no method that anybody else may use.
  return length < 4 ? undefined : 'h2';
}
