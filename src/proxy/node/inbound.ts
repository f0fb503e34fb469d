import type { Socket } from 'node:net';
import type { SpiffeId } from '../../access/index.ts';
import type { SocketTuple } from '../../system/index.ts';
import { blocksOf, canonicalAddress, isWithin, plainAddress } from '../addresses.ts';
import { unknownCaller } from '../inbound/caller.ts';
import { InboundConnection, type InboundContext } from '../inbound/connection.ts';
import { InboundListener } from '../inbound/listener.ts';
import { opening } from '../inbound/opening.ts';
import type { Http2Server } from '../inbound/protocols.ts';
import { type ProxyHeader, readProxyHeader } from '../proxy-protocol/index.ts';
import type { Address } from '../types.ts';
import type { NodeInboundRoute } from './document.ts';
import { Listening } from './listening.ts';
import type { Programs } from './programs.ts';
import { isLocal, tupleOf } from '../tuple.ts';

export interface NodeInboundOptions {
  /** Of one port: one that takes its connections directly, others by the destination in a believed PROXY header. */
  readonly routes: readonly NodeInboundRoute[];
  readonly context: InboundContext;
  readonly programs: Pick<Programs, 'of'>;
  readonly http2?: Http2Server | undefined;
  /** Which workload of this node a connection comes from, for callers that prove no identity. */
  readonly callerOf: (tuple: SocketTuple) => Promise<SpiffeId | undefined>;
}

/** One port of a node, behind which one workload is called, or several. */
export class NodeInbound {
  readonly #options: NodeInboundOptions;
  readonly #direct: NodeInboundRoute | undefined;
  readonly #isShared: boolean;
  readonly #isTrusted: (address: string) => boolean;
  /** What serves a route, from its workload's first identity on. */
  readonly #served = new Map<NodeInboundRoute, InboundListener>();
  /** Workloads behind local callers, until these are known to have an identity or none. */
  readonly #callers = new WeakMap<Socket, SpiffeId>();
  #listening: Listening | undefined;

  private constructor(options: NodeInboundOptions) {
    const { routes } = options;
    this.#options = options;
    this.#direct = routes.find(({ destination }) => destination === undefined);
    this.#isShared = routes.some(({ destination }) => destination !== undefined);
    const blocks = blocksOf(routes[0]?.trustProxyHeader?.addresses ?? []);
    this.#isTrusted = (address) => isWithin(address, blocks);
  }

