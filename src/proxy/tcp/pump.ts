import type { Socket } from 'node:net';
import type { Clock } from '../../workload/index.ts';
import { Deadline } from '../deadline.ts';
import { breakOff } from './break-off.ts';
import { PLAIN_SLABS, TLS_SLABS } from './slabs.ts';

/** A chunk of this size is one of many: they are gathered until everything that has arrived is read, and written at once. */
const MANY = 16_384;

/** How two connections are joined. */
export interface PumpOptions {
  readonly clock: Clock;
  /** Milliseconds without a byte in either direction, after which both are closed. */
  readonly idle: number;
  /** Called with what starts the way from the first to the second, where that is to wait; the way back does not. */
  readonly hold?: ((start: () => void) => void) | undefined;
  /** Called at the first bytes from the second to the first. */
  readonly onAnswer?: (() => void) | undefined;
  /** Both are closed: bytes that went from the first to the second, and back. */
  readonly onDone?: ((forth: number, back: number) => void) | undefined;
}

/**
 * Joins two connections: bytes go both ways as fast as the slower end takes them, either end may stop sending while the
 * other goes on, and what breaks one breaks the other. Nobody else may listen to their data. The function it gives back
 * cuts both.
 */
export function pump(one: Socket, other: Socket, options: PumpOptions): () => void {
  const { clock, idle, hold, onAnswer, onDone } = options;
  const cut = () => {
    breakOff(one);
    breakOff(other);
  };
  const deadline = new Deadline(clock, cut);
  let open = 2;
  const counts = [0, 0] as [number, number];
  const flow = (from: Socket, to: Socket, way: 0 | 1) => {
    let isGathering = false;
    from.on('data', (chunk: Buffer) => {
      if (way === 1 && counts[1] === 0) onAnswer?.();
      counts[way] += chunk.length;
      deadline.set(idle);
      if (chunk.length >= MANY && !isGathering) {
        isGathering = true;
        to.cork();
        setImmediate(() => {
          isGathering = false;
          to.uncork();
        });
      }
      if (!write(to, chunk)) from.pause();
    });
    to.on('drain', () => {
      deadline.set(idle);
      from.resume();
    });
    from.on('end', () => to.end());
    // A pause from before, while there was nobody to write to.
    from.resume();
  };
  const watch = (from: Socket, to: Socket) => {
    from.on('error', () => {});
    from.on('close', () => {
      // Whatever was read is on its way out: an orderly end lets it through, a break does not wait.
      if (from.readableEnded && !from.errored) to.destroySoon();
      else breakOff(to);
      if (--open > 0) return;
      deadline.close();
      onDone?.(...counts);
    });
  };
  watch(one, other);
  watch(other, one);
  deadline.set(idle);
  if (hold === undefined) flow(one, other, 0);
  else hold(() => flow(one, other, 0));
  flow(other, one, 1);
  return cut;
}

/** Here a chunk is seen by nobody else, so what it lies in may be used again as soon as it is written. */
function write(to: Socket, chunk: Buffer): boolean {
  if (chunk.length < MANY / 4) return to.write(chunk);
  return to.write(chunk, (error) => {
    if (error) return;
    PLAIN_SLABS.release(chunk);
    TLS_SLABS.release(chunk);
  });
}
