import type { Socket } from 'node:net';
import type { Clock } from '../../workload/index.ts';

/** Whether enough bytes are there to say what they are. */
export type Look<T> = (bytes: Buffer) => T | undefined;

/**
 * Reads the first bytes of a connection until `look` can tell what they are, and gives its word and all bytes read.
 * `silent` is given where nothing can be told within `ms`, or the other end stops sending before; undefined where the
 * connection is gone. Nothing is read beyond what `look` needed but what came with it.
 */
export function opening<T>(
  socket: Socket,
  clock: Clock,
  ms: number,
  look: Look<T>,
  done: (found: T | 'silent' | undefined, bytes: Buffer) => void,
): void {
  let bytes: Buffer = Buffer.alloc(0);
  // Who looked before has seen the end, which is told once.
  if (socket.readableEnded) return done('silent', bytes);
  const settle = (found: T | 'silent' | undefined) => {
    callOff();
    socket.off('readable', read).off('end', ended).off('close', closed);
    done(found, bytes);
  };
  const read = () => {
    let chunk = socket.read() as Buffer | null;
    while (chunk !== null) {
      bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
      const found = look(bytes);
      if (found !== undefined) return settle(found);
      chunk = socket.read() as Buffer | null;
    }
  };
  const ended = () => settle('silent');
  const closed = () => settle(undefined);
  const callOff = clock.after(ms, () => settle('silent'));
  socket.on('readable', read).on('end', ended).on('close', closed);
}
