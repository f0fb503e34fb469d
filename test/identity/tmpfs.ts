import { execFileSync } from 'node:child_process';
import { chmodSync, closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Opened } from './harness.ts';

/** Of util-linux, on every Linux. */
const MOUNT = '/bin/mount';
const UMOUNT = '/bin/umount';

/** Why this machine gives a test no small disk of its own, or undefined. */
export function noSmallDisks(opened: Opened): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    return 'a small disk is a tmpfs, which only root can mount';
  try {
    return new SmallDisk(opened, 64).dir === '' ? 'it has no place' : undefined;
  } catch {
    return 'this machine lets nobody mount a tmpfs';
  }
}

/** A disk of a few KiB that a test fills. */
export class SmallDisk {
  readonly dir: string;
  readonly #filler: string;

  constructor(opened: Opened, kilobytes: number) {
    this.dir = opened.dir();
    this.#filler = join(this.dir, 'filler');
    execFileSync(MOUNT, ['-t', 'tmpfs', '-o', `size=${kilobytes}k,mode=711`, 'tmpfs', this.dir], {
      stdio: 'pipe',
    });
    opened.later(() => execFileSync(UMOUNT, ['-l', this.dir]));
    chmodSync(this.dir, 0o711);
  }

  /** Leaves no byte free. */
  fill(): void {
    const file = openSync(this.#filler, 'a');
    try {
      for (const size of [4096, 1]) while (hasRoom(file, size));
    } finally {
      closeSync(file);
    }
  }

  free(): void {
    rmSync(this.#filler, { force: true });
  }
}

function hasRoom(file: number, size: number): boolean {
  try {
    return writeSync(file, Buffer.alloc(size)) > 0;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOSPC') return false;
    throw error;
  }
}
