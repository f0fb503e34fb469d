import { InterlockError } from '../../access/index.ts';
import type { ControlPlane } from '../identity/control-plane.ts';
import { certificateOf, type Slot } from '../identity/slots.ts';
import type { Timers } from '../timers.ts';

/** How often it is counted what is left of an authority that gives way; milliseconds. */
const LOOK_MS = 2000;

export interface DrainedOptions {
  readonly timers: Timers;
  readonly plane: () => ControlPlane;
  /** Tells the parent that certificates (serials, hex) are used no more; false while it is away. */
  readonly tell: (serials: readonly string[]) => boolean;
}

/** Tells the parent when nothing that a tainted authority has signed is served any more: it counts what is left. */
export class Drained {
  readonly #options: DrainedOptions;
  readonly #watched = new Map<string, Slot>();
  #cancel: (() => void) | undefined;
  #isStopped = false;

  constructor(options: DrainedOptions) {
    this.#options = options;
  }

  watch(slot: Slot): void {
    if (this.#isStopped) return;
    this.#watched.set(slot.id, slot);
    this.#cancel ??= this.#options.timers.after(LOOK_MS, () => void this.#look());
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancel?.();
  }

  async #look(): Promise<void> {
    const { plane, timers, tell } = this.#options;
    try {
      const { recorder, store } = plane();
      const counts = await recorder.within(store.liveCounts(timers.now()));
      const live = new Set(counts.flatMap(({ authority, count }) => (count > 0 ? [authority] : [])));
      const done = [...this.#watched.values()].filter(({ id }) => !live.has(id));
      if (done.length > 0 && tell(done.map((slot) => certificateOf(slot).serial)))
        for (const { id } of done) this.#watched.delete(id);
    } catch (error) {
      // A store that hangs is counted again later.
      if (!(error instanceof InterlockError)) throw error;
    }
    this.#cancel =
      this.#watched.size === 0 || this.#isStopped
        ? undefined
        : timers.after(LOOK_MS, () => void this.#look());
  }
}
