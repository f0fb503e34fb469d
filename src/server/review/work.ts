import type { SpiffeId } from '../../access/index.ts';
import type { Timers } from '../timers.ts';

/** How long what happens to a workload is gathered, and how soon it is looked at again; milliseconds. */
const GATHERED_MS = 2000;
const AGAIN_MS = 10_000;
/** The work rests so many times as long as it took: a large estate takes longer, and nothing else becomes slower. */
const REST_FACTOR = 8;

export interface ReviewWorkOptions {
  readonly timers: Timers;
  /** Looks at one workload. */
  readonly look: (workload: SpiffeId) => Promise<void>;
  readonly onFault: (error: unknown) => void;
}

/** Looks at workloads about which something is new: one after the other, each at most every ten seconds. */
export class ReviewWork {
  readonly #options: ReviewWorkOptions;
  /** When each is due, the first that was marked first. */
  readonly #due = new Map<SpiffeId, number>();
  readonly #looked = new Map<SpiffeId, number>();
  #cancel: (() => void) | undefined;
  #isBusy = false;
  #isClosed = false;

  constructor(options: ReviewWorkOptions) {
    this.#options = options;
  }

  /** Something is new about a workload. */
  mark(workload: SpiffeId): void {
    if (this.#isClosed || this.#due.has(workload)) return;
    const now = this.#options.timers.now();
    const looked = this.#looked.get(workload);
    // A clock that was set back must not make it wait for the time that it has lost.
    const again = looked === undefined || looked > now ? now : looked + AGAIN_MS;
    this.#due.set(workload, Math.max(now + GATHERED_MS, again));
    this.#arm(GATHERED_MS);
  }

  close(): void {
    this.#isClosed = true;
    this.#cancel?.();
    this.#due.clear();
  }

  #arm(ms: number): void {
    if (this.#isBusy || this.#cancel !== undefined || this.#isClosed || this.#due.size === 0) return;
    this.#cancel = this.#options.timers.after(ms, () => {
      this.#cancel = undefined;
      void this.#next();
    });
  }

  async #next(): Promise<void> {
    const { timers, look, onFault } = this.#options;
    const now = timers.now();
    const found = [...this.#due].find(([, at]) => at <= now || at > now + AGAIN_MS + GATHERED_MS);
    if (found === undefined) return this.#arm(Math.max(1, Math.min(...this.#due.values()) - now));
    const [workload] = found;
    this.#due.delete(workload);
    this.#looked.set(workload, now);
    this.#isBusy = true;
    const begun = performance.now();
    try {
      await look(workload);
    } catch (error) {
      onFault(error);
    }
    this.#isBusy = false;
    this.#arm(Math.ceil((performance.now() - begun) * REST_FACTOR));
  }
}
