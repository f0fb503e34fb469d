import { connect, type OnReadOpts, Socket, type TcpNetConnectOpts } from 'node:net';
import { PLAIN_SLABS, type Slabs } from './slabs.ts';

/** Reads up to this are copied into Node's own pool of small buffers. */
const MAX_SMALL = 4_000;

/** What all such sockets read into, one after the other: each read is copied out before the next one. */
const SHARED = Buffer.allocUnsafeSlow(65_536);

/**
 * How a socket reads that gives `data` events as always, with `read()` and `unshift()` of no use. By default Node makes
 * 64 KiB for each read, however short, and V8's collector then runs over the whole heap some ten times a second: half of
 * all time under load. The copy costs a tenth of what encrypting it costs.
 */
export function fastReads(slabs: Slabs, socketOf: () => Socket): OnReadOpts {
  return {
    buffer: slabs.size < SHARED.length ? SHARED.subarray(0, slabs.size) : SHARED,
    callback: (length) => {
      const chunk =
        length > MAX_SMALL ? slabs.copyOf(SHARED, length) : Buffer.from(SHARED.subarray(0, length));
      socketOf().emit('data', chunk);
      return true;
    },
  };
}

/** `net.connect` that reads in this way. */
export function connectFast(options: Pick<TcpNetConnectOpts, 'host' | 'port'>): Socket {
  const socket: Socket = connect({
    ...options,
    allowHalfOpen: true,
    noDelay: true,
    onread: fastReads(PLAIN_SLABS, () => socket),
  });
  return socket;
}

/** The connection as Node keeps it behind the socket; not documented, which is why nothing depends on its being there. */
interface WithHandle {
  _handle?: object | null;
}

/**
 * The same for a connection that was accepted: Node's servers make their sockets themselves, and only a new one can be
 * told how to read. Gives that, and what the old one had read already, after the bytes `before`. The old one must not be
 * used any more. Listeners are not carried over, but for `close`, which comes when the new one closes.
 */
export function readFast(
  accepted: Socket,
  before: Buffer | undefined,
): { socket: Socket; first: Buffer | undefined } {
  const pieces: Buffer[] = before === undefined ? [] : [before];
  for (
    let piece = accepted.read() as Buffer | null;
    piece !== null;
    piece = accepted.read() as Buffer | null
  ) {
    pieces.push(piece);
  }
  const first = pieces.length === 0 ? undefined : Buffer.concat(pieces);
  const { _handle: handle } = accepted as unknown as WithHandle;
  if (handle === undefined || handle === null || accepted.readableEnded || accepted.destroyed) {
    return { socket: accepted, first };
  }
  (accepted as unknown as WithHandle)._handle = null;
  const socket: Socket = new Socket({
    // Not in the types; it is how Node's own server makes a socket of what it has accepted.
    ...({ handle } as object),
    allowHalfOpen: true,
    onread: fastReads(PLAIN_SLABS, () => socket),
  });
  socket.on('error', () => {});
  socket.once('close', () => accepted.destroy());
  // Whoever has the old one in a list, and cuts it, means the connection.
  accepted.once('close', () => socket.destroy());
  return { socket, first };
}
