import { performance } from 'node:perf_hooks';
import { collectGarbage, giveBackMemory } from '../system/index.ts';
import type { Timers } from './timers.ts';

/** How often is looked, milliseconds, and by how much the process must have grown since, bytes. */
const LOOK_MS = 5000;
const GROWN_BYTES = 32 * 2 ** 20;
/** The same for a thread that has no moment to spare: giving back stops it for some ten milliseconds. */
const MUCH_BYTES = 128 * 2 ** 20;
/**
 * The share of the time since the last look that the thread may have been busy, for it to have a moment to spare. A tenth is
 * what 2,000 accesses a second take: a collection of 300 MB in their midst is a third of a second in which nobody is answered.
 */
const IDLE = 0.04;
/**
 * A thread that works off what has come, a little all the time, has no such moment for long: where there is much to be had, it
 * makes one, once in this many looks.
 */
const CALM = 0.15;
const CALM_LOOKS = 12;

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
  busy = threadTime(),
  collect = collectGarbage,
  giveBack = giveBackMemory,
}: MemoryOptions): () => void {
  // A start leaves much behind: the first moment to spare is for that.
  let least = 0;
  let looks = CALM_LOOKS;
  let cancel = () => {};
  const look = () => {
    cancel = timers.after(LOOK_MS, look);
    const share = busy();
    const now = resident();
    looks++;
    if (now < least + GROWN_BYTES) {
      least = Math.min(least, now);
      return;
    }
    const isIdle = share < IDLE;
    if (!isIdle && now < least + MUCH_BYTES) return;
    const collects = isIdle || (share < CALM && looks >= CALM_LOOKS);
    if (collects) collect();
    giveBack();
    // Without a collection there is more to be had: at the next moment to spare.
    if (!collects) return;
    least = resident();
    if (!isIdle) looks = 0;
  };
  cancel = timers.after(LOOK_MS, look);
  return () => cancel();
}

/** The processor's time: on a machine where others work as well, a thread that waits for its turn is not busy. */
function threadTime(): () => number {
  let at = performance.now();
  let before = process.threadCpuUsage();
  return () => {
    const { user, system } = process.threadCpuUsage(before);
    const now = performance.now();
    const share = (user + system) / 1000 / Math.max(1, now - at);
    at = now;
    before = process.threadCpuUsage();
    return share;
  };
}
