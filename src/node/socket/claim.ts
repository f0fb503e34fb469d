import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  renameSync,
  rmdirSync,
  rmSync,
  unlinkSync,
} from 'node:fs';
import { connect, type Socket } from 'node:net';
import { randomBytes } from 'node:crypto';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { InterlockError } from '../../access/index.ts';
import { peerCredentials, socketFd, tryLock } from '../../system/index.ts';

/** unix(7): sun_path has 108 bytes with its closing zero. */
export const MAX_SOCKET_PATH_BYTES = 107;
const LOCK_ATTEMPTS = 10;

/**
 * The right to listen at a path, held from `claimSocket` until `release`. The kernel gives the lock back when the
 * process dies, however it dies, so that a socket which is left over is told from one that is served.
 */
export interface SocketClaim {
  /** Where to bind: in a closed folder beside the path, so that nobody meets a socket without its mode, or none. */
  readonly bindPath: string;
  /** Gives the bound socket its mode and its name, in the place of what a dead process left. */
  publish(): void;
  /** Takes the socket away, if it is still the published one, and gives the claim back. */
  release(): void;
}

/**
 * Claims a path for a Unix socket; its folder is made when missing. Throws `conflict` when another process serves it
 * or something that is no socket lies there, `usage` for a path that cannot be one, `io` when the system refuses.
 */
export async function claimSocket(path: string, mode: number): Promise<SocketClaim> {
  const bindFolder = join(dirname(path), `.${randomBytes(4).toString('hex')}`);
  const bindPath = join(bindFolder, 's');
  checkPath(path, bindPath);
  const lockPath = `${path}.lock`;
  const lock = doing(path, () => {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    return takeLock(lockPath, path);
  });
  const unlock = () => {
    unlinkQuietly(lockPath);
    closeSync(lock);
  };
  try {
    await assertFree(path);
    doing(path, () => mkdirSync(bindFolder, { mode: 0o700 }));
  } catch (error) {
    unlock();
    throw error;
  }
  let published: string | undefined;
  return {
    bindPath,
    publish() {
      doing(path, () => {
        chmodSync(bindPath, mode);
        published = inodeOf(bindPath);
        renameSync(bindPath, path);
        rmdirSync(bindFolder);
      });
    },
    release() {
      if (published === undefined) rmSync(bindFolder, { recursive: true, force: true });
      else if (inodeOf(path) === published) unlinkQuietly(path);
      published = undefined;
      unlock();
    },
  };
}

function checkPath(path: string, bindPath: string): void {
  if (!isAbsolute(path) || path.includes('\0') || basename(path) === '' || path.endsWith('/')) {
    throw new InterlockError('usage', path, `"${path}" is no absolute path of a socket`);
  }
  const length = Math.max(Buffer.byteLength(path), Buffer.byteLength(bindPath));
  if (length > MAX_SOCKET_PATH_BYTES) {
    throw new InterlockError(
      'usage',
      path,
      `${path} is too long for a socket: at most ${MAX_SOCKET_PATH_BYTES} bytes, with 11 after the folder's`,
    );
  }
}

/** An open, locked file that still has this name: one that was locked and taken away meanwhile guards nothing. */
function takeLock(lockPath: string, path: string): number {
  for (let attempt = 0; attempt < LOCK_ATTEMPTS; attempt += 1) {
    const fd = openSync(lockPath, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
    let isOurs = false;
    try {
      if (!tryLock(fd)) throw taken(path, 'another process');
      const { dev, ino } = fstatSync(fd, { bigint: true });
      isOurs = inodeOf(lockPath) === `${dev} ${ino}`;
      if (isOurs) return fd;
    } finally {
      if (!isOurs) closeSync(fd);
    }
  }
  throw taken(path, 'another process');
}

/** Refuses a path that a process without our lock serves (an agent of another make), or that is no socket. */
async function assertFree(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) {
    throw new InterlockError(
      'conflict',
      path,
      `${path} exists and is no socket: move it away, or give another path`,
    );
  }
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connect(path);
  socket.once('connect', () => {
    reject(taken(path, listenerOf(socket)));
  });
  socket.once('error', (error: NodeJS.ErrnoException) => {
    // Refused: nobody listens. ENOENT: it went away meanwhile. Anything else, a full queue too, is somebody's.
    if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve();
    else reject(taken(path, `another process (${error.code ?? 'unknown error'})`));
  });
  try {
    await promise;
  } finally {
    socket.destroy();
  }
}

function listenerOf(socket: Socket): string {
  try {
    return `process ${peerCredentials(socketFd(socket)).pid}`;
  } catch {
    return 'another process';
  }
}

function taken(path: string, who: string): InterlockError {
  return new InterlockError(
    'conflict',
    path,
    `${who} already serves ${path}: stop it first, or give this one another socket`,
  );
}

function inodeOf(path: string): string | undefined {
  const stat = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? undefined : `${stat.dev} ${stat.ino}`;
}

function unlinkQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Gone already, or the folder became read-only: the next start takes it over.
  }
}

function doing<T>(path: string, act: () => T): T {
  try {
    return act();
  } catch (cause) {
    if (cause instanceof InterlockError) throw cause;
    const reason = cause instanceof Error && 'code' in cause ? ` (${String(cause.code)})` : '';
    throw new InterlockError('io', path, `a socket cannot be made at ${path}${reason}`, { cause });
  }
}
