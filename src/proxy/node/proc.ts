import { opendirSync, readFileSync, readdirSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { processesOf } from '../../system/index.ts';

/** Most descriptors of one process that are looked at. */
const MAX_DESCRIPTORS = 65_536;
/** As many are looked at before others get their turn. */
const SLICE = 256;

/** What tells a process from what it becomes when it starts another program or changes its user. */
export interface ProcessMarks {
  readonly uid: number;
  readonly executable: string;
}

/**
 * What /proc says of processes. Only links and small tables of the kernel's own are read: nothing that a process could
 * make slow, such as a program on a filesystem of its own.
 */
export class Proc {
  readonly #root: string;
  readonly #cgroupMount: string | undefined;

  constructor(cgroupMount: string | undefined, root = '/proc') {
    this.#root = root;
    this.#cgroupMount = cgroupMount;
  }

  /** Undefined for a process that is gone, or that this user may not look at. */
  marksOf(pid: number): ProcessMarks | undefined {
    try {
      const uid = this.uidOf(pid);
      if (uid === undefined) return undefined;
      return { uid, executable: readlinkSync(`${this.#root}/${pid}/exe`) };
    } catch {
      return undefined;
    }
  }

  /** Whether one of the descriptors of a process is this socket. */
  async holds(pid: number, inode: number): Promise<boolean> {
    const wanted = `socket:[${inode}]`;
    const path = `${this.#root}/${pid}/fd`;
    let dir: ReturnType<typeof opendirSync>;
    try {
      dir = opendirSync(path, { bufferSize: SLICE });
    } catch {
      return false;
    }
    try {
      for (let seen = 0; seen < MAX_DESCRIPTORS; seen++) {
        const entry = dir.readSync();
        if (entry === null) return false;
        if (linkAt(join(path, entry.name)) === wanted) return true;
        if (seen % SLICE === SLICE - 1) await new Promise(setImmediate);
      }
      return false;
    } catch {
      return false;
    } finally {
      dir.closeSync();
    }
  }

  /** The processes that may have made a socket: those of its user, in its cgroup where the kernel tells it. */
  async candidates(uid: number, cgroup: bigint | undefined): Promise<number[]> {
    const listed = cgroup === undefined ? undefined : this.members(cgroup);
    const all = listed ?? this.#all();
    const found: number[] = [];
    for (const [i, pid] of all.entries()) {
      if (i % SLICE === SLICE - 1) await new Promise(setImmediate);
      if (this.uidOf(pid) !== uid) continue;
      if (listed === undefined && !this.#isIn(pid, cgroup)) continue;
      found.push(pid);
    }
    return found;
  }

  #all(): number[] {
    return readdirSync(this.#root).flatMap((name) => (/^[1-9]\d*$/.test(name) ? [Number(name)] : []));
  }

  #isIn(pid: number, cgroup: bigint | undefined): boolean {
    if (cgroup === undefined || this.#cgroupMount === undefined) return true;
    try {
      const text = readFileSync(`${this.#root}/${pid}/cgroup`, 'latin1');
      const path = /^0::(\/.*)$/m.exec(text)?.[1];
      // The id of a cgroup is the number of its directory.
      return path !== undefined && statSync(join(this.#cgroupMount, path), { bigint: true }).ino === cgroup;
    } catch {
      return false;
    }
  }

  /** The effective user, under which sockets are made (proc_pid_status(5), the second number). */
  uidOf(pid: number): number | undefined {
    try {
      const text = readFileSync(`${this.#root}/${pid}/status`, 'latin1');
      const uid = /^Uid:\t\d+\t(\d+)\t/m.exec(text)?.[1];
      return uid === undefined ? undefined : Number(uid);
    } catch {
      return undefined;
    }
  }

  /** The processes of a cgroup; undefined where this user may not ask by its id. */
  members(cgroup: bigint): number[] | undefined {
    return this.#cgroupMount === undefined ? undefined : processesOf(this.#cgroupMount, cgroup);
  }
}

function linkAt(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
