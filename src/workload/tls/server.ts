import type { EventEmitter } from 'node:events';
import type { AddressInfo, ListenOptions, Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import type { InterlockError } from '../../access/index.ts';
import { interlockErrorOf } from '../api-error.ts';
import { type Clock, systemClock } from '../clock.ts';
import type { X509Svid } from '../x509-state.ts';
import { type AtExpiry, Connections } from './connections.ts';
import { contextOptions } from './context.ts';
import { type MtlsPolicy, type Peer, provePeer } from './peer.ts';

/** How long a handshake may take, in milliseconds: a client that stalls must not hold a socket for ever. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** A peer or a program that was turned away: who and from where. */
export interface Refusal {
  readonly error: InterlockError;
  /** Address and port, or "" for a socket without. */
  readonly from: string;
}

/** How an {@link MtlsServer} serves. */
export interface MtlsServerOptions extends MtlsPolicy {
  /** Takes a connection whose peer is proven. Nothing of it was read before, and nothing written. */
  readonly onConnection: (socket: TLSSocket, peer: Peer) => void;
  /** Told of every connection that was turned away or cut. */
  readonly onRefused?: ((refusal: Refusal) => void) | undefined;
  /** What happens to a connection when the peer's certificate ends; `close` where not said. */
  readonly atExpiry?: AtExpiry | undefined;
  /** Application protocols offered (ALPN), the preferred first: `['h2', 'http/1.1']`. */
  readonly alpn?: readonly string[] | undefined;
  readonly clock?: Clock | undefined;
}

/**
 * A server for mutual TLS that gives out only connections whose peer is proven and expected. A new SVID serves new
 * connections at once; connections of a peer that is revoked, or trusted no more, are cut.
 */
export class MtlsServer {
  readonly #server: Server;
  readonly #options: MtlsServerOptions;
  readonly #clock: Clock;
  readonly #connections: Connections;
  readonly #stopListening: () => void;
  /** Everything accepted, proven or not yet, so that closing ends it. */
  readonly #accepted = new Set<Socket>();
  #svid: X509Svid;

  constructor(options: MtlsServerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#svid = options.source.state.svid;
    this.#server = createServer({
      ...contextOptions(this.#svid),
      requestCert: true,
      // Our verifier judges in `#accept`, before anyone else sees the socket.
      rejectUnauthorized: false,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      ...(options.alpn === undefined ? {} : { ALPNProtocols: [...options.alpn] }),
    });
    this.#connections = new Connections({
      policy: options,
      clock: this.#clock,
      atExpiry: options.atExpiry ?? 'close',
      onCut: (error, peer) => this.#refuse(error, peer.spiffeId),
    });
    this.#stopListening = options.source.onUpdate(({ svid }) => this.#renew(svid));
    this.#server.on('connection', (socket: Socket) => {
      this.#accepted.add(socket);
      socket.once('close', () => this.#accepted.delete(socket));
    });
    this.#server.on('secureConnection', (socket: TLSSocket) => this.#accept(socket));
    this.#server.on('tlsClientError', (error, socket) =>
      this.#refuse(interlockErrorOf('handshake', error), addressOf(socket)),
    );
    this.#server.on('error', (error) => this.#refuse(interlockErrorOf('listener', error), ''));
  }

  /** Starts to listen, and gives the address. Rejects with the system's error. */
  listen(options: ListenOptions): Promise<AddressInfo | string> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(options, () => {
        this.#server.off('error', reject);
        // A server that listens has an address.
        resolve(this.#server.address() as AddressInfo | string);
      });
    });
  }

  /** How many proven connections are open. */
  get size(): number {
    return this.#connections.size;
  }

  /** Judges every open connection anew, where something that the source does not say has changed: revoked IDs. */
  judgeAgain(): void {
    this.#connections.judgeAgain();
  }

  /** Stops listening and cuts what is open. */
  close(): Promise<void> {
    this.#stopListening();
    this.#connections.close();
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      for (const socket of this.#connections.sockets()) socket.destroy();
      for (const socket of this.#accepted) socket.destroy();
    });
  }

  #accept(socket: TLSSocket): void {
    // A socket that breaks ends with 'close'; without a listener its error would end the process.
    socket.on('error', () => {});
    let peer: Peer;
    try {
      peer = provePeer(socket, this.#options, this.#clock.now());
    } catch (error) {
      const from = addressOf(socket);
      socket.destroy();
      this.#refuse(interlockErrorOf('peer', error), from);
      return;
    }
    this.#connections.add(socket, peer);
    this.#options.onConnection(socket, peer);
  }

  #renew(svid: X509Svid): void {
    if (svid === this.#svid) return;
    // Throws where OpenSSL does not take it; the source tells its onError, and the context stays as it was.
    this.#server.setSecureContext(contextOptions(svid));
    this.#svid = svid;
  }

  #refuse(error: InterlockError, from: string): void {
    this.#options.onRefused?.({ error, from });
  }
}

/** An {@link MtlsServer}; call `listen` on it. */
export function createMtlsServer(options: MtlsServerOptions): MtlsServer {
  return new MtlsServer(options);
}

/**
 * Gives proven connections to an HTTP/1 or HTTP/2 server that has no TLS of its own (`http.createServer()`,
 * `http2.createServer()`); in its handlers `peerOf(request.socket)` says who is calling.
 */
export function toHttpServer(server: EventEmitter): (socket: TLSSocket) => void {
  return (socket) => {
    server.emit('connection', socket);
  };
}

function addressOf(socket: { remoteAddress?: string | undefined; remotePort?: number | undefined }): string {
  if (socket.remoteAddress === undefined) return '';
  return `${socket.remoteAddress}:${socket.remotePort ?? 0}`;
}
