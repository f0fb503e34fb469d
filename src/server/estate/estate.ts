import {
  type Access,
  type AccessGraph,
  drained,
  GrowingGraph,
  graphSteps,
  InterlockError,
} from '../../access/index.ts';
import { recordedAt, type Store } from '../../store/index.ts';
import type { EvidenceIntake } from '../enforcement/evidence/intake.ts';
import type { Timers } from '../timers.ts';
import { RecordedBook } from './book.ts';
import { Slices } from './slices.ts';

/** Soonest that the graph is made anew after the last time; and in times of what making it took. Milliseconds. */
const LEAST_MS = 500;
const REST_FACTOR = 4;
/** How often it is asked whether another process has taken a recording in, milliseconds; longer where asking takes long. */
const LOOK_MS = 2000;

/** The estate at one moment. It is never changed: the next one is another object with a higher version. */
export interface EstateState {
  readonly version: number;
  readonly at: number;
  readonly graph: AccessGraph;
  /** The accesses of each callee, by its text and in order; what has not changed is the same object as before. */
  readonly byCallee: ReadonlyMap<string, readonly Access[]>;
}

export interface EstateOptions {
  readonly store: Store;
  readonly trustDomain: string;
  readonly evidence: Pick<EvidenceIntake, 'onKept' | 'onMissed' | 'betweenWrites'>;
  readonly timers: Timers;
  readonly onFault: (error: unknown) => void;
}

/**
 * The estate in memory: read from the store at the start, kept current from what proxies report, and read again when
 * another process took a recording in. This is its single writer; readers get complete states.
 */
export class Estate {
  readonly #options: EstateOptions;
  readonly #listeners = new Set<() => void>();
  readonly #slices: Slices;
  #book: RecordedBook;
  /** Made of the book as it was when the state was made; undefined where it is to be made anew. */
  #growing: GrowingGraph | undefined;
  #state: EstateState;
  /** Files that were taken in when it was read: their number only grows. */
  #files: number;
  /** The last batch of live evidence that was in it, where other control planes keep some as well. */
  #seq: number | undefined;
  #hasMissed = false;
  /** When the newest graph was begun, and how long making it and those before it held the event loop in all, milliseconds. */
  #begunAt: number;
  #took: readonly number[];
  #kept = 0;
  #coverageMs = 0;
  #isDue = false;
  #isClosed = false;
  #saidFull = false;
  #isFaulty = false;
  #cancelBuild = () => {};
  #cancelLook = () => {};
  readonly #unsubscribe: () => void;

