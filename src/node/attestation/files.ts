import { closeSync, openSync, readSync } from 'node:fs';
import { InterlockError } from '../../access/index.ts';

const CHUNK = 16_384;

/**
 * A small file as text, at most `limit` bytes of it: files under /proc say nothing of their size. Throws `limit`
 * when it is longer and `unavailable` when it cannot be read.
 */
export function readSmall(path: string, limit: number): string {
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch (cause) {
    throw unreadable(path, cause);
  }
  try {
    const chunks: Buffer[] = [];
    let total = 0;
    for (;;) {
      const chunk = Buffer.allocUnsafe(CHUNK);
      const count = readSync(fd, chunk, 0, CHUNK, null);
      if (count === 0) return Buffer.concat(chunks, total).toString('utf8');
      total += count;
      if (total > limit) throw new InterlockError('limit', path, `${path} is longer than ${limit} bytes`);
      chunks.push(chunk.subarray(0, count));
    }
  } catch (cause) {
    throw cause instanceof InterlockError ? cause : unreadable(path, cause);
  } finally {
    closeSync(fd);
  }
}

/** The error of a file that cannot be read, with the system's own word for the reason. */
export function unreadable(path: string, cause: unknown): InterlockError {
  return new InterlockError('unavailable', path, `${path} cannot be read${reasonOf(cause)}`, { cause });
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error && 'code' in cause && typeof cause.code === 'string'
    ? ` (${cause.code})`
    : '';
}
