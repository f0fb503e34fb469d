import type { Timers } from '../timers.ts';

/** How long one slice holds the event loop, milliseconds: everything else on it waits as long, the red button as well. */
const SLICE_MS = 5;

/** Work in steps that give the event loop back after every {@link SLICE_MS}; one piece of work after the other. */
export class Slices {
  readonly #timers: Timers;
  readonly #waiting: (() => void)[] = [];
  #isBusy = false;

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  /**
   * Takes the steps to their end, beginning at once where nothing else is under way. Gives their result and how long
   * they held the event loop, milliseconds; undefined where it was no longer wanted before the end. Throws what a step throws.
   */
  run<T>(
    steps: Generator<void, T>,
    isWanted: () => boolean,
  ): Promise<{ readonly value: T; readonly ms: number } | undefined> {
    return new Promise((resolve, reject) => {
      let ms = 0;
      const end = (give: () => void) => {
        give();
        this.#isBusy = false;
        this.#waiting.shift()?.();
      };
      const slice = () => {
        this.#isBusy = true;
        try {
          if (!isWanted()) return end(() => resolve(undefined));
          const begun = this.#timers.now();
          for (;;) {
            const { done, value } = steps.next();
            const took = this.#timers.now() - begun;
            if (done === true) return end(() => resolve({ value, ms: ms + took }));
            if (took < SLICE_MS) continue;
            ms += took;
            return void setImmediate(slice);
          }
        } catch (error) {
          end(() => reject(error));
        }
      };
      if (this.#isBusy) this.#waiting.push(slice);
      else slice();
    });
  }
}
