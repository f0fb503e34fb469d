import type { SpiffeId } from '../../../access/index.ts';
import type { Checked } from '../../../api/index.ts';
import { type EstateReader, graphOf, stageText } from '../../estate/index.ts';
import { Prepared } from '../handler.ts';
import type { ApiParts } from '../parts.ts';

/** How long what is new stands for the same, milliseconds. */
const NEW_STEP_MS = 60_000;
/** Graphs that are kept: of all by workload and by namespace, and of some namespaces. */
const MOST_KEPT = 6;

/** The graph as JSON, made once for everyone who asks until something in it changes. */
export class Graphs {
  readonly #parts: Pick<ApiParts, 'enforcing' | 'timers'>;
  readonly #reader: EstateReader;
  readonly #kept = new Map<string, Prepared>();

  constructor(parts: Pick<ApiParts, 'enforcing' | 'timers'>, reader: EstateReader) {
    this.#parts = parts;
    this.#reader = reader;
  }

  /** The graph at this moment; the reader is ready. */
  of(query: Checked<'graph.get', 'query'>): Prepared {
    const { enforcing, timers } = this.#parts;
    const now = timers.now();
    const released = enforcing.releases.inForce.map(({ id }) => id).join();
    // Upwards: what was seen a moment ago is not of the future.
    const step = Math.ceil(now / NEW_STEP_MS);
    const name = `graph ${this.#reader.version} ${released} ${step}`;
    const asked = JSON.stringify(query);
    const known = this.#kept.get(asked);
    if (known?.name === name) return known;
    const facts = {
      stageOf: (workload: SpiffeId) => stageText(this.#reader, workload),
      isReleased: (workload: SpiffeId) => this.#reader.releaseOf(workload) !== undefined,
    };
    const graph = graphOf(this.#reader.judged, query, facts, step * NEW_STEP_MS);
    const made = new Prepared(JSON.stringify(graph), undefined, name);
    this.#kept.delete(asked);
    this.#kept.set(asked, made);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MOST_KEPT && oldest !== undefined) this.#kept.delete(oldest);
    return made;
  }
}
