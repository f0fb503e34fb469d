import { constants } from 'node:crypto';
import { createServer as createTcpServer, type Server as TcpServer, type Socket } from 'node:net';
import { createServer, type Server as TlsServer, type TLSSocket } from 'node:tls';
import type { Server as GrpcServer } from '@grpc/grpc-js';
import { ServerCredentials } from '@grpc/grpc-js';
import { type InterlockError, isInterlockError, type SpiffeId } from '../../access/index.ts';
import { isLoopback } from '../http/names.ts';
import { listenAt } from '../listening.ts';
import { bareAddress } from '../peer-address.ts';
import type { Timers } from '../timers.ts';
import { Crowd, type CrowdLimits } from './crowd.ts';
import { peerChain } from './peer-chain.ts';

/** What a TLS server shows of itself, PEM. */
export interface ServerIdentity {
  readonly key: string;
  /** Leaf first, the root last: an agent that has only a join token knows the root by its hash. */
  readonly chain: string;
}

/** A verified caller. */
export interface PeerIdentity {
  readonly spiffeId: SpiffeId;
  readonly serial: string;
  /** Milliseconds since 1970 UTC. */
  readonly notAfter: number;
}

/** One connection, as long as it is open. */
export interface Peer {
  /** Unique; what `call.getPeer()` gives. */
  readonly key: string;
  readonly address: string;
  /** Undefined where no certificate was shown. */
  identity: PeerIdentity | undefined;
  /** Why the certificate shown is refused: every call of the connection is answered with it. */
  readonly fault: InterlockError | undefined;
  /** Closes the connection at once. */
  close(): void;
}

export interface ListenerOptions {
  readonly host: string;
  readonly port: number;
  readonly identity: ServerIdentity;
  readonly server: GrpcServer;
  readonly timers: Timers;
  /** Judges a certificate chain that a caller showed, leaf first; throws what is wrong with it. */
  readonly verify: (chain: readonly Buffer[]) => PeerIdentity;
  /** Told of connections that came to nothing, for the log. */
  readonly onRefused: (address: string, reason: string) => void;
  /** Told of those who left before the handshake had ended: agents do, when they meet the server for the first time. */
  readonly onLeft?: (() => void) | undefined;
  /** Connections without a certificate that is good, at one time; 4,096, and 512 of one address, where absent. */
  readonly maxStrangers?: CrowdLimits;
  /** Handshakes under way at one time; as many where absent. */
  readonly maxHandshakes?: CrowdLimits;
  /** Addresses behind which many stand, such as that of a load balancer; this machine's own where absent. */
  readonly isExempt?: ((address: string) => boolean) | undefined;
}

/** How long a TLS handshake may take, in milliseconds. */
const HANDSHAKE_MS = 10_000;
/** From when on a handshake makes room for another one, in milliseconds: it takes some, and a busy server does not take seconds. */
const SLOW_HANDSHAKE_MS = 3000;
const MOST: CrowdLimits = { all: 4096, each: 512 };
/** How long a connection without a good certificate may last: an attestation takes less. Milliseconds. */
const STRANGER_MS = 60_000;
/** From when on such a one makes room: as long as an attestation may take. */
const SLOW_STRANGER_MS = 30_000;

/**
 * TLS for the agents' gRPC server. The chain of a caller is judged by our own verifier, never by Node's, on every
 * connection: there is no resumption. (Tickets are off, and of the sessions that TLS 1.3 then offers none is kept
 * here, so none can be resumed: listener.test.ts tries.)
 */
export class AgentListener {
  readonly #options: ListenerOptions;
  readonly #tcp: TcpServer;
  /** Makes TLS of the connections of {@link #tcp}; listens nowhere itself. */
  readonly #tls: TlsServer;
  /** Connections that have said nothing yet. */
  readonly #silent = new Set<Socket>();
  readonly #peers = new Map<string, Peer>();
  /** By address and port, what ends the handshake of a connection. */
  readonly #unfinished = new Map<string, () => void>();
  readonly #handshakes: Crowd;
  readonly #strangers: Crowd;
  #next = 1;

