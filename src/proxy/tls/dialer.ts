import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import { InterlockError, isInterlockError, type SpiffeId } from '../../access/index.ts';
import {
  authorizeId,
  type Authorizer,
  type Clock,
  contextOptions,
  type X509Svid,
} from '../../workload/index.ts';
import { fastReads } from '../tcp/fast-read.ts';
import { TLS_SLABS } from '../tcp/slabs.ts';
import type { Address } from '../types.ts';
import { type PeerPolicy, Peers } from './peers.ts';

/** What a {@link Dialer} connects with. */
export interface DialerOptions {
  readonly policy: Omit<PeerPolicy, 'authorize'>;
  readonly clock: Clock;
  /** To reach the peer and prove it, in milliseconds. */
  readonly timeout: number;
}

/** Where to, and who has to answer. */
export interface Destination {
  readonly to: Address;
  readonly peer: SpiffeId;
  readonly alpn?: readonly string[] | undefined;
  /** The socket gives `data` events only, without garbage: not for Node's HTTP/2, nor where `read()` is used. */
  readonly readsFast?: boolean | undefined;
}

/** Called once: with a socket whose peer is proven, or with why there is none. */
export type Dialled = (error: InterlockError | undefined, socket?: TLSSocket) => void;

/**
 * The client's end of mutual TLS under one identity. Nothing is written before the peer is proven to be the one that is
 * expected, and nobody has the socket before.
 */
export class Dialer {
  readonly #options: DialerOptions;
  readonly #peers: Peers;
  readonly #authorizers = new Map<SpiffeId, Authorizer>();
  #svid: X509Svid | undefined;
  #context: SecureContext | undefined;

  constructor(options: DialerOptions) {
    this.#options = options;
    this.#peers = new Peers({ ...options.policy, authorize: NOBODY });
  }

  /** The identity that connections are made under now. */
  get svid(): X509Svid {
    return this.#options.policy.source.state.svid;
  }

  get peers(): Peers {
    return this.#peers;
  }

  /** Connects; the function it gives back gives up, and then nobody is told anything. */
  dial(destination: Destination, done: Dialled): () => void {
    const { clock, timeout } = this.#options;
    const { to, peer, alpn, readsFast } = destination;
    const where = `${to.host}:${to.port}`;
    const socket: TLSSocket = connect({
      host: to.host,
      port: to.port,
      secureContext: this.#contextOf(this.svid),
      // Our verifier judges below, and the name of a host proves nothing here.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
      ...HALF_OPEN,
      ...(readsFast === true ? { onread: fastReads(TLS_SLABS, () => socket) } : {}),
      ...(alpn === undefined ? {} : { ALPNProtocols: [...alpn] }),
    });
    socket.setNoDelay(true);
    let isSettled = false;
    const settle = (error: InterlockError | undefined) => {
      if (isSettled) return;
      isSettled = true;
      callOff();
      socket.off('close', closed);
      if (error === undefined) {
        socket.off('error', broke);
        done(undefined, socket);
      } else {
        socket.destroy();
        done(error);
      }
    };
    const broke = (cause: Error) => settle(unavailable(where, cause.message, cause));
    const closed = () => settle(unavailable(where, 'the peer closed the connection during the handshake'));
    const callOff = clock.after(timeout, () =>
      settle(unavailable(where, `no handshake within ${timeout} ms`)),
    );
    socket.on('error', broke);
    socket.once('close', closed);
    socket.once('secureConnect', () => {
      try {
        this.#peers.prove(socket, clock.now(), this.#authorizerOf(peer));
        settle(undefined);
      } catch (error) {
        settle(isInterlockError(error) ? error : unavailable(where, String(error), error));
      }
    });
    return () => {
      isSettled = true;
      callOff();
      socket.destroy();
    };
  }

  #authorizerOf(peer: SpiffeId): Authorizer {
    let authorizer = this.#authorizers.get(peer);
    if (authorizer === undefined) {
      authorizer = authorizeId(peer);
      this.#authorizers.set(peer, authorizer);
    }
    return authorizer;
  }

  /** Reading key and chain takes longer than a handshake's arithmetic: once for each SVID. */
  #contextOf(svid: X509Svid): SecureContext {
    if (this.#context === undefined || this.#svid !== svid) {
      this.#context = createSecureContext(contextOptions(svid));
      this.#svid = svid;
    }
    return this.#context;
  }
}

/** Node's documentation has this option, its types do not. */
const HALF_OPEN: object = { allowHalfOpen: true };

const NOBODY: Authorizer = { expects: 'nobody', allows: () => false };

function unavailable(where: string, why: string, cause?: unknown): InterlockError {
  return new InterlockError('unavailable', where, `no mutual TLS with ${where}: ${why}`, { cause });
}
