import { createServer, type Server, type Socket } from 'node:net';
import type { SpiffeId } from '../../access/index.ts';
import type { Clock } from '../../workload/index.ts';
import type { Counters } from '../counters.ts';
import { Downstream } from '../http1/downstream.ts';
import { type Gate, HTTP_FAULT_EVENTS } from '../http1/gate.ts';
import type { Pool } from '../http1/pool.ts';
import { opening } from '../inbound/opening.ts';
import type { LogLine } from '../inbound/connection.ts';
import type { Timeouts } from '../settings.ts';
import { readFast } from '../tcp/fast-read.ts';
import { pump } from '../tcp/pump.ts';
import { plainAddress } from '../addresses.ts';
import { addressOf, listen } from '../listen.ts';
import type { AccessRecorder, Address, OutboundRoute } from '../types.ts';
import type { Uplinks } from './uplinks.ts';
import type { OutboundGuard } from './users.ts';

/** One local program's connection, and under which identity it goes out. */
export interface OutboundConnection {
  readonly socket: Socket;
  readonly route: OutboundRoute;
  readonly workload: SpiffeId;
}

/** Whoever speaks with a local program. */
export interface LocalHandler {
  /** Takes no new requests, and closes the socket after those on their way. */
  drain(): void;
}

/** Speaks HTTP/2 in plain text with a local program, of which `first` was read already. */
export type OutboundHttp2 = (
  connection: OutboundConnection,
  first: Buffer,
  options: OutboundOptions,
) => LocalHandler;

/** What one outbound port is served with. */
export interface OutboundOptions {
  readonly route: OutboundRoute;
  readonly uplinks: Uplinks;
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  readonly counters: Counters;
  readonly log: (line: LogLine) => void;
  /** Whose connection it is, where the route does not say: the kernel is asked. Undefined for nobody's. */
  /** Who may go out as the workload of the route. Absent: whose a connection is, is known otherwise. */
  readonly guard?: Pick<OutboundGuard, 'refusal'> | undefined;
  readonly recorder?: Pick<AccessRecorder, 'unreached'> | undefined;
  readonly ownerOf?: ((socket: Socket) => SpiffeId | undefined) | undefined;
  readonly http2?: OutboundHttp2 | undefined;
}

/** One port on loopback, through which local programs call one peer. */
export class OutboundListener {
  readonly #options: OutboundOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #handlers = new Set<LocalHandler>();
  #onEmpty: (() => void) | undefined;

