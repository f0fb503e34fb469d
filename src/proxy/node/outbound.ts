import type { Socket } from 'node:net';
import { isInterlockError, type SpiffeId } from '../../access/index.ts';
import { isConnected, originalDestination, socketFd, type SocketTuple } from '../../system/index.ts';
import { canonicalAddress, plainAddress } from '../addresses.ts';
import type { InboundContext } from '../inbound/connection.ts';
import { type OutboundHttp2, OutboundListener } from '../outbound/listener.ts';
import type { Uplinks } from '../outbound/uplinks.ts';
import { connectPlain } from '../tcp/connect.ts';
import { readFast } from '../tcp/fast-read.ts';
import { pump } from '../tcp/pump.ts';
import type { Address, OutboundRoute } from '../types.ts';
import { type NodeOutboundRoute, type NodeProxyDocument, textOf } from './document.ts';
import { Listening } from './listening.ts';
import type { Owned, Owners } from './owners.ts';
import { tupleOf } from '../tuple.ts';
import type { Unmanaged } from './unmanaged.ts';

export interface NodeOutboundOptions {
  readonly document: Pick<NodeProxyDocument, 'outbound' | 'intercept'>;
  readonly uplinks: Uplinks;
  readonly context: InboundContext;
  readonly owners: Pick<Owners, 'connection'>;
  readonly unmanaged: Unmanaged;
  readonly http2?: OutboundHttp2 | undefined;
  /** Where a connection went before it was redirected; the kernel's word, but for tests. */
  readonly originalOf?: (socket: Socket) => Address | undefined;
}

/** The ports through which all workloads of a node call their peers, each under its own identity. */
export class NodeOutbound {
  readonly #options: NodeOutboundOptions;
  readonly #ports: Listening[] = [];
  readonly #served = new Map<NodeOutboundRoute, OutboundListener>();
  readonly #byDestination = new Map<string, NodeOutboundRoute>();
  /** Connections that pass without a route, both ends of them. */
  readonly #passing = new Set<Socket>();

