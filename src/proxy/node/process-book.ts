import { InterlockError, type SpiffeId } from '../../access/index.ts';
import type { delegated } from '../../proto/index.ts';
import { type LiveProcess, openProcess } from '../../system/index.ts';
import type { Clock, Watch, X509View } from '../../workload/index.ts';
import type { DelegatedClient } from './delegated-client.ts';
import type { Proc, ProcessMarks } from './proc.ts';
import { Views, type WorkloadView } from './views.ts';

/** Processes that are known at a time: half of what an agent takes of one caller. The oldest goes first. */
const MAX_PROCESSES = 1024;
/** Of these, of one user in one cgroup: whoever starts many processes makes only its own be forgotten. */
const MAX_ALIKE = 128;
/** To the agent's first word about a process, in milliseconds: it may have to sign. */
const ANSWER_MS = 10_000;

/** A process that was asked about. */
export interface KnownProcess {
  readonly pid: number;
  readonly uid: number;
  readonly cgroup: bigint | undefined;
  /** The workloads of this node that it is now, in the agent's order; none for a stranger. */
  readonly workloads: readonly SpiffeId[];
}

interface Entry {
  readonly pid: number;
  readonly uid: number;
  readonly cgroup: bigint | undefined;
  readonly process: LiveProcess;
  readonly marks: ProcessMarks;
  readonly answered: Promise<void>;
  readonly resolve: () => void;
  watch: Watch | undefined;
  workloads: readonly SpiffeId[];
  answer: delegated.SubscribeToX509SVIDsResponse | undefined;
}

export interface ProcessBookOptions {
  readonly client: Pick<DelegatedClient, 'watchProcess' | 'watchBundles' | 'close'>;
  readonly proc: Pick<Proc, 'marksOf'>;
  readonly workloads: ReadonlySet<SpiffeId>;
  /** The node proxy's own identity. */
  readonly own: X509View;
  readonly clock: Clock;
  /** A workload of the node has its first identity. */
  readonly onView: (workload: SpiffeId, view: WorkloadView) => void;
  readonly onFault: (error: InterlockError) => void;
}

/**
 * The processes of this node that were met, each with what the agent says it is, by a stream that says so whenever it
 * changes. A process is held by a pidfd: its number is never taken for that of a later one.
 */
export class ProcessBook {
  readonly views: Views;
  readonly #options: ProcessBookOptions;
  readonly #entries = new Map<number, Entry>();
  readonly #stops: (() => void)[] = [];
  #isAway = false;
  #onReady: (() => void) | undefined;
  readonly #ready: Promise<void>;

