import { isInterlockError } from '../../access/index.ts';
import type { Change } from '../../store/index.ts';
import type { Recorder } from '../identity/recorder.ts';
import type { Timers } from '../timers.ts';

/** How long until a store that took nothing is asked again, milliseconds. */
const AGAIN_MS = 5000;

export interface LaneOptions {
  readonly recorder: Pick<Recorder, 'commit'>;
  readonly timers: Timers;
  readonly onFault: (error: unknown) => void;
}

/**
 * Writes one thing after the other, each until it is kept: what is sent is in the store before. A store that is away holds up
 * what follows, and is complained of once. A conflict holds it up too, until whoever wrote says that it goes on.
 */
export class Lane {
  readonly #options: LaneOptions;
  #last: Promise<unknown> = Promise.resolve();
  #wake = () => {};
  #isStopped = false;
  #held: PromiseWithResolvers<void> | undefined;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  /** Resolves with whether it is kept: false where it was given up, because all this has stopped. Throws `conflict`. */
  write(changes: readonly Change[]): Promise<boolean> {
    const done = this.#last.then(() => this.#kept(changes));
    this.#last = done.catch(() => {});
    return done;
  }

  /** Goes on after a conflict. */
  goOn(): void {
    this.#held?.resolve();
    this.#held = undefined;
  }

  stop(): void {
    this.#isStopped = true;
    this.goOn();
    this.#wake();
  }

  async #kept(changes: readonly Change[]): Promise<boolean> {
    const { recorder, timers, onFault } = this.#options;
    await this.#held?.promise;
    for (let isReported = false; !this.#isStopped; ) {
      try {
        await recorder.commit(changes);
        return true;
      } catch (error) {
        if (isInterlockError(error) && error.code === 'conflict') {
          this.#held = Promise.withResolvers();
          throw error;
        }
        if (!isReported) onFault(error);
        isReported = true;
        await new Promise<void>((resolve) => {
          const cancel = timers.after(AGAIN_MS, resolve);
          this.#wake = () => {
            cancel();
            resolve();
          };
        });
      }
    }
    return false;
  }
}