  private constructor(options: NodeOutboundOptions) {
    this.#options = options;
    const { uplinks, context, document, http2 } = options;
    const { clock, timeouts, counters, log } = context;
    for (const route of document.outbound) {
      const own: OutboundRoute = { ...route, listen: route.listen ?? route.to };
      this.#served.set(
        route,
        OutboundListener.detached({ route: own, uplinks, clock, timeouts, counters, log, http2 }),
      );
      for (const { host, port } of route.destinations)
        this.#byDestination.set(textOf({ host: canonicalAddress(host), port }), route);
    }
  }

  /** Starts to listen everywhere. Rejects with the system's error. */
  static async open(options: NodeOutboundOptions): Promise<NodeOutbound> {
    const outbound = new NodeOutbound(options);
    const { outbound: routes, intercept } = options.document;
    try {
      for (const route of routes)
        if (route.listen !== undefined)
          await outbound.#listen(route.listen, (socket) => outbound.#direct(socket, route));
      for (const at of intercept?.listen ?? [])
        await outbound.#listen(at, (socket) => outbound.#redirected(socket));
      return outbound;
    } catch (error) {
      outbound.close();
      throw error;
    }
  }

  /** Those of the routes that have one, then those of interception. */
  get addresses(): Address[] {
    return this.#ports.map(({ address }) => address);
  }

  get size(): number {
    const waiting = this.#ports.reduce((sum, { size }) => sum + size, 0);
    return [...this.#served.values()].reduce((sum, { size }) => sum + size, waiting + this.#passing.size);
  }

  async drain(withinMs: number): Promise<void> {
    for (const port of this.#ports) port.close();
    const passed = [...this.#passing].map((socket) => new Promise((done) => socket.once('close', done)));
    const callOff = this.#options.context.clock.after(withinMs, () => this.close());
    await Promise.all([...[...this.#served.values()].map((served) => served.drain(withinMs)), ...passed]);
    callOff();
    this.close();
  }

  close(): void {
    for (const port of this.#ports) port.close();
    for (const served of this.#served.values()) served.close();
    for (const socket of this.#passing) socket.destroy();
  }

  async #listen(at: Address, onSocket: (socket: Socket) => Promise<void>): Promise<void> {
    const { counters, log } = this.#options.context;
    const guarded = async (socket: Socket) => {
      try {
        await onSocket(socket);
      } catch (error) {
        log({ event: 'fault', reason: error instanceof Error ? error.message : String(error) });
        socket.resetAndDestroy();
      }
    };
    // Not read before it is known where to: the bytes are then read in the way of whoever serves it.
    this.#ports.push(
      await Listening.open(
        at,
        true,
        guarded,
        () => counters.busy++,
        ({ message }) => log({ event: 'fault', reason: message }),
      ),
    );
  }

  async #direct(socket: Socket, route: NodeOutboundRoute): Promise<void> {
    const owned = await this.#ownerOf(tupleOf(socket));
    this.#serve(socket, route, owned);
  }

  async #redirected(socket: Socket): Promise<void> {
    const { originalOf = kernelsOriginal, document } = this.#options;
    const tuple = tupleOf(socket);
    const to = originalOf(socket);
    if (to === undefined || (to.host === tuple.remote.host && to.port === tuple.remote.port))
      return this.#refuse(
        socket,
        'nobody redirected this connection: it came to the port of interception itself',
      );
    // To its owner the connection still goes where it was meant to.
    const owned = await this.#ownerOf({ local: tuple.local, remote: to });
    const route = this.#byDestination.get(textOf({ host: canonicalAddress(to.host), port: to.port }));
    if (route !== undefined) return this.#serve(socket, route, owned);
    if (document.intercept?.passthrough !== true)
      return this.#refuse(socket, `no route leads to ${textOf(to)}, and nothing passes without one`, owned);
    this.#pass(socket, to, owned);
  }

  async #ownerOf(tuple: SocketTuple): Promise<Owned> {
    try {
      return await this.#options.owners.connection(tuple);
    } catch (error) {
      return { reason: isInterlockError(error) ? error.message : String(error) };
    }
  }

  #serve(socket: Socket, route: NodeOutboundRoute, owned: Owned): void {
    const { uplinks } = this.#options;
    if (socket.destroyed) return;
    const { workload } = owned;
    if (workload === undefined) return this.#stranger(socket, route, owned.reason);
    if (!uplinks.has(workload))
      return this.#stranger(socket, route, `${workload} has no identity yet`, workload);
    // An address that its owner gave up could have been another one's by the time the kernel was asked.
    if (!isConnected(socketFd(socket)))
      return this.#stranger(socket, route, 'nobody holds its other end any more', workload);
    const own: OutboundRoute = { ...route, listen: route.listen ?? route.to };
    this.#served.get(route)?.serve({ socket, route: own, workload });
  }

  /** Whoever is no workload of this node calls nobody in the name of one; the control plane is told. */
  #stranger(socket: Socket, route: NodeOutboundRoute, detail: string, workload?: SpiffeId): void {
    const { counters, recorder, clock } = this.#options.context;
    const { peer, to } = route;
    counters.strangers++;
    const who = workload === undefined ? {} : { workload };
    recorder.unreached({ ...who, peer, to, reason: 'owner', detail, at: clock.now() });
    this.#refuse(socket, `to ${peer}: ${detail}`);
  }

  /** On to where it was meant to go, as it is: interception must not break what nobody has described yet. */
  #pass(socket: Socket, to: Address, owned: Owned): void {
    const { context, unmanaged } = this.#options;
    const { clock, timeouts, counters, log } = context;
    if (socket.destroyed) return;
    if (owned.workload === undefined && owned.isOwn === true)
      return this.#refuse(socket, `${owned.reason}: leave the proxy out of interception`);
    counters.accepted++;
    const from = nameOf(owned);
    if (unmanaged.record(from, textOf(to), clock.now()))
      log({ event: 'unmanaged', from, reason: `no route leads to ${textOf(to)}: it passes in plain text` });
    const { socket: near, first } = readFast(socket, undefined);
    near.pause();
    this.#follow(near);
    const giveUp = connectPlain({ to, clock, timeout: timeouts.connect }, (error, far) => {
      near.off('close', gone);
      if (far === undefined) {
        log({ event: 'unreachable', from, reason: error?.message ?? 'no connection' });
        near.resetAndDestroy();
        return;
      }
      if (first !== undefined) far.write(first);
      pump(near, far, { clock, idle: timeouts.tunnel });
    });
    const gone = () => giveUp();
    near.once('close', gone);
  }

  #follow(socket: Socket): void {
    const { counters } = this.#options.context;
    counters.open++;
    this.#passing.add(socket);
    socket.once('close', () => {
      counters.open--;
      this.#passing.delete(socket);
    });
  }

  #refuse(socket: Socket, reason: string, owned?: Owned): void {
    const { counters, log } = this.#options.context;
    counters.accepted++;
    counters.refused++;
    const { address, port } = { address: plainAddress(socket.remoteAddress), port: socket.remotePort ?? 0 };
    const from = owned === undefined ? textOf({ host: address, port }) : nameOf(owned);
    log({ event: 'refused', from, reason });
    socket.resetAndDestroy();
  }
}

function kernelsOriginal(socket: Socket): Address | undefined {
  return originalDestination(socketFd(socket), plainAddress(socket.localAddress).includes(':') ? 6 : 4);
}

function nameOf(owned: Owned): SpiffeId | string {
  if (owned.workload !== undefined) return owned.workload;
  return owned.uid === undefined ? 'unknown' : `user ${owned.uid}`;
}
