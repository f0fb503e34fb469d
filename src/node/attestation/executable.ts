import { createHash } from 'node:crypto';
import { readlinkSync, type BigIntStats } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { InterlockError } from '../../access/index.ts';
import { unreadable } from './files.ts';
import { SlowFiles } from './slow-files.ts';

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

/** How executables are looked at: they may lie on a file system that does not answer. */
export interface ExecutableAccess {
  readonly files: SlowFiles;
  readonly stat: (path: string) => Promise<BigIntStats>;
}

/** The node's own files. */
export function executableAccess(): ExecutableAccess {
  return { files: new SlowFiles(), stat: (path) => stat(path, { bigint: true }) };
}

/**
 * The path of /proc/PID/exe, of a process of this user. Rejects with `unavailable` when it was deleted or replaced: then
 * no path names it.
 */
export async function executablePath(
  access: ExecutableAccess,
  procRoot: string,
  pid: number,
  uid: number,
): Promise<ExecutablePath> {
  const link = `${procRoot}/${pid}/exe`;
  const path = targetOf(link);
  const file = await look(access, link, uid);
  // The kernel appends the mark; a file may also bear it in its name, and is not told apart from a deleted one.
  if (path.endsWith(DELETED) || !path.startsWith('/')) {
    throw new InterlockError(
      'unavailable',
      `process ${pid}`,
      'its executable was deleted or replaced since it started',
    );
  }
  const isThere = async (place: string) => {
    const seen = await look(access, place, uid).catch(() => undefined);
    return seen?.dev === file.dev && seen.ino === file.ino;
  };
  return { path, confirmed: (await isThere(path)) || (await isThere(`${procRoot}/1/root${path}`)) };
}

/** Tells one program from another that the same process starts later; undefined where it cannot be told. */
export async function programOf(
  access: ExecutableAccess,
  procRoot: string,
  pid: number,
  uid: number,
): Promise<string | undefined> {
  const link = `${procRoot}/${pid}/exe`;
  try {
    const path = targetOf(link);
    const file = await look(access, link, uid).catch(() => undefined);
    return `${path} ${file?.dev} ${file?.ino}`;
  } catch {
    return undefined;
  }
}

/** The kernel's own word, which asks no file system. */
function targetOf(link: string): string {
  try {
    return readlinkSync(link);
  } catch (cause) {
    throw unreadable(link, cause);
  }
}

async function look({ files, stat }: ExecutableAccess, path: string, uid: number): Promise<BigIntStats> {
  try {
    return await files.run(String(uid), path, () => stat(path));
  } catch (cause) {
    throw cause instanceof InterlockError ? cause : unreadable(path, cause);
  }
}

/** Where hashes are kept for the next start of the agent, by what tells one state of a file from another. */
export interface HashStore {
  load(): ReadonlyMap<string, string>;
  save(hashes: ReadonlyMap<string, string>): void;
}

/** SHA-256 of executables, each read once while it stays as it is. */
export class ExecutableHashes {
  readonly #files: SlowFiles;
  readonly #maxBytes: number;
  readonly #store: HashStore | undefined;
  readonly #done: Map<string, string>;
  // In the order of last use.
  readonly #hashes = new Map<string, Promise<string>>();

  constructor(maxBytes = DEFAULT_MAX_EXECUTABLE_BYTES, store?: HashStore, files = new SlowFiles()) {
    this.#files = files;
    this.#maxBytes = maxBytes;
    this.#store = store;
    this.#done = new Map(store?.load());
    for (const [key, hash] of this.#done) this.#hashes.set(key, Promise.resolve(hash));
  }

  /**
   * Lower-case hex, of the very file that runs: /proc/PID/exe leads to it even after it was deleted. Throws `limit`
   * when it is too large, `unavailable` when it cannot be read.
   */
  async hash(procRoot: string, pid: number, uid: number): Promise<string> {
    const link = `${procRoot}/${pid}/exe`;
    const run = <T>(operation: () => Promise<T>, onLate?: (value: T) => void) =>
      this.#files.run(String(uid), link, operation, onLate);
    let file: FileHandle;
    try {
      file = await run(() => open(link, 'r'), letGo);
    } catch (cause) {
      throw cause instanceof InterlockError ? cause : unreadable(link, cause);
    }
    try {
      return await this.#hashOf(file, link, run);
    } finally {
      // Not waited for: a read that never comes back would hold it up.
      letGo(file);
    }
  }

  async #hashOf(file: FileHandle, link: string, run: Run): Promise<string> {
    const stat = await run(() => file.stat({ bigint: true }));
    if (!stat.isFile()) throw new InterlockError('unavailable', link, `${link} is no regular file`);
    if (stat.size > BigInt(this.#maxBytes)) {
      throw new InterlockError('limit', link, `its executable is larger than ${this.#maxBytes} bytes`);
    }
    // The change time, which no call can set, beside the modification time, which its owner can.
    const key = `${stat.dev} ${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`;
    const known = this.#hashes.get(key);
    const hash = known ?? digest(file, link, this.#maxBytes, run);
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

type Run = <T>(operation: () => Promise<T>) => Promise<T>;

function letGo(file: FileHandle): void {
  file.close().catch(() => undefined);
}

async function digest(file: FileHandle, link: string, maxBytes: number, run: Run): Promise<string> {
  const hash = createHash('sha256');
  const chunk = Buffer.allocUnsafe(CHUNK);
  for (let position = 0; ; ) {
    const at = position;
    const { bytesRead } = await run(() => file.read(chunk, 0, CHUNK, at));
    if (bytesRead === 0) return hash.digest('hex');
    position += bytesRead;
    if (position > maxBytes) {
      throw new InterlockError('limit', link, `its executable is larger than ${maxBytes} bytes`);
    }
    hash.update(chunk.subarray(0, bytesRead));
  }
}
