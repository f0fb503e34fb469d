import type { Timers } from '../../timers.ts';
import type { Points } from '../points.ts';
import type { EvidenceIntake } from './intake.ts';

/** How often it is looked who is connected; milliseconds. */
const LOOK_MS = 10 * 60_000;

export interface WatchedHoursOptions {
  readonly points: Points;
  readonly evidence: Pick<EvidenceIntake, 'watched'>;
  readonly timers: Timers;
}

/**
 * Notes in which hours somebody stood before each workload: an hour in which nobody called is known only where a proxy was
 * there that would have said so.
 */
export class WatchedHours {
  readonly #options: WatchedHoursOptions;
  #cancel = () => {};

  constructor(options: WatchedHoursOptions) {
    this.#options = options;
    this.#arm();
  }

  stop(): void {
    this.#cancel();
  }

  #arm(): void {
    const { points, evidence, timers } = this.#options;
    this.#cancel = timers.after(LOOK_MS, () => {
      evidence.watched([...points.all].filter(({ connected }) => connected));
      this.#arm();
    });
  }
}
