import type { SpiffeId } from '../../access/index.ts';
import type { LiveProcess, SockDiag, SocketAddressOf, SocketOwner, SocketTuple } from '../../system/index.ts';
import type { Proc, ProcessMarks } from './proc.ts';
import type { KnownProcess, ProcessBook } from './process-book.ts';

/**
 * Marks of workloads (SO_MARK): these upper sixteen bits, "IL", and the workload's number below. A launcher that runs
 * several workloads in one process, or as one user, marks their sockets; it never gives more than the agent does.
 */
export const MARK_BASE = 0x49_4c_00_00;
const MARK_MASK = 0xff_ff_00_00;
/** Most processes of one cgroup that are asked one by one whether all are the same workload. */
const MAX_OF_CGROUP = 64;
/** Most connections of one user in one cgroup whose owner is still looked for. */
const MAX_WAITING = 64;

/** Whose a socket is: a workload of this node, or why it is none's. */
export type Owned =
  | { readonly workload: SpiffeId; readonly pid: number }
  | {
      readonly workload?: undefined;
      readonly reason: string;
      readonly isOwn?: boolean;
      readonly uid?: number;
    };

export interface OwnersOptions {
  readonly diag: Pick<SockDiag, 'connection' | 'listener'>;
  readonly proc: Pick<Proc, 'holds' | 'candidates' | 'members' | 'uidOf'>;
  readonly book: Pick<ProcessBook, 'known' | 'knownOf' | 'hold' | 'meet'>;
  /** Workloads by the number in their mark. */
  readonly marks: ReadonlyMap<number, SpiffeId>;
  /** This process' own number: its connections are nobody's. */
  readonly self: number;
}

/** What of a known process is taken for the socket's workload. */
type Choose = (process: KnownProcess) => Owned;

/**
 * Whose sockets are, by the kernel: the socket's user and cgroup lead to the processes that can have made it, the one
 * that holds it is asked about at the agent, and what that says it is, it is. In doubt it is nobody's.
 */
export class Owners {
  readonly #options: OwnersOptions;
  /** Who looks through descriptors, by user and cgroup: one after the other, so that no user takes others' time. */
  readonly #turns = new Map<string, { last: Promise<unknown>; waiting: number }>();

  constructor(options: OwnersOptions) {
    this.#options = options;
  }

  /** Whose connection it is, seen from the end that is asked about. */
  connection(tuple: SocketTuple): Promise<Owned> {
    const owner = this.#options.diag.connection(tuple);
    return this.#of(owner, (process) => this.#byMark(owner?.mark, process));
  }

  /** Whether a workload's process is who listens at an address. */
  listener(at: SocketAddressOf, workload: SpiffeId): Promise<Owned> {
    return this.#of(this.#options.diag.listener(at), ({ workloads, pid, uid }) =>
      workloads.includes(workload)
        ? { workload, pid }
        : { reason: `the program at ${at.host}:${at.port}, process ${pid}, is not ${workload}`, uid },
    );
  }

  async #of(owner: SocketOwner | undefined, choose: Choose): Promise<Owned> {
    const { held, cgroup } = owner ?? {};
    if (held === undefined)
      return { reason: 'the kernel knows no process of this network namespace that has the other end' };
    const wanted = { ...held, cgroup };
    const alike = this.#alike(wanted);
    if (alike !== undefined) return choose(alike);
    const found = await this.#inTurn(wanted, () => this.#holder(wanted));
    if ('reason' in found) return { ...found, uid: held.uid };
    if ('known' in found) return choose(found.known);
    const { pid } = found.process;
    const process = await this.#options.book.meet(found, cgroup);
    if (process === undefined)
      return { reason: `process ${pid} of user ${held.uid} has changed or ended`, uid: held.uid };
    return choose(process);
  }

  async #inTurn({ uid, cgroup }: Wanted, search: () => Promise<Holder>): Promise<Holder> {
    const key = `${uid} ${cgroup}`;
    const turn = this.#turns.get(key) ?? { last: Promise.resolve(), waiting: 0 };
    if (turn.waiting >= MAX_WAITING) return { reason: `too many new connections of user ${uid} at a time` };
    this.#turns.set(key, turn);
    turn.waiting++;
    const mine = turn.last.then(search);
    turn.last = mine.catch(() => {});
    try {
      return await mine;
    } finally {
      if (--turn.waiting === 0) this.#turns.delete(key);
    }
  }

  async #holder({ uid, cgroup, inode }: Wanted): Promise<Holder> {
    const { book, proc, self } = this.#options;
    for (const process of book.knownOf(uid, cgroup))
      if ((await proc.holds(process.pid, inode)) && book.known(process.pid) === process)
        return { known: process };
    const candidates = await proc.candidates(uid, cgroup);
    if (candidates.includes(self) && (await proc.holds(self, inode)))
      return { reason: "the proxy's own connection came back to it", isOwn: true };
    for (const pid of candidates) {
      const found = pid === self ? undefined : book.hold(pid);
      if (found === undefined) continue;
      if (found.marks.uid === uid && (await proc.holds(pid, inode)) && found.process.alive()) return found;
      found.process.close();
    }
    return { reason: `no process of user ${uid} holds the connection` };
  }

  /**
   * A process that stands for whoever holds the socket: where all of the user's processes in its cgroup are known and
   * are the same workloads, it is all one which of them it is, and nobody looks through their descriptors.
   */
  #alike({ uid, cgroup }: Wanted): KnownProcess | undefined {
    const { book, proc } = this.#options;
    const members = cgroup === undefined ? undefined : proc.members(cgroup);
    if (members === undefined || members.length > MAX_OF_CGROUP) return undefined;
    let found: KnownProcess | undefined;
    for (const pid of members) {
      const process = book.known(pid);
      if (process === undefined && proc.uidOf(pid) !== uid) continue;
      if (process === undefined) return undefined;
      if (process.uid !== uid) continue;
      if (found !== undefined && String(found.workloads) !== String(process.workloads)) return undefined;
      found = process;
    }
    return found;
  }

  #byMark(mark: number | undefined, { workloads, pid, uid }: KnownProcess): Owned {
    const [first] = workloads;
    if (first === undefined)
      return { reason: `process ${pid} of user ${uid} is no workload of this node`, uid };
    if (mark === undefined || (mark & MARK_MASK) >>> 0 !== MARK_BASE) return { workload: first, pid };
    const marked = this.#options.marks.get(mark & ~MARK_MASK);
    if (marked !== undefined && workloads.includes(marked)) return { workload: marked, pid };
    return {
      reason: `the mark 0x${mark.toString(16)} of process ${pid} names ${marked ?? 'no workload of this node'}, which it is not`,
      uid,
    };
  }
}

interface Wanted {
  readonly uid: number;
  readonly inode: number;
  readonly cgroup: bigint | undefined;
}

/** The process that holds a socket: one that is known, one that is held now and is to be met, or why there is none. */
type Holder =
  | { readonly known: KnownProcess }
  | { readonly process: LiveProcess; readonly marks: ProcessMarks }
  | { readonly reason: string; readonly isOwn?: boolean };
