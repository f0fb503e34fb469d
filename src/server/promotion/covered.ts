import type { AccessGraph } from '../../access/index.ts';
import type { Estate } from '../estate/index.ts';
import type { Timers } from '../timers.ts';

/** How old it may be: in milliseconds where no proxy has reported since, else in times of what making it took. */
const COVERAGE_MS = 1000;
const REST_FACTOR = 8;

/** The graph with what its recordings cover, which readiness is judged by: made when it is asked for, and kept for a moment. */
export class CoveredGraph {
  readonly #estate: Pick<Estate, 'withCoverage' | 'kept' | 'coverageMs'>;
  readonly #timers: Timers;
  #made: { readonly at: number; readonly kept: number; readonly graph: Promise<AccessGraph> } | undefined;

  constructor(estate: Pick<Estate, 'withCoverage' | 'kept' | 'coverageMs'>, timers: Timers) {
    this.#estate = estate;
    this.#timers = timers;
  }

  /** Throws what the store throws, `unavailable` at the end. */
  read(): Promise<AccessGraph> {
    const now = this.#timers.now();
    const { kept, coverageMs } = this.#estate;
    const age = now - (this.#made?.at ?? Number.NEGATIVE_INFINITY);
    const isFresh = this.#made?.kept === kept && age < COVERAGE_MS;
    // One from the future was made before the clock was set back.
    const isOld = age < 0 || age >= coverageMs * REST_FACTOR;
    if (this.#made === undefined || (!isFresh && isOld)) {
      const graph = this.#estate.withCoverage();
      const made = { at: now, kept, graph };
      this.#made = made;
      // What failed is asked for anew by the next one.
      graph.catch(() => {
        if (this.#made === made) this.#made = undefined;
      });
    }
    return this.#made.graph;
  }
}
