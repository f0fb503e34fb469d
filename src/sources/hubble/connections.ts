import { type Counter, HOUR_MS, type Outcome, type Side } from '../../access/index.ts';
import { BoundedMap } from './bounded-map.ts';
import { CountedCall } from './call.ts';

/** Connections remembered at once. */
const MAX_CONNECTIONS = 65_536;
/** A SYN is sent again for up to about a minute (Linux, tcp_syn_retries: 1 + 2 + 4 + 8 + 16 + 32 s). */
const SYN_AGAIN_MS = 60_000;
/** A refusal comes within a round trip of the SYN; a reset later than this ended a connection that stood. */
const REFUSAL_MS = 1000;

/** The addresses and ports of a connection, from the end that opened it. */
export interface Tuple {
  readonly sourceIp: string;
  readonly sourcePort: number;
  readonly destinationIp: string;
  readonly destinationPort: number;
}

/** What one packet towards the callee says. `syn` opens a connection; `data` is any other, or one without flags. */
export interface Packet {
  readonly kind: 'syn' | 'data';
  readonly at: number;
  readonly side: Side;
  readonly outcome: Outcome;
  /** Mutual authentication was required of it and done. */
  readonly mutual: boolean;
  readonly instance: string | undefined;
}

interface Connection {
  /** The handshake is known to have been completed. */
  answered: boolean;
  /** The callee's host refused it. */
  refused: boolean;
  /** What became of the latest SYN where each side saw it. */
  readonly seen: { caller?: Outcome; callee?: Outcome };
  readonly calls: { caller?: CountedCall; callee?: CountedCall };
}

/**
 * Counts every connection once per side that saw it, however many of its packets were recorded. A connection
 * that stays open counts again for each hour in which it carries packets: it is in use then, and a pool that
 * was opened before the recording began would otherwise not be seen at all.
 */
export class Connections {
  readonly #known = new BoundedMap<Connection>(MAX_CONNECTIONS);

  has(tuple: Tuple): boolean {
    return this.#known.get(keyOf(tuple)) !== undefined;
  }

  /** Takes in a packet towards the callee; true where it made a call count. */
  forward(tuple: Tuple, packet: Packet, counter: () => Counter): boolean {
    const key = keyOf(tuple);
    let connection = this.#known.get(key);
    if (connection !== undefined && startsAnew(connection, packet)) connection = undefined;
    connection ??= { answered: false, refused: false, seen: {}, calls: {} };
    this.#known.set(key, connection);
    if (packet.kind === 'syn') connection.seen[packet.side] = packet.outcome;
    else if (packet.outcome === 'ok') connection.answered = true;
    let call = connection.calls[packet.side];
    const due = call === undefined || (packet.kind === 'data' && packet.at - call.at >= HOUR_MS);
    if (call === undefined || due) {
      call = new CountedCall(counter(), packet.at, packet.outcome, packet.instance);
      connection.calls[packet.side] = call;
    }
    if (packet.kind === 'syn' || packet.outcome === 'ok') settle(connection);
    if (packet.mutual) call.authenticated();
    return due;
  }

  /** Takes in a packet back to the caller; `tuple` is still from the end that opened the connection. */
  reply(tuple: Tuple, at: number, flags: { readonly rst: boolean }): void {
    const connection = this.#known.get(keyOf(tuple));
    if (connection === undefined) return;
    const opened = (connection.calls.caller ?? connection.calls.callee)?.at ?? Number.NEGATIVE_INFINITY;
    if (!flags.rst) connection.answered = true;
    else if (at - opened <= REFUSAL_MS) connection.refused = true;
    settle(connection);
  }
}

/** A SYN on addresses and ports that were used before, too late to be the same one sent again. */
function startsAnew(connection: Connection, packet: Packet): boolean {
  if (packet.kind !== 'syn') return false;
  const opened = connection.calls.caller?.at ?? connection.calls.callee?.at ?? packet.at;
  return Math.abs(packet.at - opened) > SYN_AGAIN_MS;
}

/**
 * Puts what became of a connection into the calls of both its sides. A completed handshake settles it, though a
 * SYN was dropped first (held back until both ends had proved themselves). Else what the callee's node did with
 * the SYN counts for both: the caller's node only saw it leave.
 */
function settle(connection: Connection): void {
  const { answered, refused, seen, calls } = connection;
  const syn = seen.callee ?? seen.caller;
  const failed = refused && syn !== 'denied' ? 'failed' : syn;
  const outcome = answered ? 'ok' : failed;
  if (outcome === undefined) return;
  calls.caller?.settle(outcome);
  calls.callee?.settle(outcome);
}

function keyOf(tuple: Tuple): string {
  return `${tuple.sourceIp} ${tuple.sourcePort} ${tuple.destinationIp} ${tuple.destinationPort}`;
}