  private constructor(options: OutboundOptions) {
    this.#options = options;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket));
    this.#server.on('error', ({ message }) => {
      // Where it cannot listen, who opens it is told.
      if (this.#server.listening) options.log({ event: 'fault', reason: message });
    });
  }

  /** One that does not listen itself: its connections come by `serve`. */
  static detached(options: OutboundOptions): OutboundListener {
    return new OutboundListener(options);
  }

  /** Starts to listen. Rejects with the system's error. */
  static async open(options: OutboundOptions): Promise<OutboundListener> {
    const listener = new OutboundListener(options);
    await listen(listener.#server, options.route.listen);
    return listener;
  }

  /** Where it listens. */
  get address(): Address {
    return addressOf(this.#server);
  }

  get size(): number {
    return this.#sockets.size;
  }

  /** As `InboundListener.drain`. */
  async drain(withinMs: number): Promise<void> {
    this.#server.close();
    for (const handler of this.#handlers) handler.drain();
    if (this.#sockets.size > 0) {
      await new Promise<void>((resolve) => {
        const callOff = this.#options.clock.after(withinMs, () => this.close());
        this.#onEmpty = () => {
          callOff();
          resolve();
        };
      });
    }
    this.close();
  }

  close(): void {
    if (this.#server.listening) this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Serves a connection that was accepted elsewhere, and whose owner is known. */
  serve(connection: OutboundConnection): void {
    this.#admit(connection.socket);
    this.#speak(connection);
  }

  #accept(socket: Socket): void {
    const { route, ownerOf, guard } = this.#options;
    this.#admit(socket);
    const refusal = guard?.refusal(socket);
    if (refusal !== undefined) return this.#refuse(socket, refusal);
    const workload = route.workload ?? ownerOf?.(socket);
    if (workload === undefined || !this.#options.uplinks.has(workload))
      return this.#refuse(socket, "it is no workload's of this proxy");
    this.#speak({ socket, route, workload });
  }

  /** Nothing is said to it: whoever may not speak as the workload may not learn whom it calls either. */
  #refuse(socket: Socket, why: string): void {
    const { route, counters, log, recorder, clock } = this.#options;
    counters.refused++;
    counters.strangers++;
    const { workload, peer, to } = route;
    const host = plainAddress(socket.remoteAddress);
    const from = `${host.includes(':') ? `[${host}]` : host}:${socket.remotePort}`;
    const own = workload === undefined ? {} : { workload };
    log({ event: 'refused', ...own, from, reason: `a local connection to ${peer}: ${why}` });
    recorder?.unreached({ ...own, peer, to, reason: 'owner', detail: why, at: clock.now() });
    socket.resetAndDestroy();
  }

  #admit(socket: Socket): void {
    const { counters } = this.#options;
    counters.accepted++;
    counters.open++;
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => {
      counters.open--;
      this.#sockets.delete(socket);
      if (this.#sockets.size === 0) this.#onEmpty?.();
    });
  }

  #speak(connection: OutboundConnection): void {
    if (connection.route.protocol === 'tcp') this.#tcp(connection);
    else if (this.#options.http2 === undefined) this.#http1(connection, undefined);
    else this.#http(connection, this.#options.http2);
  }

  #http(connection: OutboundConnection, http2: OutboundHttp2): void {
    const { clock, timeouts } = this.#options;
    // No method but that of HTTP/2's preface begins with these.
    const look = (bytes: Buffer) =>
      bytes.toString('latin1', 0, 3) === 'PRI'
        ? 'h2'
        : 'PRI'.startsWith(bytes.toString('latin1', 0, 3))
          ? undefined
          : 'http/1.1';
    opening(connection.socket, clock, timeouts.idle, look, (found, bytes) => {
      if (found === undefined) return;
      if (found === 'silent') connection.socket.destroy();
      else if (found === 'h2') this.#handled(connection.socket, http2(connection, bytes, this.#options));
      else this.#http1(connection, bytes);
    });
  }

  #http1({ socket: accepted, route, workload }: OutboundConnection, bytes: Buffer | undefined): void {
    const { uplinks, clock, timeouts, counters, log } = this.#options;
    const source = { host: accepted.remoteAddress ?? '', port: accepted.remotePort ?? 0 };
    const { socket, first } = readFast(accepted, bytes);
    const own = route.sendProxyHeader === undefined ? undefined : uplinks.ownPool(workload, route, source);
    const pool: Pool = own ?? uplinks.pool(workload, route);
    const gate: Gate = {
      admit: () => true,
      ended: () => {},
      added: Buffer.alloc(0),
      fault: (where, reason) => {
        if (where === 'request') counters.badRequests++;
        else if (where === 'response') counters.badAnswers++;
        log({ event: HTTP_FAULT_EVENTS[where], workload, reason });
      },
    };
    const downstream = new Downstream(socket, { gate, pool, clock, timeouts }, first);
    this.#handled(socket, downstream);
    socket.once('close', () => own?.close());
  }

  #handled(socket: Socket, handler: LocalHandler): void {
    this.#handlers.add(handler);
    socket.once('close', () => this.#handlers.delete(handler));
  }

  #tcp({ socket: accepted, route, workload }: OutboundConnection): void {
    const { uplinks, clock, timeouts, log } = this.#options;
    const source = { host: accepted.remoteAddress ?? '', port: accepted.remotePort ?? 0 };
    const { socket, first } = readFast(accepted, undefined);
    socket.pause();
    const giveUp = uplinks.dial(workload, route, source, (error, upstream) => {
      socket.off('close', gone);
      if (upstream === undefined) {
        log({ event: 'unreachable', workload, reason: error?.message ?? 'no connection' });
        socket.resetAndDestroy();
        return;
      }
      if (first !== undefined) upstream.write(first);
      pump(socket, upstream, { clock, idle: timeouts.tunnel });
    });
    const gone = () => giveUp();
    socket.once('close', gone);
  }
}
