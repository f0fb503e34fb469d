import type { Socket } from 'node:net';
import { InterlockError } from '../access/index.ts';
import { failed, library, missing } from './library.ts';

// System calls about processes and Unix sockets.
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
/** Since Linux 4.13. */
const SO_PEERGROUPS = 59;
/** Since Linux 6.5. */
const SO_PEERPIDFD = 77;
/** Since Linux 5.3. */
const SYS_PIDFD_OPEN = 434n;
const POLLIN = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
/** <linux/limits.h>: the most supplementary groups a process can have. */
const NGROUPS_MAX = 65_536;

const ESRCH = 3;
const EINTR = 4;
const EAGAIN = 11;
const EINVAL = 22;
const ERANGE = 34;
const ENODATA = 61;
const ENOPROTOOPT = 92;
const ENOSYS = 38;

/** Who is at the other end of a Unix socket, as the kernel noted it when the peer connected. */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

type Calls = ReturnType<typeof load>;
let loaded: Calls | undefined;

function calls(): Calls {
  loaded ??= load();
  return loaded;
}

function load() {
  const { getFunction, errno } = library();
  return {
    getsockopt: getFunction('getsockopt', {
      return: 'i32',
      arguments: ['i32', 'i32', 'i32', 'buffer', 'buffer'],
    }),
    poll: getFunction('poll', { return: 'i32', arguments: ['buffer', 'u64', 'i32'] }),
    close: getFunction('close', { return: 'i32', arguments: ['i32'] }),
    flock: getFunction('flock', { return: 'i32', arguments: ['i32', 'i32'] }),
    syscall: getFunction('syscall', { return: 'i64', arguments: ['i64', 'i64', 'i64'] }),
    errno,
  };
}

/** The process, user and group that connected. Throws `unavailable` where the platform cannot tell, `io` otherwise. */
export function peerCredentials(fd: number): PeerCredentials {
  const value = Buffer.alloc(12);
  const { length, errno } = option(fd, SO_PEERCRED, value);
  if (errno !== 0 || length !== 12) throw failed('SO_PEERCRED', errno);
  const pid = value.readInt32LE(0);
  // 0 is what the kernel answers for a process that this one's PID namespace does not hold.
  if (pid <= 0) {
    throw new InterlockError(
      'unavailable',
      'caller',
      "the caller's process is not visible from here: run the agent in the host's PID namespace",
    );
  }
  return { pid, uid: value.readUInt32LE(4), gid: value.readUInt32LE(8) };
}

/** The supplementary groups of who connected, or undefined where the kernel is older than 4.13. */
export function peerGroups(fd: number): number[] | undefined {
  let value = Buffer.alloc(4 * 64);
  let answer = option(fd, SO_PEERGROUPS, value);
  if (answer.errno === ERANGE) {
    value = Buffer.alloc(4 * NGROUPS_MAX);
    answer = option(fd, SO_PEERGROUPS, value);
  }
  if (answer.errno === ENODATA) return [];
  if (answer.errno === ENOPROTOOPT) return undefined;
  if (answer.errno !== 0) throw failed('SO_PEERGROUPS', answer.errno);
  return Array.from({ length: answer.length / 4 }, (_, index) => value.readUInt32LE(index * 4));
}

/**
 * A descriptor of the very process that connected, whoever has its number now; the caller closes it. Undefined where
 * the kernel is older than 6.5, and 'gone' where the process has ended already.
 */
export function peerPidfd(fd: number): number | 'gone' | undefined {
  const value = Buffer.alloc(4);
  const { errno } = option(fd, SO_PEERPIDFD, value);
  if (errno === 0) return value.readInt32LE(0);
  if (errno === ENOPROTOOPT) return undefined;
  // EINVAL is the answer before Linux 6.16 for a process that was reaped, ESRCH and ENODATA later ones.
  if (errno === EINVAL || errno === ESRCH || errno === ENODATA) return 'gone';
  throw failed('SO_PEERPIDFD', errno);
}

/** A descriptor of the process that has this number now; undefined before Linux 5.3, 'gone' where there is none. */
export function openPidfd(pid: number): number | 'gone' | undefined {
  if (!Number.isInteger(pid) || pid <= 0) return 'gone';
  const { syscall, errno } = calls();
  const fd = Number(syscall(SYS_PIDFD_OPEN, BigInt(pid), 0n));
  if (fd >= 0) return fd;
  const code = errno();
  if (code === ENOSYS) return undefined;
  // EINVAL: the number is that of a thread, or of no process at all.
  if (code === ESRCH || code === EINVAL) return 'gone';
  throw failed('pidfd_open', code);
}

/** Whether the process behind a pidfd still runs: a pidfd becomes readable when its process ends (pidfd_open(2)). */
export function pidfdAlive(pidfd: number): boolean {
  const { poll, errno } = calls();
  const entry = Buffer.alloc(8);
  entry.writeInt32LE(pidfd, 0);
  entry.writeInt16LE(POLLIN, 4);
  for (;;) {
    const ready = poll(entry, 1n, 0);
    if (ready === 0) return true;
    if (ready > 0) return false;
    if (errno() !== EINTR) throw failed('poll', errno());
  }
}

/** Gives a descriptor back that a function of this file returned. Never again to be used after. */
export function closeFd(fd: number): void {
  calls().close(fd);
}

/** Takes the exclusive lock of an open file, for as long as it is open; false when another process holds it. */
export function tryLock(fd: number): boolean {
  const { flock, errno } = calls();
  if (flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
  const code = errno();
  if (code === EAGAIN) return false;
  throw failed('flock', code);
}

/** The descriptor of a connected socket. Throws `unavailable` when the runtime does not tell it. */
export function socketFd(socket: Socket): number {
  // Node keeps the descriptor on the handle and has no public name for it.
  const { _handle: handle } = socket as Socket & { readonly _handle?: { readonly fd?: number } | null };
  const fd = handle?.fd;
  if (typeof fd === 'number' && fd >= 0) return fd;
  throw missing("this runtime does not tell a socket's descriptor");
}

function option(fd: number, name: number, value: Buffer): { length: number; errno: number } {
  const { getsockopt, errno } = calls();
  const length = Buffer.alloc(4);
  length.writeUInt32LE(value.length);
  const result = getsockopt(fd, SOL_SOCKET, name, value, length);
  return { length: length.readUInt32LE(0), errno: result === 0 ? 0 : errno() };
}
