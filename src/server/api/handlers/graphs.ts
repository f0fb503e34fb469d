import type { SpiffeId } from '../../../access/index.ts';
import type { Checked } from '../../../api/index.ts';
import { type EstateReader, GraphHistory, graphOf, PairEdges, stageText } from '../../estate/index.ts';
import { Prepared } from '../handler.ts';
import type { ApiParts } from '../parts.ts';

/** How long what is new stands for the same, milliseconds. */
const NEW_STEP_MS = 60_000;
/** Graphs that are kept: of all by workload and by namespace, and of some namespaces. */
const MOST_KEPT = 6;
/** Answers of one graph that are kept while nothing in it changes: consoles mostly know the same version of it. */
const MOST_ANSWERS = 4;

/** One question's answers. */
interface Kept {
  readonly history: GraphHistory;
  /** What it was made of. */
  of: string;
  /** By the version that somebody knows, "" for nobody; of the version of now. */
  answers: Map<string, Prepared>;
  answersOf: string;
}

/** The graph as JSON: worked out anew where something in it has changed, and made once for everyone who asks the same. */
export class Graphs {
  readonly #parts: Pick<ApiParts, 'enforcing' | 'timers'>;
  readonly #reader: EstateReader;
  readonly #pairs = new PairEdges();
  readonly #kept = new Map<string, Kept>();

  constructor(parts: Pick<ApiParts, 'enforcing' | 'timers'>, reader: EstateReader) {
    this.#parts = parts;
    this.#reader = reader;
  }

  /** The graph at this moment, or what has changed in it since a version where that is known; the reader is ready. */
  of({ since = '', ...question }: Checked<'graph.get', 'query'>): Promise<Prepared> {
    // One after the other: what is being worked out is asked for nothing.
    return this.#reader.sliced(this.#answer(question, since), true);
  }

  *#answer(question: Omit<Checked<'graph.get', 'query'>, 'since'>, since: string): Generator<void, Prepared> {
    const asked = JSON.stringify(question);
    const kept = this.#kept.get(asked) ?? {
      history: new GraphHistory(),
      of: '',
      answers: new Map(),
      answersOf: '',
    };
    // Taken out meanwhile: what fails half-way is not gone on with. And the one that was asked for last goes last.
    this.#kept.delete(asked);
    yield* this.#update(kept, question);
    const { history } = kept;
    if (kept.answersOf !== history.version) {
      kept.answers = new Map();
      kept.answersOf = history.version;
    }
    const changes = since === '' || kept.answers.has(since) ? undefined : yield* history.since(since);
    const key = changes !== undefined || kept.answers.has(since) ? since : '';
    let answer = kept.answers.get(key);
    if (answer === undefined) {
      const json = changes ?? (yield* history.whole());
      answer = new Prepared(json, undefined, `graph ${history.version} ${key}`);
      kept.answers.set(key, answer);
      const [oldest] = kept.answers.keys();
      if (kept.answers.size > MOST_ANSWERS && oldest !== undefined) kept.answers.delete(oldest);
    }
    this.#kept.set(asked, kept);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MOST_KEPT && oldest !== undefined) this.#kept.delete(oldest);
    return answer;
  }

  *#update(kept: Kept, question: Omit<Checked<'graph.get', 'query'>, 'since'>): Generator<void, void> {
    const { enforcing, timers } = this.#parts;
    const released = enforcing.releases.inForce.map(({ id }) => id).join();
    // Upwards: what was seen a moment ago is not of the future.
    const step = Math.ceil(timers.now() / NEW_STEP_MS);
    const of = `${this.#reader.version} ${released} ${step}`;
    if (kept.of === of) return;
    const facts = {
      stageOf: (workload: SpiffeId) => stageText(this.#reader, workload),
      isReleased: (workload: SpiffeId) => this.#reader.releaseOf(workload) !== undefined,
    };
    const { judged } = this.#reader;
    yield* kept.history.take(yield* graphOf(judged, this.#pairs, question, facts, step * NEW_STEP_MS));
    kept.of = of;
  }
}
