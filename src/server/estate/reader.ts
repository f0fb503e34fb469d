import { type AccessGraph, InterlockError, type SpiffeId } from '../../access/index.ts';
import { releaseAt, newRollout, rolloutAt, type WorkloadRollout } from '../../rollout/index.ts';
import type { Enforcing } from '../enforcement/enforcing.ts';
import type { Timers } from '../timers.ts';
import type { Estate } from './estate.ts';
import { countDoubts } from './doubts.ts';
import { judge, type Judged, type JudgedAccess } from './judged.ts';
import { AccessTexts } from './shown.ts';
import { Slices } from './slices.ts';

/** How old the number of doubts in lists may be, milliseconds. Proposals are always of now. */
const DOUBTS_MS = 30_000;

/** Accesses of one workload, as its callee and as their caller. */
export interface OfWorkload {
  readonly to: JudgedAccess[];
  readonly from: JudgedAccess[];
}

export interface EstateReaderOptions {
  readonly estate: Estate;
  readonly enforcing: Enforcing;
  readonly timers: Timers;
  /** Doubts were counted anew. */
  readonly onDoubts: () => void;
  readonly onFault: (error: unknown) => void;
}

/** What the API asks of the estate: each thing is worked out when it is first asked for, and kept while nothing changes. */
export class EstateReader {
  readonly #estate: Estate;
  readonly #enforcing: Enforcing;
  readonly #timers: Timers;
  readonly #onDoubts: () => void;
  readonly #onFault: (error: unknown) => void;
  #judged: Judged | undefined;
  /** Of the rollouts: now, and as they were judged by last. */
  #revision = 0;
  #judgedRevision = -1;
  #judging: Promise<void> | undefined;
  #version = 0;
  readonly #run: string;
  readonly #slices: Slices;
  readonly #texts = new AccessTexts();
  #isCounting = false;
  #byWorkload: { readonly of: Judged; readonly value: ReadonlyMap<string, OfWorkload> } | undefined;
  #doubts:
    | { readonly at: number; readonly version: number; readonly value: ReadonlyMap<SpiffeId, number> }
    | undefined;

  constructor({ estate, enforcing, timers, onDoubts, onFault }: EstateReaderOptions) {
    this.#estate = estate;
    this.#enforcing = enforcing;
    this.#timers = timers;
    this.#run = timers.now().toString(36);
    this.#slices = new Slices(timers);
    this.#onDoubts = onDoubts;
    this.#onFault = onFault;
    enforcing.onChange(({ what }) => {
      if (what === 'rollout') this.#revision++;
    });
  }

  /**
   * Judges what has changed, in slices; when it has come back, what the reader gives is at least as new as the call.
   * Call it before anything else is asked.
   */
  async ready(): Promise<void> {
    // One that is under way may have begun before the last change.
    for (let i = 0; i < 2 && !this.#isCurrent; i++) {
      this.#judging ??= this.#judge().finally(() => (this.#judging = undefined));
      await this.#judging;
    }
  }

  get #isCurrent(): boolean {
    return this.#judged?.estate === this.#estate.current && this.#judgedRevision === this.#revision;
  }

  async #judge(): Promise<void> {
    const revision = this.#revision;
    const { current } = this.#estate;
    const now = this.#timers.now();
    // Rules that are over are as if they were not there; the next end is told as a change.
    const rollouts = new Map(
      [...this.#enforcing.rollouts.all].map(([id, each]) => [id, rolloutAt(each, now)]),
    );
    const [texts, before] = [this.#texts, this.#judged];
    const judged = await this.#sliced(
      (function* () {
        const made = yield* judge(current, rollouts, before);
        yield* texts.keep(made.accesses);
        return made;
      })(),
    );
    this.#judged = judged;
    this.#judgedRevision = revision;
    this.#version++;
  }

  async #sliced<T>(steps: Generator<void, T>): Promise<T> {
    const made = await this.#slices.run(steps, () => !this.#estate.isClosed);
    if (made !== undefined) return made.value;
    throw new InterlockError('unavailable', 'estate', 'the control plane is about to end');
  }

  /** Names what {@link judged} gives, in this run of the control plane. */
  get version(): string {
    return `${this.#run}-${this.#version}`;
  }

  /** Accesses as JSON, one after the other with commas between. */
  jsonOf(accesses: readonly JudgedAccess[]): Promise<string> {
    const texts = this.#texts;
    return this.#sliced(
      (function* () {
        const own: string[] = [];
        for (const access of accesses) {
          own.push(texts.of(access));
          yield;
        }
        return own.join(',');
      })(),
    );
  }

  get graph(): AccessGraph {
    return this.judged.estate.graph;
  }

  get judged(): Judged {
    if (this.#judged === undefined) throw new TypeError('the reader is asked before it is ready');
    return this.#judged;
  }

  /** The accesses of each principal. */
  get byWorkload(): ReadonlyMap<string, OfWorkload> {
    const { judged } = this;
    if (this.#byWorkload?.of === judged) return this.#byWorkload.value;
    const value = new Map<string, OfWorkload>();
    const of = (text: string) => {
      let own = value.get(text);
      if (own === undefined) value.set(text, (own = { to: [], from: [] }));
      return own;
    };
    for (const access of judged.accesses) {
      of(access.to).to.push(access);
      of(access.from).from.push(access);
    }
    this.#byWorkload = { of: judged, value };
    return value;
  }

  /** Accesses of each workload that a proposal would leave to a person, as they were counted last; counted again when asked for. */
  get doubts(): ReadonlyMap<SpiffeId, number> | undefined {
    this.#countDoubts();
    return this.#doubts?.value;
  }

  #countDoubts(): void {
    const { version, graph } = this.#estate.current;
    const now = this.#timers.now();
    const { version: counted, at } = this.#doubts ?? { version: 0, at: Number.NEGATIVE_INFINITY };
    if (this.#isCounting || counted === version || now - at < DOUBTS_MS) return;
    this.#isCounting = true;
    void this.#count(graph, version)
      .catch(this.#onFault)
      .finally(() => (this.#isCounting = false));
  }

  async #count(graph: AccessGraph, version: number): Promise<void> {
    const value = await countDoubts(graph, () => !this.#estate.isClosed);
    if (value === undefined) return;
    this.#doubts = { at: this.#timers.now(), version, value };
    this.#onDoubts();
  }

  rolloutOf(workload: SpiffeId): WorkloadRollout | undefined {
    return this.#enforcing.rollouts.all.get(workload);
  }

  /** The release that concerns every proxy of a workload. */
  releaseOf(workload: SpiffeId): string | undefined {
    const now = this.#timers.now();
    const rollout = this.rolloutOf(workload) ?? newRollout(workload, [], { by: '', now });
    return releaseAt(this.#enforcing.releases.inForce, rollout, { workload, instance: '' }, now)?.id;
  }

  /** Throws `not_found` for a workload that neither the estate, nor a policy, nor a proxy names. */
  checkKnown(workload: SpiffeId): void {
    if (this.graph.workloads.has(workload) || this.rolloutOf(workload) !== undefined) return;
    if (this.#enforcing.points.of(workload).length > 0) return;
    throw new InterlockError(
      'not_found',
      workload,
      `no recording, manifest, policy or proxy names the workload ${workload}`,
    );
  }
}
