import type { IdentityStore } from '../../store/index.ts';
import type { Timers } from '../timers.ts';

/** Whether this control plane is the one, among those of one state, that does what is to be done once. */
export class Leadership {
  readonly #listeners = new Set<(isLeader: boolean) => void>();
  readonly #timers: Timers;
  #isLeader: boolean;
  #since: number;
  #holds: () => boolean = () => true;
  #stop = async () => {};

  /** Where nobody else has the same state it leads from the beginning. */
  constructor(isShared: boolean, timers: Timers) {
    this.#isLeader = !isShared;
    this.#timers = timers;
    this.#since = timers.now();
  }

  get isLeader(): boolean {
    return this.#isLeader && this.#holds();
  }

  /** Since when it leads, milliseconds since 1970 UTC; undefined where it does not. */
  get since(): number | undefined {
    return this.isLeader ? this.#since : undefined;
  }

  /** Stands for leader. Throws what the store throws. */
  async start(store: IdentityStore): Promise<void> {
    this.#stop = await store.lead((isLeader, holds = () => true) => {
      this.#holds = holds;
      this.#tell(isLeader);
    });
  }

  /** Calls `listener` when it comes to lead, and when it does no more, until the function it gives back is called. */
  onChange(listener: (isLeader: boolean) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async stop(): Promise<void> {
    await this.#stop();
    this.#stop = async () => {};
  }

  #tell(isLeader: boolean): void {
    if (isLeader === this.#isLeader) return;
    this.#isLeader = isLeader;
    this.#since = this.#timers.now();
    for (const listener of this.#listeners) listener(isLeader);
  }
}
