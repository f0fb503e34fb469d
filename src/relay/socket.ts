import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  lchownSync,
  lstatSync,
  openSync,
  rmSync,
} from 'node:fs';
import { connect } from 'node:net';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { InterlockError } from '../access/index.ts';

/** Bytes of a path of a socket (unix(7): sun_path is 108, with a zero at its end). */
const MAX_PATH = 107;
/** open(2) of Linux: a handle of the file that neither reads nor follows. Node does not name it. */
const O_PATH = 0o10_000_000;

/**
 * Serves gRPC on a Unix socket. Whoever can open it may call: root, this user, and the group where one is given. What an
 * earlier process left there is replaced. Throws `usage`, `conflict` where another process answers there, `io`.
 */
export async function serveOnSocket(
  path: string,
  group: number | undefined,
  addServices: (server: Server) => void,
): Promise<{ close(): void }> {
  if (Buffer.byteLength(path) > MAX_PATH)
    throw new InterlockError('usage', path, `${path} is too long for a socket: at most ${MAX_PATH} bytes`);
  await makeRoom(path);
  const server = new Server({ 'grpc.max_receive_message_length': 4 * 1024 * 1024 });
  addServices(server);
  // Nobody else may open it between its making and its mode.
  const mask = process.umask(0o177);
  try {
    await bound(server, path);
    if (group !== undefined) openTo(path, group);
  } catch (cause) {
    server.forceShutdown();
    throw new InterlockError(
      'io',
      path,
      `cannot listen on ${path}: give a path that this user may write, and a group that it may give away to`,
      { cause },
    );
  } finally {
    process.umask(mask);
  }
  return { close: () => server.forceShutdown() };
}

/** By a handle of the socket itself: whoever may write its directory could have put a link to a file of ours there. */
function openTo(path: string, group: number): void {
  if (process.platform !== 'linux') {
    lchownSync(path, -1, group);
    chmodSync(path, 0o660);
    return;
  }
  const handle = openSync(path, O_PATH | constants.O_NOFOLLOW);
  try {
    const made = fstatSync(handle);
    if (!made.isSocket() || made.uid !== process.geteuid?.() || made.nlink !== 1)
      throw new TypeError(`${path} is not the socket that was made there`);
    chownSync(`/proc/self/fd/${handle}`, -1, group);
    chmodSync(`/proc/self/fd/${handle}`, 0o660);
  } finally {
    closeSync(handle);
  }
}

function bound(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
}

async function makeRoom(path: string): Promise<void> {
  if (!existsSync(path)) return;
  if (!lstatSync(path).isSocket())
    throw new InterlockError('io', path, `${path} is there and is no socket: give another path`);
  if (await answers(path))
    throw new InterlockError('conflict', path, `another process serves on ${path}: give another --socket`);
  rmSync(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    // Refused, or gone meanwhile: nobody listens. Anything else, a full queue too, is somebody's.
    socket.once('error', ({ code }: NodeJS.ErrnoException) =>
      resolve(code !== 'ECONNREFUSED' && code !== 'ENOENT'),
    );
  });
}
