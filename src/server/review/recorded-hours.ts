import type { SpiffeId } from '../../access/index.ts';
import type { Estate } from '../estate/index.ts';
import type { Timers } from '../timers.ts';

/** How old what is known of them may be, milliseconds: rules are unused for days. */
const COVERAGE_MS = 300_000;

/** In which hours calls to a workload were recorded. */
export class RecordedHours {
  readonly #estate: Pick<Estate, 'withCoverage'>;
  readonly #timers: Pick<Timers, 'now'>;
  #read: { readonly at: number; readonly graph: ReturnType<Estate['withCoverage']> } | undefined;

  constructor(estate: Pick<Estate, 'withCoverage'>, timers: Pick<Timers, 'now'>) {
    this.#estate = estate;
    this.#timers = timers;
  }

  /** Throws what the store throws. */
  async of(workload: SpiffeId): Promise<ReadonlySet<number>> {
    const now = this.#timers.now();
    let read = this.#read;
    if (read === undefined || Math.abs(now - read.at) >= COVERAGE_MS)
      this.#read = read = { at: now, graph: this.#estate.withCoverage() };
    try {
      const { coverage } = await read.graph;
      const spans = coverage.byWorkload?.get(workload)?.spans ?? [];
      return new Set(spans.flatMap(({ hours = [] }) => hours));
    } catch (error) {
      if (this.#read === read) this.#read = undefined;
      throw error;
    }
  }
}
