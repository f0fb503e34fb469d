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
  /** A connection whose peer is proven; `accepted` is the one that was given to {@link Acceptor.accept}. */
  readonly onPeer: (socket: TLSSocket, peer: Peer, accepted: Socket) => void;
  /** A handshake that failed, or a peer that proves nothing. */
  readonly onRefused: (error: InterlockError, socket: Socket, accepted: Socket) => void;
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
  readonly #accepted = new WeakSet<Socket>();
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
      options.onRefused(handshakeError(error), socket, this.#beneath(socket) ?? socket);
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
    this.#accepted.add(socket);
    // Node documents this event as the way in for connections made elsewhere.
    this.#server.emit('connection', socket);
  }

  close(): void {
    this.#stopListening();
  }

  #prove(socket: TLSSocket): void {
    socket.on('error', () => {});
    const accepted = this.#beneath(socket);
    let peer: Peer;
    try {
      // Not to know whose connection this was is not to know whom it speaks for.
      if (accepted === undefined) throw new Error('this runtime does not tell the connection beneath TLS');
      peer = this.#peers.prove(socket, this.#options.clock.now());
    } catch (error) {
      const refused = isInterlockError(error) ? error : handshakeError(error);
      this.#options.onRefused(refused, socket, accepted ?? socket);
      socket.destroy();
      return;
    }
    socket.allowHalfOpen = true;
    this.#options.onPeer(socket, peer, accepted);
  }

  /** The connection that was accepted, of which TLS is now spoken. */
  #beneath(socket: TLSSocket): Socket | undefined {
    // Node keeps it there and has no public name for it. The addresses of both ends are no name: a caller may use them
    // again before the connection that had them is gone.
    const { _parent: parent } = socket as TLSSocket & { readonly _parent?: Socket };
    return parent !== undefined && this.#accepted.has(parent) ? parent : undefined;
  }

  #renew(svid: X509Svid): void {
    if (svid === this.#svid) return;
    this.#server.setSecureContext(contextOptions(svid));
    this.#svid = svid;
  }
}

/** What OpenSSL says without its numbers and places in its source; a port that takes plain text has none of these. */
function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  if ('code' in cause && PLAIN_TEXT.has(String(cause.code))) return 'the caller speaks plain text';
  return 'reason' in cause ? String(cause.reason) : cause.message;
}

/** How OpenSSL names bytes that are no TLS record. */
const PLAIN_TEXT = new Set([
  'ERR_SSL_HTTP_REQUEST',
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
]);

function handshakeError(cause: unknown): InterlockError {
  return new InterlockError('untrusted', 'peer', `no mutual TLS: ${reasonOf(cause)}`, { cause });
}
