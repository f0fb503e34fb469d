import type { Socket } from 'node:net';
import type { Limits } from '../settings.ts';
import type { HeldAccess, InboundConnection, InboundContext } from './connection.ts';

/** The open connections of one listener: how many, by whom, and what goes on in them. */
export class Open {
  readonly #context: InboundContext;
  readonly #limits: Limits;
  readonly #sockets = new Set<Socket>();
  readonly #byAddress = new Map<string, number>();
  readonly #connections = new Set<InboundConnection>();
  /** What waits for its grace to be over, by connection: called off where it closes before. */
  readonly #graces = new Map<InboundConnection, Set<() => void>>();
  #isDraining = false;
  #onEmpty: (() => void) | undefined;

  constructor(context: InboundContext, limits: Limits) {
    this.#context = context;
    this.#limits = limits;
  }

  get size(): number {
    return this.#sockets.size;
  }

  /** Those whose caller is known. */
  connections(): Iterable<InboundConnection> {
    return this.#connections;
  }

  /** Takes a connection, or closes it at once where there are too many. */
  admit(socket: Socket): boolean {
    const { counters } = this.#context;
    const address = socket.remoteAddress ?? '';
    const ofAddress = (this.#byAddress.get(address) ?? 0) + 1;
    if (this.#sockets.size >= this.#limits.connections || ofAddress > this.#limits.perAddress) {
      counters.busy++;
      this.#context.log({ event: 'busy', from: address, reason: 'too many connections' });
      socket.resetAndDestroy();
      return false;
    }
    counters.accepted++;
    counters.open++;
    this.#sockets.add(socket);
    this.#byAddress.set(address, ofAddress);
    socket.once('close', () => this.#closed(socket, address));
    return true;
  }

  /** The caller of an admitted connection is known. */
  add(connection: InboundConnection): void {
    this.#connections.add(connection);
    connection.socket.once('close', () => {
      this.#connections.delete(connection);
      for (const callOff of this.#graces.get(connection) ?? []) callOff();
      this.#graces.delete(connection);
    });
    // It may have been in its handshake when draining began.
    if (this.#isDraining) queueMicrotask(() => connection.handler?.drain());
  }

  /** See `InboundListener.rejudge`. */
  rejudge(graceMs: number): number {
    let count = 0;
    for (const connection of this.#connections) {
      const denied = (connection.handler?.held() ?? []).filter((held) => !isAllowed(connection, held));
      count += denied.length;
      if (denied.length > 0) this.#cutAfter(connection, denied, graceMs);
    }
    return count;
  }

  /** Breaks a connection, and says why. */
  cut(connection: InboundConnection, reason: string): void {
    this.#context.counters.cut++;
    connection.log('cut', reason);
    connection.socket.destroy();
  }

  /** Resolves when all are closed, which they are after `withinMs` at the latest. */
  drain(withinMs: number): Promise<void> {
    this.#isDraining = true;
    for (const connection of this.#connections) connection.handler?.drain();
    if (this.#sockets.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const callOff = this.#context.clock.after(withinMs, () => this.close());
      this.#onEmpty = () => {
        callOff();
        resolve();
      };
    });
  }

  close(): void {
    for (const { socket } of this.#connections) socket.destroy();
    for (const socket of this.#sockets) socket.destroy();
  }

  #cutAfter(connection: InboundConnection, denied: readonly HeldAccess[], graceMs: number): void {
    const cut = () => {
      for (const held of denied) {
        if (connection.socket.destroyed || held.isOver?.() === true || isAllowed(connection, held)) continue;
        this.#context.counters.cut++;
        connection.log('cut', 'policy no longer allows it');
        held.cut();
      }
    };
    if (graceMs <= 0) return cut();
    const graces = this.#graces.get(connection) ?? new Set();
    const callOff = this.#context.clock.after(graceMs, () => {
      graces.delete(callOff);
      cut();
    });
    this.#graces.set(connection, graces.add(callOff));
  }

  #closed(socket: Socket, address: string): void {
    this.#context.counters.open--;
    this.#sockets.delete(socket);
    const left = (this.#byAddress.get(address) ?? 1) - 1;
    if (left === 0) this.#byAddress.delete(address);
    else this.#byAddress.set(address, left);
    if (this.#sockets.size === 0) this.#onEmpty?.();
  }
}

function isAllowed(connection: InboundConnection, { action, attributes }: HeldAccess): boolean {
  return connection.judge(action, attributes).allowed;
}
