import type { Socket } from 'node:net';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { InterlockError, isInterlockError } from '../../access/index.ts';
import { type Clock, contextOptions, type Peer, type X509Svid } from '../../workload/index.ts';
import { type PeerPolicy, Peers } from './peers.ts';

/** What an {@link Acceptor} is told, and tells. */
export interface AcceptorOptions {
  readonly policy: PeerPolicy;
  readonly clock: Clock;
  /** Milliseconds. */
  readonly handshakeTimeout: number;
  readonly alpn?: readonly string[] | undefined;
  /** A connection whose peer is proven. */
  readonly onPeer: (socket: TLSSocket, peer: Peer) => void;
  /** A handshake that failed, or a peer that proves nothing. */
  readonly onRefused: (error: InterlockError, socket: Socket) => void;
}

/**
 * The server's end of mutual TLS for connections that were accepted elsewhere. A renewed SVID serves new connections;
 * what is open stays open.
 */
export class Acceptor {
  readonly #server: Server;
  readonly #peers: Peers;
  readonly #options: AcceptorOptions;
  readonly #stopListening: () => void;
  #svid: X509Svid;

  constructor(options: AcceptorOptions) {
    this.#options = options;
    this.#peers = new Peers(options.policy);
    this.#svid = options.policy.source.state.svid;
    this.#server = createServer({
      ...contextOptions(this.#svid),
      requestCert: true,
      // Our verifier judges; OpenSSL only checks that the peer has the key of what it shows.
      rejectUnauthorized: false,
      handshakeTimeout: options.handshakeTimeout,
      ...(options.alpn === undefined ? {} : { ALPNProtocols: [...options.alpn] }),
    });
    this.#server.on('secureConnection', (socket: TLSSocket) => this.#prove(socket));
    this.#server.on('tlsClientError', (error, socket) => {
      socket.on('error', () => {});
      options.onRefused(handshakeError(error), socket);
    });
    this.#stopListening = options.policy.source.onUpdate(({ svid }) => this.#renew(svid));
  }

  get peers(): Peers {
    return this.#peers;
  }

  /** Takes a connection, whose first bytes may have been put back with `unshift`. */
  accept(socket: Socket): void {
    // Who stops sending before the handshake is done is gone; half-open is for what comes after.
    socket.allowHalfOpen = false;
    // Node documents this event as the way in for connections made elsewhere.
    this.#server.emit('connection', socket);
  }

  close(): void {
    this.#stopListening();
  }

  #prove(socket: TLSSocket): void {
    socket.on('error', () => {});
    let peer: Peer;
    try {
      peer = this.#peers.prove(socket, this.#options.clock.now());
    } catch (error) {
      this.#options.onRefused(isInterlockError(error) ? error : handshakeError(error), socket);
      socket.destroy();
      return;
    }
    socket.allowHalfOpen = true;
    this.#options.onPeer(socket, peer);
  }

  #renew(svid: X509Svid): void {
    if (svid === this.#svid) return;
    this.#server.setSecureContext(contextOptions(svid));
    this.#svid = svid;
  }
}

function handshakeError(cause: unknown): InterlockError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new InterlockError('untrusted', 'peer', `no mutual TLS: ${reason}`, { cause });
}
