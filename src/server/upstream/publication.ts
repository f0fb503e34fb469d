import type { Timers } from '../timers.ts';

/** How long until a state that could not be told is told again. */
const RETRY_MS = 5000;

export interface PublicationOptions<State> {
  readonly timers: Timers;
  /** What is to be told; undefined while there is nothing to tell, or nobody. */
  readonly state: () => State | undefined;
  readonly isSame: (one: State, other: State) => boolean;
  readonly tell: (state: State) => Promise<void>;
  readonly onFailed: (error: unknown) => void;
}

/** Tells the parent a state whenever it has changed: the newest one, one at a time, and again where that failed. */
export class Publication<State> {
  readonly #options: PublicationOptions<State>;
  #told: State | undefined;
  #isTelling = false;
  #cancel = () => {};
  #isStopped = false;

  constructor(options: PublicationOptions<State>) {
    this.#options = options;
  }

  /** Looks whether there is something new to tell. */
  look(): void {
    if (this.#isTelling || this.#isStopped) return;
    const { state, isSame } = this.#options;
    const now = state();
    if (now === undefined || (this.#told !== undefined && isSame(this.#told, now))) return;
    this.#cancel();
    this.#isTelling = true;
    void this.#tell(now);
  }

  async #tell(now: State): Promise<void> {
    const { tell, timers, onFailed } = this.#options;
    try {
      await tell(now);
      this.#told = now;
      this.#isTelling = false;
      this.look();
    } catch (error) {
      this.#isTelling = false;
      onFailed(error);
      if (!this.#isStopped) this.#cancel = timers.after(RETRY_MS, () => this.look());
    }
  }

  /** The parent may not know any more what it was told. */
  forget(): void {
    this.#told = undefined;
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancel();
  }
}
