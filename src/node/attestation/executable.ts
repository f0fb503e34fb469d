import { createHash } from 'node:crypto';
import { readlinkSync, statSync, type BigIntStats } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { InterlockError } from '../../access/index.ts';
import { unreadable } from './files.ts';

/** Larger executables are not hashed, 512 MiB. */
export const DEFAULT_MAX_EXECUTABLE_BYTES = 512 * 1024 * 1024;
const MAX_CACHED = 4096;
const CHUNK = 1024 * 1024;
const DELETED = ' (deleted)';

/** Where a process's executable lies, and how sure that is. */
export interface ExecutablePath {
  readonly path: string;
  /**
   * False when the file under this path is another one as seen from here. A process in a mount namespace of its
   * own, which any user may make, can put any file under any path.
   */
  readonly confirmed: boolean;
}

/** The path of /proc/PID/exe. Throws `unavailable` when it was deleted or replaced: then no path names it. */
export function executablePath(procRoot: string, pid: number): ExecutablePath {
  const link = `${procRoot}/${pid}/exe`;
  let path: string;
  let file: BigIntStats;
  try {
    path = readlinkSync(link);
    file = statSync(link, { bigint: true });
  } catch (cause) {
    throw unreadable(link, cause);
  }
  // The kernel appends the mark; a file may also bear it in its name, and is not told apart from a deleted one.
  if (path.endsWith(DELETED) || !path.startsWith('/')) {
    throw new InterlockError(
      'unavailable',
      `process ${pid}`,
      'its executable was deleted or replaced since it started',
    );
  }
  const confirmed = isFile(path, file) || isFile(`${procRoot}/1/root${path}`, file);
  return { path, confirmed };
}

/** Tells one program from another that the same process starts later; undefined where it cannot be told. */
export function programOf(procRoot: string, pid: number): string | undefined {
  try {
    const { dev, ino } = statSync(`${procRoot}/${pid}/exe`, { bigint: true });
    return `${dev} ${ino}`;
  } catch {
    return undefined;
  }
}

function isFile(path: string, file: BigIntStats): boolean {
  try {
    const { dev, ino } = statSync(path, { bigint: true });
    return dev === file.dev && ino === file.ino;
  } catch {
    return false;
  }
}

/** Where hashes are kept for the next start of the agent, by what tells one state of a file from another. */
export interface HashStore {
  load(): ReadonlyMap<string, string>;
  save(hashes: ReadonlyMap<string, string>): void;
}

/** SHA-256 of executables, each read once while it stays as it is. */
export class ExecutableHashes {
  readonly #maxBytes: number;
  readonly #store: HashStore | undefined;
  readonly #done: Map<string, string>;
  // In the order of last use.
  readonly #hashes = new Map<string, Promise<string>>();

  constructor(maxBytes = DEFAULT_MAX_EXECUTABLE_BYTES, store?: HashStore) {
    this.#maxBytes = maxBytes;
    this.#store = store;
    this.#done = new Map(store?.load());
    for (const [key, hash] of this.#done) this.#hashes.set(key, Promise.resolve(hash));
  }

  /**
   * Lower-case hex, of the very file that runs: /proc/PID/exe leads to it even after it was deleted. Throws `limit`
   * when it is too large, `unavailable` when it cannot be read.
   */
  async hash(procRoot: string, pid: number): Promise<string> {
    const link = `${procRoot}/${pid}/exe`;
    let file: FileHandle;
    try {
      file = await open(link, 'r');
    } catch (cause) {
      throw unreadable(link, cause);
    }
    try {
      return await this.#hashOf(file, link);
    } finally {
      await file.close();
    }
  }

  async #hashOf(file: FileHandle, link: string): Promise<string> {
    const stat = await file.stat({ bigint: true });
    if (!stat.isFile()) throw new InterlockError('unavailable', link, `${link} is no regular file`);
    if (stat.size > BigInt(this.#maxBytes)) {
      throw new InterlockError('limit', link, `its executable is larger than ${this.#maxBytes} bytes`);
    }
    // The change time, which no call can set, beside the modification time, which its owner can.
    const key = `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`;
    const known = this.#hashes.get(key);
    const hash = known ?? digest(file, link, this.#maxBytes);
    this.#hashes.delete(key);
    this.#hashes.set(key, hash);
    if (this.#hashes.size > MAX_CACHED) {
      const [oldest = key] = this.#hashes.keys();
      this.#hashes.delete(oldest);
      this.#done.delete(oldest);
    }
    try {
      const done = await hash;
      if (known === undefined) this.#keep(key, done);
      return done;
    } catch (error) {
      if (this.#hashes.get(key) === hash) this.#hashes.delete(key);
      throw error;
    }
  }

  #keep(key: string, hash: string): void {
    if (!this.#hashes.has(key)) return;
    this.#done.set(key, hash);
    this.#store?.save(this.#done);
  }
}

async function digest(file: FileHandle, link: string, maxBytes: number): Promise<string> {
  const hash = createHash('sha256');
  const chunk = Buffer.allocUnsafe(CHUNK);
  for (let position = 0; ; ) {
    const { bytesRead } = await file.read(chunk, 0, CHUNK, position);
    if (bytesRead === 0) return hash.digest('hex');
    position += bytesRead;
    if (position > maxBytes) {
      throw new InterlockError('limit', link, `its executable is larger than ${maxBytes} bytes`);
    }
    hash.update(chunk.subarray(0, bytesRead));
  }
}