  /** Starts to listen. Rejects with the system's error. */
  static async open(options: NodeInboundOptions): Promise<NodeInbound> {
    const port = new NodeInbound(options);
    const [first] = options.routes;
    if (first === undefined) throw new TypeError('a port has a route');
    const { context } = options;
    port.#listening = await Listening.open(
      first.listen,
      false,
      (socket) => port.#accept(socket),
      () => context.counters.busy++,
      ({ message }) => context.log({ event: 'fault', reason: message }),
    );
    return port;
  }

  get address(): Address {
    return this.#listening?.address ?? { host: '', port: 0 };
  }

  get size(): number {
    return [...this.#served.values()].reduce((sum, { size }) => sum + size, this.#listening?.size ?? 0);
  }

  rejudge(graceOf: (workload: SpiffeId) => number): void {
    for (const [{ workload }, listener] of this.#served) listener.rejudge(graceOf(workload));
  }

  async drain(withinMs: number): Promise<void> {
    this.#listening?.close();
    await Promise.all([...this.#served.values()].map((listener) => listener.drain(withinMs)));
  }

  close(): void {
    this.#listening?.close();
    for (const listener of this.#served.values()) listener.close();
  }

  async #accept(socket: Socket): Promise<void> {
    if (!this.#isShared || !this.#isTrusted(socket.remoteAddress ?? '')) {
      const route = this.#direct;
      if (route !== undefined) return this.#handOn(socket, route, undefined);
      return this.#refuse(
        socket,
        undefined,
        'a peer whose PROXY header is not believed, at a port that needs one',
      );
    }
    const found = await this.#header(socket);
    if (found === undefined) return;
    if (typeof found === 'string') return this.#refuse(socket, undefined, found);
    const route = this.#routeOf(found.destination);
    if (route === undefined)
      return this.#refuse(socket, found, 'a PROXY header for a destination that is not served here');
    await this.#handOn(socket, route, found);
  }

  /** The header in the first bytes, or what is wrong with it; undefined where the connection is gone. */
  #header(socket: Socket): Promise<ProxyHeader | string | undefined> {
    const { clock, timeouts } = this.#options.context;
    const look = (bytes: Buffer) => {
      const read = readProxyHeader(bytes);
      return read.kind === 'more' ? undefined : read;
    };
    return new Promise((resolve) => {
      opening(socket, clock, timeouts.handshake, look, (found, bytes) => {
        if (found === undefined) return resolve(undefined);
        if (found === 'silent') return resolve('no PROXY header');
        if (found.kind !== 'header') return resolve(found.reason);
        if (bytes.length > found.length) socket.unshift(bytes.subarray(found.length));
        resolve(found.header);
      });
    });
  }

  /** Without a destination (LOCAL, UNKNOWN) the header speaks of the connection itself. */
  #routeOf(destination: Address | undefined): NodeInboundRoute | undefined {
    if (destination === undefined) return this.#direct;
    const host = canonicalAddress(plainAddress(destination.host));
    const { routes } = this.#options;
    return (
      routes.find(
        ({ destination: own }) =>
          typeof own === 'object' && own.port === destination.port && canonicalAddress(own.host) === host,
      ) ?? routes.find(({ destination: own }) => own === destination.port)
    );
  }

  async #handOn(socket: Socket, route: NodeInboundRoute, header: ProxyHeader | undefined): Promise<void> {
    let program: Awaited<ReturnType<Programs['of']>>;
    try {
      program = await this.#options.programs.of(route);
    } catch (error) {
      program = { reason: error instanceof Error ? error.message : String(error) };
    }
    if (header === undefined) await this.#lookBehind(socket, route);
    if (socket.destroyed) return;
    if (program.view === undefined) return this.#refuse(socket, header, program.reason, route);
    let listener = this.#served.get(route);
    if (listener === undefined) {
      const { context, http2 } = this.#options;
      // A second header, inside TLS, is held to what the first one has chosen: its callers were told that identity.
      const routeOf = (destination: Address) => (this.#routeOf(destination) === route ? route : undefined);
      listener = InboundListener.detached({
        route: this.#isShared ? withoutAddresses(route) : route,
        source: program.view,
        context,
        http2,
        workloadOf: (plain) => this.#callers.get(plain),
        ...(this.#isShared ? { routeOf } : {}),
      });
      this.#served.set(route, listener);
    }
    listener.accept(socket, header);
  }

  /** Who else on this machine still calls in plain text: known by the kernel, and proof of nothing. */
  async #lookBehind(socket: Socket, { workload }: NodeInboundRoute): Promise<void> {
    const { context, callerOf } = this.#options;
    const tuple = tupleOf(socket);
    if (context.verdicts.authenticationOf(workload) === 'strict' || !isLocal(tuple)) return;
    const caller = await callerOf(tuple);
    if (caller !== undefined) this.#callers.set(socket, caller);
  }

  #refuse(
    socket: Socket,
    header: ProxyHeader | undefined,
    reason: string,
    route = this.#direct ?? this.#options.routes[0],
  ): void {
    const { context } = this.#options;
    if (route === undefined) context.counters.refused++;
    else new InboundConnection(socket, route, unknownCaller(socket, header), context).refused(reason);
    socket.destroy();
  }
}

/** The header of a trusted address was read here already, and another one is not expected. */
function withoutAddresses(route: NodeInboundRoute): NodeInboundRoute {
  const { trustProxyHeader } = route;
  return trustProxyHeader === undefined
    ? route
    : { ...route, trustProxyHeader: { ...trustProxyHeader, addresses: [] } };
}
