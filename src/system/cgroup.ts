import { closeSync, constants, openSync, readFileSync } from 'node:fs';
import { failed, library } from './library.ts';

/** FILEID_KERNFS of <linux/exportfs.h>: a handle that is the cgroup's 64-bit id. */
const FILEID_KERNFS = 0xfe;
const EPERM = 1;
const ENOENT = 2;
const ESTALE = 116;
const ENOSYS = 38;
/** <asm-generic/fcntl.h> and arm64's differ in O_DIRECTORY; both constants of Node are the platform's own. */
const OPEN = constants.O_RDONLY | constants.O_DIRECTORY | 0x8_0000;
const MAX_MOUNTS_BYTES = 1024 * 1024;

type OpenByHandle = (mount: number, handle: Buffer, flags: number) => number;
let openByHandle: OpenByHandle | undefined;

/** Where version 2's hierarchy of cgroups is mounted; undefined where it is not. */
export function cgroupMount(mountinfo = '/proc/self/mountinfo'): string | undefined {
  let text: string;
  try {
    text = readFileSync(mountinfo, 'utf8').slice(0, MAX_MOUNTS_BYTES);
  } catch {
    return undefined;
  }
  for (const line of text.split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const [, , , root, point] = before.split(' ');
    if (root === '/' && after.startsWith('cgroup2 ') && point !== undefined)
      return point.replaceAll('\\040', ' ');
  }
  return undefined;
}

/**
 * All processes of a cgroup of version 2, by its id. Undefined where it is gone, or where this process may not see all of
 * them: that takes CAP_DAC_READ_SEARCH, and their PID namespace. Throws `io`.
 */
export function processesOf(mount: string, cgroup: bigint): number[] | undefined {
  const { getFunction, errno } = library();
  openByHandle ??= getFunction('open_by_handle_at', {
    return: 'i32',
    arguments: ['i32', 'buffer', 'i32'],
  }) as OpenByHandle;
  const handle = Buffer.alloc(16);
  handle.writeUInt32LE(8, 0);
  handle.writeInt32LE(FILEID_KERNFS, 4);
  handle.writeBigUInt64LE(cgroup, 8);
  let at: number;
  try {
    at = openSync(mount, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch {
    return undefined;
  }
  try {
    const fd = openByHandle(at, handle, OPEN);
    if (fd >= 0) return readProcesses(fd);
    const code = errno();
    if (code === EPERM || code === ENOENT || code === ESTALE || code === ENOSYS) return undefined;
    throw failed('open_by_handle_at', code);
  } finally {
    closeSync(at);
  }
}

function readProcesses(fd: number): number[] | undefined {
  try {
    const text = readFileSync(`/proc/self/fd/${fd}/cgroup.procs`, 'latin1');
    const pids = text.split('\n').flatMap((line) => (line === '' ? [] : Number(line)));
    // 0 stands for a process that this PID namespace does not hold: a list with holes is none.
    return pids.includes(0) ? undefined : pids;
  } catch {
    // A threaded cgroup has no list of processes (cgroups(7)), and one that was just removed has none either.
    return undefined;
  } finally {
    closeSync(fd);
  }
}
