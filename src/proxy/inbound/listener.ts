import { createServer, type Server, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { type InterlockError, isInterlockError, type SpiffeId } from '../../access/index.ts';
import { authorizeAny, type Peer, sameTrust, type X509State, type X509View } from '../../workload/index.ts';
import { blocksOf, isWithin } from '../addresses.ts';
import { addressOf, listen } from '../listen.ts';
import { type ProxyHeader, readProxyHeader } from '../proxy-protocol/index.ts';
import { DEFAULT_LIMITS, type Limits } from '../settings.ts';
import { Acceptor } from '../tls/acceptor.ts';
import type { Address, Caller, InboundRoute } from '../types.ts';
import { provenCaller, unknownCaller } from './caller.ts';
import { InboundConnection, type InboundContext } from './connection.ts';
import { opening } from './opening.ts';
import { Open } from './open.ts';
import { type Http2Server, Protocols } from './protocols.ts';

/** The first byte of a TLS record that carries a handshake (RFC 8446 section 5.1); no text begins with it. */
const TLS_HANDSHAKE = 0x16;

/** What one port of a workload is served with. */
export interface InboundOptions {
  readonly route: InboundRoute;
  /** The identity of the workload, and whom it trusts. */
  readonly source: X509View;
  readonly context: InboundContext;
  readonly limits?: Limits | undefined;
  /** As of `MtlsPolicy`. */
  readonly scopes?: ReadonlyMap<string, readonly string[]> | undefined;
  readonly revokedIds?: (() => ReadonlySet<SpiffeId>) | undefined;
  /** Speaks HTTP/2; without it HTTP/2 is not offered. */
  readonly http2?: Http2Server | undefined;
  /** The route that the destination of a believed PROXY header names, where one port serves several. */
  readonly routeOf?: ((destination: Address) => InboundRoute | undefined) | undefined;
  /** The workload behind a connection in plain text, where the kernel has said so; never proof. */
  readonly workloadOf?: ((socket: Socket) => SpiffeId | undefined) | undefined;
}

/** One port on which a workload is called. */
export class InboundListener {
  readonly #options: InboundOptions;
  readonly #server: Server;
  readonly #acceptor: Acceptor;
  readonly #protocols: Protocols;
  readonly #open: Open;
  readonly #isTrusted: (address: string) => boolean;
  /** Headers of connections, as they were accepted. */
  readonly #headers = new WeakMap<Socket, ProxyHeader>();
  readonly #stopListening: () => void;
  #trust: X509State;

  private constructor(options: InboundOptions) {
    const { route, source, context, scopes, revokedIds } = options;
    this.#options = options;
    this.#open = new Open(context, options.limits ?? DEFAULT_LIMITS);
    this.#protocols = new Protocols(context, options.http2);
    const blocks = blocksOf(route.trustProxyHeader?.addresses ?? []);
    this.#isTrusted = (address) => isWithin(address, blocks);
    this.#acceptor = new Acceptor({
      policy: { source, authorize: authorizeAny(), scopes, revokedIds },
      clock: context.clock,
      handshakeTimeout: context.timeouts.handshake,
      alpn: this.#protocols.alpnOf(route),
      onPeer: (socket, peer, accepted) => this.#proven(socket, peer, this.#headers.get(accepted)),
      onRefused: (error, socket, accepted) => this.#refused(error, socket, this.#headers.get(accepted)),
    });
    this.#trust = source.state;
    this.#stopListening = source.onUpdate((state) => {
      const before = this.#trust;
      this.#trust = state;
      if (!sameTrust(before, state)) this.judgePeers();
    });
    // Half-open connections are legal, and end where both ends have ended.
    this.#server = createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true }, (socket) =>
      this.accept(socket),
    );
    this.#server.on('error', ({ message }) => {
      // Where it cannot listen, who opens it is told.
      if (this.#server.listening) context.log({ event: 'fault', reason: message });
    });
  }

  /** One that does not listen itself: its connections come by `accept`. */
  static detached(options: InboundOptions): InboundListener {
    return new InboundListener(options);
  }

  /** Starts to listen. Rejects with the system's error. */
  static async open(options: InboundOptions): Promise<InboundListener> {
    const listener = new InboundListener(options);
    await listen(listener.#server, options.route.listen);
    return listener;
  }

  /** Where it listens, with the port that the system chose where 0 was asked for. */
  get address(): Address {
    return addressOf(this.#server);
  }

  /** Connections that are open. */
  get size(): number {
    return this.#open.size;
  }

  /**
   * Judges what goes on by the verdicts of this moment. What is no longer allowed is judged once more after `graceMs`,
   * and cut if it still is not. Gives how many there are.
   */
  rejudge(graceMs: number): number {
    return this.#open.rejudge(graceMs);
  }

  /** Judges the peers of open connections by what is trusted now, and cuts those who are not: revocation. */
  judgePeers(): void {
    const { clock } = this.#options.context;
    for (const connection of this.#open.connections()) {
      const { peer } = connection;
      if (peer === undefined) continue;
      try {
        // A connection outlives the certificate that opened it, as with Envoy; it does not outlive its revocation.
        this.#acceptor.peers.judge(peer.presented, Math.min(clock.now(), peer.expiresAt));
      } catch (error) {
        this.#open.cut(connection, isInterlockError(error) ? error.message : String(error));
      }
    }
  }

  /** Takes no more connections, lets those open end, and cuts what is left after `withinMs`. */
  async drain(withinMs: number): Promise<void> {
    this.#server.close();
    await this.#open.drain(withinMs);
    this.close();
  }

  /** Stops at once. */
  close(): void {
    this.#stopListening();
    this.#acceptor.close();
    if (this.#server.listening) this.#server.close();
    this.#open.close();
    this.#protocols.close();
  }

  /** Takes a connection; `header` is the PROXY header that was read from it already, and is believed. */
  accept(socket: Socket, header?: ProxyHeader): void {
    socket.on('error', () => {});
    if (!this.#open.admit(socket)) return;
    if (header !== undefined) return this.#authenticate(socket, header);
    const { clock, timeouts } = this.#options.context;
    if (!this.#isTrusted(socket.remoteAddress ?? '')) return this.#authenticate(socket, undefined);
    opening(socket, clock, timeouts.handshake, headerIn, (found, bytes) => {
      if (found === undefined) return;
      if (found === 'silent' || found.kind !== 'header') {
        return this.#refuse(
          socket,
          unknownCaller(socket),
          found === 'silent' ? 'no PROXY header' : found.reason,
        );
      }
      if (bytes.length > found.length) socket.unshift(bytes.subarray(found.length));
      this.#authenticate(socket, found.header);
    });
  }

  /** Mutual TLS or plain text, by the stage that is in force now. */
  #authenticate(socket: Socket, header: ProxyHeader | undefined): void {
    const route = this.#routeOf(header);
    if (route === undefined) {
      return this.#refuse(
        socket,
        unknownCaller(socket, header),
        'a PROXY header for a port that is not served here',
      );
    }
    const { clock, timeouts, verdicts } = this.#options.context;
    const stage = verdicts.authenticationOf(route.workload);
    if (stage === 'strict') return this.#handshake(socket, header);
    if (stage === 'plaintext') return this.#plaintext(socket, route, header, undefined);
    const first = (bytes: Buffer) => (bytes.length === 0 ? undefined : (bytes[0] as number));
    opening(socket, clock, timeouts.silence, first, (found, bytes) => {
      if (found === undefined) return;
      if (found === TLS_HANDSHAKE) {
        socket.unshift(bytes);
        this.#handshake(socket, header);
      } else {
        // Who says nothing but goodbye looks whether somebody listens, as health checks do: there is no caller to record.
        const isLook = bytes.length === 0 && socket.readableEnded;
        if (isLook && route.protocol !== 'tcp') socket.destroy();
        else this.#plaintext(socket, route, header, bytes, isLook);
      }
    });
  }

  #handshake(socket: Socket, header: ProxyHeader | undefined): void {
    if (header !== undefined) this.#headers.set(socket, header);
    this.#acceptor.accept(socket);
  }

  #plaintext(
    socket: Socket,
    route: InboundRoute,
    header: ProxyHeader | undefined,
    first: Buffer | undefined,
    isLook = false,
  ): void {
    const { recorder, clock } = this.#options.context;
    const workload = header === undefined ? this.#options.workloadOf?.(socket) : undefined;
    const caller: Caller = {
      ...unknownCaller(socket, header),
      ...(workload === undefined ? {} : { workload }),
    };
    if (!isLook) recorder.plaintext(route.workload, caller, route.port, clock.now());
    this.#serve(socket, route, caller, undefined, first, header !== undefined);
  }

  #proven(socket: TLSSocket, peer: Peer, before: ProxyHeader | undefined): void {
    const route = this.#routeOf(before);
    if (route === undefined) return;
    if (route.trustProxyHeader?.workloads.includes(peer.spiffeId) !== true) {
      this.#serve(socket, route, provenCaller(socket, peer, before), peer, undefined, before !== undefined);
      return;
    }
    const { clock, timeouts } = this.#options.context;
    opening(socket, clock, timeouts.handshake, headerIn, (found, bytes) => {
      if (found === undefined) return;
      const caller = provenCaller(socket, peer, before);
      if (found === 'silent' || found.kind !== 'header') {
        return this.#refuse(socket, caller, found === 'silent' ? 'no PROXY header' : found.reason);
      }
      const inner = this.#routeOf(found.header);
      if (inner === undefined) {
        return this.#refuse(socket, caller, 'a PROXY header for a port that is not served here');
      }
      const rest = bytes.length > found.length ? bytes.subarray(found.length) : undefined;
      this.#serve(socket, inner, provenCaller(socket, peer, found.header), peer, rest, true);
    });
  }

  #serve(
    socket: Socket,
    route: InboundRoute,
    caller: Caller,
    peer: Peer | undefined,
    first: Buffer | undefined,
    isTrustedHop: boolean,
  ): void {
    const connection = new InboundConnection(socket, route, caller, this.#options.context, isTrustedHop);
    connection.peer = peer;
    this.#open.add(connection);
    this.#protocols.serve(connection, first);
  }

  #routeOf(header: ProxyHeader | undefined): InboundRoute | undefined {
    const { route, routeOf } = this.#options;
    if (routeOf === undefined || header?.destination === undefined) return route;
    return routeOf(header.destination);
  }

  #refused(error: InterlockError, socket: Socket, header: ProxyHeader | undefined): void {
    const { cause } = error;
    // Whoever opens a connection and leaves has asked for nothing: a health check of the port.
    if (cause instanceof Error && (cause as NodeJS.ErrnoException).code === 'ECONNRESET') {
      this.#options.context.counters.refused++;
      return;
    }
    this.#refuse(socket, unknownCaller(socket, header), error.message);
  }

  #refuse(socket: Socket, caller: Caller, reason: string): void {
    const { route, context } = this.#options;
    new InboundConnection(socket, route, caller, context).refused(reason);
    socket.destroy();
  }
}

/** A PROXY header in the first bytes, or why there is none; undefined while that cannot be told. */
function headerIn(bytes: Buffer) {
  const found = readProxyHeader(bytes);
  return found.kind === 'more' ? undefined : found;
}