  constructor(options: ProcessBookOptions) {
    const { client, own, workloads, clock, onView, onFault } = options;
    this.#options = options;
    this.views = new Views({ workloads, own, now: () => clock.now(), onView, onFault });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#ready = promise;
    this.#onReady = resolve;
    const bundles = client.watchBundles({
      onMessage: ({ caCertificates }) => {
        this.#isAway = false;
        this.views.trust(caCertificates);
        this.#again();
        this.#onReady?.();
        this.#onReady = undefined;
      },
      onError: (error) => this.#fault(error),
    });
    this.#stops.push(
      () => bundles.close(),
      own.onUpdate(() => {
        this.views.trust();
        this.#again();
      }),
    );
  }

  /** Resolves once the agent has said whom to trust. */
  get ready(): Promise<void> {
    return this.#ready;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The process of this number, if it is known and still the same, running the same program as the same user. */
  known(pid: number): KnownProcess | undefined {
    const entry = this.#entries.get(pid);
    if (entry === undefined) return undefined;
    if (this.#isSame(entry)) return entry;
    this.#drop(entry);
    return undefined;
  }

  /** All known processes of a user and cgroup, the one that was met last first. */
  knownOf(uid: number, cgroup: bigint | undefined): KnownProcess[] {
    return [...this.#entries.values()]
      .filter((entry) => entry.uid === uid && entry.cgroup === cgroup)
      .toReversed()
      .filter((entry) => this.known(entry.pid) === entry);
  }

  /** Holds on to a process, so that it cannot become another one while it is looked at. Undefined where it is gone. */
  hold(pid: number): { process: LiveProcess; marks: ProcessMarks } | undefined {
    let process: LiveProcess;
    try {
      process = openProcess(pid);
    } catch {
      return undefined;
    }
    const marks = this.#options.proc.marksOf(pid);
    if (marks !== undefined && process.alive()) return { process, marks };
    process.close();
    return undefined;
  }

  /** Asks the agent what a held process is, and keeps it; the book closes it. Gives it once the agent has answered. */
  async meet(
    { process, marks }: { process: LiveProcess; marks: ProcessMarks },
    cgroup: bigint | undefined,
  ): Promise<KnownProcess | undefined> {
    let entry = this.#entries.get(process.pid);
    if (entry !== undefined && this.#isSame(entry)) process.close();
    else {
      if (entry !== undefined) this.#drop(entry);
      entry = this.#add(process, marks, cgroup);
    }
    const { answered, resolve } = entry;
    const callOff = this.#options.clock.after(ANSWER_MS, resolve);
    await answered;
    callOff();
    return this.known(entry.pid) === entry ? entry : undefined;
  }

  close(): void {
    for (const stop of this.#stops) stop();
    for (const entry of this.#entries.values()) this.#drop(entry);
    this.#options.client.close();
  }

  #add(process: LiveProcess, marks: ProcessMarks, cgroup: bigint | undefined): Entry {
    const { promise: answered, resolve } = Promise.withResolvers<void>();
    const { pid } = process;
    const entry: Entry = {
      pid,
      uid: marks.uid,
      cgroup,
      process,
      marks,
      answered,
      resolve,
      watch: undefined,
      workloads: [],
      answer: undefined,
    };
    this.#makeRoom(entry);
    this.#entries.set(pid, entry);
    entry.watch = this.#options.client.watchProcess(
      pid,
      () => {
        if (!process.alive()) throw gone(pid);
      },
      {
        onMessage: (answer) => {
          // Still alive: so it was it that the agent looked at, and no later process of the same number.
          if (!process.alive()) return this.#drop(entry);
          this.#isAway = false;
          entry.answer = answer;
          this.#read(entry);
        },
        onError: (error) => {
          if (!process.alive()) return this.#drop(entry);
          this.#fault(error);
          // The agent is away: what was known stays, and who is new is a stranger until it is back.
          entry.resolve();
        },
      },
    );
    // It may have ended at once, before there was a watch to close.
    if (this.#entries.get(pid) !== entry) entry.watch.close();
    return entry;
  }

  /** Of an agent that is away one word is enough, however many processes it is asked about. */
  #fault(error: InterlockError): void {
    if (error.code === 'unavailable') {
      if (this.#isAway) return;
      this.#isAway = true;
    }
    this.#options.onFault(error);
  }

  #read(entry: Entry): void {
    if (entry.answer === undefined || !this.views.isReady) return;
    entry.workloads = this.views.take(entry.answer);
    entry.resolve();
  }

  #again(): void {
    for (const entry of this.#entries.values()) this.#read(entry);
  }

  #isSame({ process, marks, pid }: Entry): boolean {
    if (!process.alive()) return false;
    const now = this.#options.proc.marksOf(pid);
    return now !== undefined && now.uid === marks.uid && now.executable === marks.executable;
  }

  #makeRoom({ uid, cgroup }: Entry): void {
    const alike = [...this.#entries.values()].filter((entry) => entry.uid === uid && entry.cgroup === cgroup);
    const isFull = this.#entries.size >= MAX_PROCESSES;
    if (alike.length < MAX_ALIKE && !isFull) return;
    const ended = [...this.#entries.values()].filter(({ process }) => !process.alive());
    const [oldestAlike] = alike;
    const [oldest] = this.#entries.values();
    const leaves = alike.length >= MAX_ALIKE ? oldestAlike : oldest;
    for (const entry of ended.length > 0 ? ended : leaves === undefined ? [] : [leaves]) this.#drop(entry);
  }

  #drop(entry: Entry): void {
    if (this.#entries.get(entry.pid) === entry) this.#entries.delete(entry.pid);
    entry.watch?.close();
    entry.process.close();
    entry.resolve();
  }
}

function gone(pid: number): InterlockError {
  return new InterlockError('unavailable', `process ${pid}`, `process ${pid} has ended`);
}
