import type { SpiffeId } from '../../access/index.ts';
import { hasEnds } from '../../policy/index.ts';
import { endsBetween, untilNextLook, type WorkloadRollout } from '../../rollout/index.ts';
import type { Timers } from '../timers.ts';

export interface EndsOptions {
  readonly rollouts: { readonly all: ReadonlyMap<SpiffeId, WorkloadRollout> };
  readonly timers: Timers;
  /** A rule of the workload's policies has ended, or, where the clock was set back, has not ended any more. */
  readonly onEnd: (workload: SpiffeId) => void;
  readonly onFault: (error: unknown) => void;
}

/**
 * Notices when rules end that have an end. Our proxies end them by their own clocks and Envoys by a condition; this is for
 * what is rendered, judged and shown here. Each control plane does it for itself: nothing is decided, nothing is written.
 */
export class Ends {
  readonly #options: EndsOptions;
  /** Workloads with a rule that has an end, over or not: usually few of all. */
  readonly #ending = new Set<SpiffeId>();
  #lookedAt: number;
  #cancel = () => {};

  constructor(options: EndsOptions) {
    this.#options = options;
    this.#lookedAt = options.timers.now();
    for (const workload of options.rollouts.all.keys()) this.#note(workload);
    this.#wake();
  }

  /** Policies of a workload have changed: another rule may be the next to end. */
  changed(workload: SpiffeId): void {
    const had = this.#ending.has(workload);
    // It is rendered and judged as it is now.
    if (this.#note(workload) || had) this.#look(workload);
  }

  stop(): void {
    this.#cancel();
  }

  #note(workload: SpiffeId): boolean {
    const { target = [], enforced = [] } = this.#options.rollouts.all.get(workload) ?? {};
    const isEnding = hasEnds(target) || hasEnds(enforced);
    if (isEnding) this.#ending.add(workload);
    else this.#ending.delete(workload);
    return isEnding;
  }

  *#rollouts(): Generator<readonly [SpiffeId, WorkloadRollout]> {
    for (const workload of this.#ending) {
      const rollout = this.#options.rollouts.all.get(workload);
      if (rollout !== undefined) yield [workload, rollout];
    }
  }

  #wake(): void {
    const { timers } = this.#options;
    this.#cancel();
    const ending = [...this.#rollouts()].map(([, rollout]) => rollout);
    const wait = untilNextLook(ending, timers.now());
    if (wait !== undefined) this.#cancel = timers.after(wait, () => this.#look());
  }

  /** But for the one that has just been told of. */
  #look(but?: SpiffeId): void {
    const { timers, onEnd, onFault } = this.#options;
    const [before, now] = [this.#lookedAt, timers.now()];
    this.#lookedAt = now;
    for (const [workload, rollout] of this.#rollouts()) {
      if (workload === but) continue;
      try {
        if (endsBetween(rollout, before, now)) onEnd(workload);
      } catch (error) {
        onFault(error);
      }
    }
    this.#wake();
  }
}