  private constructor(
    options: EstateOptions,
    { recorded, files, seq }: Awaited<ReturnType<typeof recordedAt>>,
  ) {
    const book = new RecordedBook(recorded);
    this.#options = options;
    this.#slices = new Slices(options.timers);
    this.#book = book;
    this.#files = files;
    this.#seq = seq;
    this.#begunAt = options.timers.now();
    const growing = (this.#growing = drained(GrowingGraph.of(book.recorded())));
    this.#state = stateOf(1, this.#begunAt, growing, book);
    this.#took = [options.timers.now() - this.#begunAt];
    const stopKept = options.evidence.onKept((tallies, batch) => {
      if (batch !== undefined && batch <= (this.#seq ?? 0)) return;
      this.#book.add(tallies);
      this.#kept++;
      this.#due();
    });
    const stopMissed = options.evidence.onMissed?.(() => {
      this.#hasMissed = true;
      this.#kept++;
      this.#readAgain().catch(options.onFault);
    });
    this.#unsubscribe = () => {
      stopKept();
      stopMissed?.();
    };
    this.#look();
  }

  /** Reads the estate of an open store, which it closes in the end. Throws `state`, `io`. */
  static async open(options: EstateOptions): Promise<Estate> {
    const { store, trustDomain, evidence } = options;
    return evidence.betweenWrites(async () => new Estate(options, await recordedAt(store, trustDomain)));
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Grows whenever evidence was kept. */
  get kept(): number {
    return this.#kept;
  }

  /** How long making {@link withCoverage} held the event loop the last time, milliseconds. */
  get coverageMs(): number {
    return this.#coverageMs;
  }

  get current(): EstateState {
    return this.#state;
  }

  /**
   * The graph of everything that is recorded by now, with what its recordings cover: what readiness is judged by. Throws
   * `state`, `io`, and `unavailable` once it is closed.
   */
  async withCoverage(): Promise<AccessGraph> {
    const { store } = this.#options;
    await this.#readAgain();
    const book = this.#book;
    const coverage = await store.coverage();
    const steps = function* (): Generator<void, AccessGraph> {
      yield* book.settle();
      return yield* graphSteps({ ...book.recorded(), coverage });
    };
    const made = await this.#slices.run(steps(), () => !this.#isClosed);
    if (made === undefined)
      throw new InterlockError('unavailable', 'estate', 'the control plane is about to end');
    this.#coverageMs = made.ms;
    return made.value;
  }

  /** Calls `listener` after each new state, until the function it gives back is called. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#unsubscribe();
    this.#cancelBuild();
    this.#cancelLook();
    await this.#options.store.close();
  }

  /** What making it takes, milliseconds: of three the one in the middle, so that one that was held up holds none up. */
  get #tookMs(): number {
    return this.#took.toSorted((a, b) => a - b)[(this.#took.length - 1) >> 1] ?? 0;
  }

  /** The graph is made anew as soon as it may: at once after a quiet time. */
  #due(): void {
    if (this.#isDue || this.#isClosed) return;
    this.#isDue = true;
    const { timers } = this.#options;
    const rest = Math.max(LEAST_MS, this.#tookMs * REST_FACTOR);
    this.#cancelBuild = timers.after(Math.max(0, this.#begunAt + rest - timers.now()), () => {
      this.#build().catch(this.#options.onFault);
    });
  }

  async #build(): Promise<void> {
    const { timers } = this.#options;
    const at = timers.now();
    this.#begunAt = at;
    const book = this.#book;
    // What is kept from here on makes another one due, though it may be in this one already.
    this.#isDue = false;
    const steps = () => this.#grown(book, at);
    const made = await this.#slices.run(steps(), () => !this.#isClosed && book === this.#book);
    if (book.leftOut > 0) this.#sayFull();
    if (made !== undefined) {
      this.#state = made.value;
      this.#took = [...this.#took.slice(-2), made.ms];
      this.#tell();
    }
  }

  /** The next state: of what is new alone where that can be, else made anew. */
  *#grown(book: RecordedBook, at: number): Generator<void, EstateState> {
    yield* book.settle();
    const grown = book.takeGrown();
    // Whatever fails half-way is not gone on with.
    let growing = this.#growing;
    this.#growing = undefined;
    if (growing === undefined || !(yield* growing.grow(grown)))
      growing = yield* GrowingGraph.of(book.recorded());
    if (book === this.#book) this.#growing = growing;
    return stateOf(this.#state.version + 1, at, growing, book);
  }

  #tell(): void {
    for (const listener of this.#listeners) {
      try {
        listener();
      } catch (error) {
        this.#options.onFault(error);
      }
    }
  }

  #look(): void {
    const { timers, onFault } = this.#options;
    if (this.#isClosed) return;
    const wait = Math.max(LOOK_MS, this.#tookMs * REST_FACTOR);
    this.#cancelLook = timers.after(wait, () => {
      void this.#readAgain()
        .then(
          () => (this.#isFaulty = false),
          (error: unknown) => {
            // Said once until it works again.
            if (!this.#isFaulty) onFault(error);
            this.#isFaulty = true;
          },
        )
        .finally(() => this.#look());
    });
  }

  async #readAgain(): Promise<void> {
    const { store, trustDomain, evidence } = this.#options;
    const isNew = async () => this.#hasMissed || (await store.digests()).size !== this.#files;
    if (!(await isNew()) || this.#isClosed) return;
    await evidence.betweenWrites(async () => {
      // Somebody else has asked at the same time.
      if (!(await isNew())) return;
      const { recorded, files, seq } = await recordedAt(store, trustDomain);
      this.#book = new RecordedBook(recorded);
      this.#growing = undefined;
      this.#files = files;
      this.#seq = seq;
      this.#hasMissed = false;
    });
    this.#due();
  }

  #sayFull(): void {
    if (this.#saidFull) return;
    this.#saidFull = true;
    this.#options.onFault(
      new Error('the estate has more accesses than are held in memory: lists leave some out'),
    );
  }
}

function stateOf(version: number, at: number, growing: GrowingGraph, { totals }: RecordedBook): EstateState {
  return { version, at, graph: growing.graph(totals), byCallee: growing.byCallee };
}
