import { InterlockError } from '../../access/index.ts';

/** How long one operation on a file may take, and how many are under way: the pool of threads has four, for all. */
const DEADLINE_MS = 2000;
const AT_ONCE = 2;

export interface SlowFilesOptions {
  readonly deadlineMs?: number;
  readonly atOnce?: number;
}

interface Task {
  readonly owner: string;
  readonly begin: () => void;
  readonly refuse: () => void;
}

/**
 * Operations on files whose file system may never answer: a dead NFS server, or a FUSE program that any user can start.
 * None is done in the main thread, each has a deadline, one user has one at a time, and those that do not come back
 * keep their place, so that they never take all threads.
 */
export class SlowFiles {
  readonly #deadlineMs: number;
  readonly #atOnce: number;
  readonly #queue: Task[] = [];
  readonly #busy = new Set<string>();
  readonly #late = new Set<string>();

  constructor({ deadlineMs = DEADLINE_MS, atOnce = AT_ONCE }: SlowFilesOptions = {}) {
    this.#deadlineMs = deadlineMs;
    this.#atOnce = atOnce;
  }

  /** Operations that have not come back in time, and still have not. */
  get late(): number {
    return this.#late.size;
  }

  /**
   * Does it for a user; `what` is the file, for messages. Rejects with `unavailable` when it takes too long, or others
   * of the user or of everybody do; `onLate` then gets what it gives after all.
   */
  run<T>(owner: string, what: string, operation: () => Promise<T>, onLate?: (value: T) => void): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const refuse = () => reject(silent(what));
    const begin = () => {
      this.#busy.add(owner);
      const timer = setTimeout(() => {
        this.#late.add(owner);
        refuse();
        this.#refuseHopeless();
      }, this.#deadlineMs);
      const work = async () => {
        try {
          const value = await operation();
          if (this.#late.has(owner)) onLate?.(value);
          else resolve(value);
        } catch (error) {
          reject(error);
        } finally {
          clearTimeout(timer);
          this.#busy.delete(owner);
          this.#late.delete(owner);
          this.#pump();
        }
      };
      void work();
    };
    this.#queue.push({ owner, begin, refuse });
    this.#refuseHopeless();
    this.#pump();
    return promise;
  }

  #pump(): void {
    for (let at = 0; at < this.#queue.length && this.#busy.size < this.#atOnce; ) {
      const task = this.#queue[at];
      if (task === undefined || this.#busy.has(task.owner)) at++;
      else {
        this.#queue.splice(at, 1);
        task.begin();
      }
    }
  }

  /** Who waits behind what is late is not kept waiting. */
  #refuseHopeless(): void {
    const isFull = this.#late.size >= this.#atOnce;
    const waiting = this.#queue.splice(0);
    for (const task of waiting) {
      if (isFull || this.#late.has(task.owner)) task.refuse();
      else this.#queue.push(task);
    }
  }
}

function silent(what: string): InterlockError {
  return new InterlockError(
    'unavailable',
    what,
    `${what} cannot be looked at: its file system does not answer`,
  );
}
