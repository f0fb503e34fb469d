import { readFileSync } from 'node:fs';
import { InterlockError } from '../access/index.ts';
import { closeFd, openPidfd, peerPidfd, pidfdAlive } from './linux.ts';

/**
 * A process that cannot be mistaken for a later one of the same number: what is read under /proc while `alive()`
 * is true before and after was read of it. After `close()` it counts as gone.
 */
export interface LiveProcess {
  readonly pid: number;
  /**
   * How the process is held: `peer` is the one that connected, beyond doubt (Linux 6.5); `pid` is the one that had
   * the number when its descriptor was opened, just after it connected; `start` is told apart by its start time
   * only (before Linux 5.3).
   */
  readonly hold: 'peer' | 'pid' | 'start';
  alive(): boolean;
  close(): void;
}

/** Holds on to the process at the other end of a socket. Throws `unavailable` when it has ended already. */
export function peerProcess(fd: number, pid: number, procRoot = '/proc'): LiveProcess {
  const pidfd = peerPidfd(fd);
  if (pidfd === 'gone') throw gone(pid);
  return pidfd === undefined ? openProcess(pid, procRoot) : new PidfdProcess(pid, 'peer', pidfd);
}

/** Holds on to the process that has this number now. Throws `unavailable` when there is none. */
export function openProcess(pid: number, procRoot = '/proc'): LiveProcess {
  const pidfd = openPidfd(pid);
  if (pidfd === 'gone') throw gone(pid);
  return pidfd === undefined ? new StartTimeProcess(pid, procRoot) : new PidfdProcess(pid, 'pid', pidfd);
}

class PidfdProcess implements LiveProcess {
  readonly pid: number;
  readonly hold: 'peer' | 'pid';
  #pidfd: number | undefined;

  constructor(pid: number, hold: 'peer' | 'pid', pidfd: number) {
    this.pid = pid;
    this.hold = hold;
    this.#pidfd = pidfd;
  }

  alive(): boolean {
    return this.#pidfd !== undefined && pidfdAlive(this.#pidfd);
  }

  close(): void {
    const pidfd = this.#pidfd;
    // Forgotten first: the number belongs to another file as soon as it is closed.
    this.#pidfd = undefined;
    if (pidfd !== undefined) closeFd(pidfd);
  }
}

/** For kernels without pidfds. A number that is taken again has another start time (proc_pid_stat(5), field 22). */
export class StartTimeProcess implements LiveProcess {
  readonly pid: number;
  readonly hold = 'start';
  readonly #procRoot: string;
  #started: string | undefined;

  constructor(pid: number, procRoot: string) {
    this.pid = pid;
    this.#procRoot = procRoot;
    this.#started = this.#startTime();
    if (this.#started === undefined) throw gone(pid);
  }

  alive(): boolean {
    return this.#started !== undefined && this.#startTime() === this.#started;
  }

  close(): void {
    this.#started = undefined;
  }

  #startTime(): string | undefined {
    let text: string;
    try {
      text = readFileSync(`${this.#procRoot}/${this.pid}/stat`, 'latin1');
    } catch {
      return undefined;
    }
    // The second field is the program's own choice and may hold blanks and brackets: count from its end.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  }
}

function gone(pid: number): InterlockError {
  return new InterlockError(
    'unavailable',
    `process ${pid}`,
    `process ${pid} went away before it was looked at`,
  );
}