  constructor(options: ListenerOptions) {
    this.#options = options;
    const { timers, isExempt = isLoopback, maxHandshakes = MOST, maxStrangers = MOST } = options;
    this.#handshakes = new Crowd({ timers, isExempt, most: maxHandshakes, slowMs: SLOW_HANDSHAKE_MS });
    this.#strangers = new Crowd({ timers, isExempt, most: maxStrangers, slowMs: SLOW_STRANGER_MS });
    const injector = options.server.createConnectionInjector(ServerCredentials.createInsecure());
    this.#tls = createServer({
      ...secureOptions(options.identity),
      requestCert: true,
      // Node's own judgement of the chain is not asked for: it knows no SPIFFE ID.
      rejectUnauthorized: false,
      // Not ALPNProtocols: Node copies that list for every connection into a slice of its pool of buffers, and the slice
      // keeps the whole piece of the pool for as long as the connection lives: 16 KB each, measured.
      ALPNCallback: ({ protocols }) => (protocols.includes('h2') ? 'h2' : undefined),
      handshakeTimeout: HANDSHAKE_MS,
    });
    this.#tls.on('secureConnection', (socket) => {
      this.#unfinished.get(addressOf(socket))?.();
      if (this.#accept(socket)) injector.injectConnection(socket);
    });
    this.#tls.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
      // An agent that meets the server for the first time looks at its certificates and leaves.
      if (error.code === 'ECONNRESET') options.onLeft?.();
      else options.onRefused(socket.remoteAddress ?? 'unknown', error.message);
    });
    this.#tcp = createTcpServer((socket) => {
      if (this.#begin(socket)) this.#hear(socket);
    });
  }

  /** Whether there is room for one more handshake. */
  #begin(socket: Socket): boolean {
    const { remoteAddress = '' } = socket;
    const key = addressOf(socket);
    const refuse = () => {
      this.#options.onRefused(key, 'too many handshakes at one time');
      socket.destroy();
    };
    const end = this.#handshakes.begin(bareAddress(remoteAddress), refuse);
    if (end === undefined) {
      refuse();
      return false;
    }
    const ended = () => {
      end();
      this.#unfinished.delete(key);
      socket.off('close', ended);
    };
    this.#unfinished.set(key, ended);
    socket.once('close', ended);
    return true;
  }

  /**
   * Hands a connection to TLS with the first bytes of its handshake already read. Node gives TLS a buffer of 64 KB for each
   * connection where the first bytes come from the system, and of 16 KB where they are handed over, and keeps it for as long as
   * the connection lives: with 2,000 proxies that is 94 MB.
   */
  #hear(socket: Socket): void {
    const forget = () => this.#silent.delete(socket);
    const leave = () => socket.destroy();
    this.#silent.add(socket);
    socket.once('close', forget);
    socket.on('error', leave);
    socket.setTimeout(HANDSHAKE_MS, leave);
    socket.once('readable', () => {
      forget();
      socket.setTimeout(0, leave);
      socket.off('error', leave).off('close', forget);
      // It has ended without a word.
      if (socket.readableLength === 0) socket.destroy();
      else this.#tls.emit('connection', socket);
    });
  }

  /** Starts to listen and gives the port. Throws `io`. */
  listen(): Promise<number> {
    const { host, port } = this.#options;
    return listenAt(this.#tcp, { host, port, backlog: 2048 });
  }

  /** Shows another certificate to those who connect from now on. */
  setIdentity(identity: ServerIdentity): void {
    this.#tls.setSecureContext(secureOptions(identity));
  }

  /** The connection that a call came over. */
  peerOf(call: { getPeer(): string }): Peer | undefined {
    return this.#peers.get(call.getPeer());
  }

  peers(): Iterable<Peer> {
    return this.#peers.values();
  }

  /** Those who have not shown who they are: how many are there, and how many were turned away since the start. */
  get crowds() {
    return { handshakes: this.#handshakes, strangers: this.#strangers } as const;
  }

  /** Takes no more connections; the open ones stay. */
  stopListening(): void {
    this.#tcp.close();
  }

  /** Ends every connection. */
  closeAll(): void {
    this.#tcp.close();
    for (const socket of this.#silent) socket.destroy();
    for (const peer of this.#peers.values()) peer.close();
  }

  #accept(socket: TLSSocket): boolean {
    const address = addressOf(socket);
    socket.on('error', () => socket.destroy());
    if (socket.alpnProtocol !== 'h2') {
      this.#options.onRefused(address, 'the client does not speak HTTP/2 (ALPN "h2")');
      socket.destroy();
      return false;
    }
    const chain = peerChain(socket);
    const judged = chain.length === 0 ? {} : this.#judge(address, chain);
    // Anybody can make a certificate: one that is refused is as good as none.
    const isStranger = judged.identity === undefined;
    const turnAway = () => {
      this.#options.onRefused(address, 'too many connections without a certificate');
      socket.destroy();
    };
    const leaves = isStranger
      ? this.#strangers.begin(bareAddress(socket.remoteAddress ?? ''), turnAway)
      : () => {};
    if (leaves === undefined) {
      turnAway();
      return false;
    }
    const key = `peer-${this.#next++}`;
    // grpc-js names a call's peer by its socket's address: ours is unique for as long as the process lives.
    Object.defineProperties(socket, { remoteAddress: { value: key }, remotePort: { value: undefined } });
    this.#peers.set(key, {
      key,
      address,
      identity: judged.identity,
      fault: judged.fault,
      close: () => socket.destroy(),
    });
    const cancel = isStranger ? this.#options.timers.after(STRANGER_MS, () => socket.destroy()) : () => {};
    socket.once('close', () => {
      cancel();
      this.#peers.delete(key);
      leaves();
    });
    return true;
  }

  #judge(address: string, chain: readonly Buffer[]): { identity?: PeerIdentity; fault?: InterlockError } {
    try {
      return { identity: this.#options.verify(chain) };
    } catch (error) {
      if (!isInterlockError(error)) throw error;
      this.#options.onRefused(address, error.message);
      return { fault: error };
    }
  }
}

function addressOf({ remoteAddress = 'unknown', remotePort = 0 }: Socket): string {
  return `${remoteAddress}:${remotePort}`;
}

function secureOptions(identity: ServerIdentity) {
  return {
    key: identity.key,
    cert: identity.chain,
    minVersion: 'TLSv1.3',
    secureOptions: constants.SSL_OP_NO_TICKET,
  } as const;
}
