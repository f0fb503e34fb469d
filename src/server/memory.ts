import { performance } from 'node:perf_hooks';
import { collectGarbage, giveBackMemory } from '../system/index.ts';
import type { Timers } from './timers.ts';

/** How often is looked, milliseconds, and by how much the process must have grown since, bytes. */
const LOOK_MS = 5000;
const GROWN_BYTES = 32 * 2 ** 20;
/** The share of the time since the last look that the thread may have been busy, for it to have a moment to spare. */
const IDLE = 0.25;

export interface MemoryOptions {
  readonly timers: Timers;
  /** What the process has of the machine's memory, bytes. */
  readonly resident?: () => number;
  /** Share of the time since it was asked before that the thread was busy, 0 to 1. */
  readonly busy?: () => number;
  readonly collect?: () => void;
  readonly giveBack?: () => boolean;
}

/**
 * Keeps the process from holding what it no longer needs. Handshakes and messages to thousands of streams are memory of the C
 * library, which keeps most of it when it is freed, and Buffers that wait for a collection which V8, seeing only its own
 * heap, has no hurry to make. A collection stops the thread, so it waits until there is nothing else to do. Gives what ends it.
 */
export function returnMemory({
  timers,
  resident = () => process.memoryUsage.rss(),
  busy = loopTime(),
  collect = collectGarbage,
  giveBack = giveBackMemory,
}: MemoryOptions): () => void {
  // A start leaves much behind: the first moment to spare is for that.
  let least = 0;
  let cancel = () => {};
  const look = () => {
    cancel = timers.after(LOOK_MS, look);
    const share = busy();
    const now = resident();
    if (now < least + GROWN_BYTES) {
      least = Math.min(least, now);
      return;
    }
    const isIdle = share < IDLE;
    if (isIdle) collect();
    giveBack();
    // Without a collection there is more to be had: at the next moment to spare.
    if (isIdle) least = resident();
  };
  cancel = timers.after(LOOK_MS, look);
  return () => cancel();
}

function loopTime(): () => number {
  let before = performance.eventLoopUtilization();
  return () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    return utilization;
  };
}
