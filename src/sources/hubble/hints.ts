import { BoundedMap } from './bounded-map.ts';
import type { Tuple } from './connections.ts';

const MAX_HINTS = 65_536;

/**
 * Records that announce a connection without showing it: a packet to a Service's address before translation,
 * and a socket's translated `connect`. The connection's own packets count instead of them; where those were
 * not recorded, the hint counts.
 */
export class Hints {
  readonly #open = new BoundedMap<() => void>(MAX_HINTS, (count) => count());
  /** Connections that were counted: a hint that comes late says nothing new. */
  readonly #counted = new BoundedMap<true>(MAX_HINTS);

  /** A packet before translation: only the caller's end is that of the connection. */
  untranslated(tuple: Tuple, count: () => void): void {
    this.#hint(callerKey(tuple), count);
  }

  /** A socket's connect: its port is not known yet. */
  connecting(tuple: Tuple, count: () => void): void {
    this.#hint(socketKey(tuple), count);
  }

  /** The connection itself was counted. */
  seen(tuple: Tuple): void {
    for (const key of [callerKey(tuple), socketKey(tuple)]) {
      this.#counted.set(key, true);
      this.#open.delete(key);
    }
  }

  /** Counts what no connection was seen for. */
  end(): void {
    for (const count of this.#open.drain()) count();
  }

  #hint(key: string, count: () => void): void {
    if (this.#counted.get(key) === undefined && this.#open.get(key) === undefined) this.#open.set(key, count);
  }
}

function callerKey(tuple: Tuple): string {
  return `from ${tuple.sourceIp} ${tuple.sourcePort}`;
}

function socketKey(tuple: Tuple): string {
  return `socket ${tuple.sourceIp} ${tuple.destinationIp} ${tuple.destinationPort}`;
}
