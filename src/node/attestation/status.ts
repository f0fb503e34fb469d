import { InterlockError } from '../../access/index.ts';
import { readSmall } from './files.ts';

/** A line of 65,536 group numbers of up to 11 characters, and the rest of the file. */
const MAX_STATUS_BYTES = 1_048_576;

/** The effective user and group of a process and its supplementary groups, of /proc/PID/status (proc_pid_status(5)). */
export interface ProcessStatus {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

/** Reads /proc/PID/status. Throws `unavailable` when it cannot be read or does not say what it should. */
export function readStatus(procRoot: string, pid: number): ProcessStatus {
  const path = `${procRoot}/${pid}/status`;
  const text = readSmall(path, MAX_STATUS_BYTES);
  const uid = numbers(text, 'Uid')?.[1];
  const gid = numbers(text, 'Gid')?.[1];
  const groups = numbers(text, 'Groups');
  if (uid === undefined || gid === undefined || groups === undefined) {
    throw new InterlockError('unavailable', path, `${path} does not name the user and the groups`);
  }
  return { uid, gid, groups };
}

// The first line is the program's own name, in which the kernel writes a line break as "\n": it cannot begin a line.
function numbers(text: string, name: string): number[] | undefined {
  const line = new RegExp(`^${name}:([ \\t0-9]*)$`, 'm').exec(text)?.[1];
  return line?.split(/[ \t]+/).flatMap((word) => (word === '' ? [] : [Number(word)]));
}
