import { library } from './library.ts';

let trim: ((pad: bigint) => number) | undefined;

/**
 * Gives memory that was freed, and that the C library keeps for later, back to the system: malloc_trim(3) of glibc. False where
 * there is no such function, or nothing could be given back. Stops the thread for some milliseconds.
 */
export function giveBackMemory(): boolean {
  try {
    trim ??= library().getFunction('malloc_trim', { return: 'int32', arguments: ['uint64'] });
    return trim(0n) === 1;
  } catch {
    // Another C library, or another platform.
    return false;
  }
}
