import { randomBytes } from 'node:crypto';
import { type AccessGraph, InterlockError, type SpiffeId } from '../../access/index.ts';
import { releaseAt, newRollout, rolloutAt, type WorkloadRollout } from '../../rollout/index.ts';
import type { Enforcing } from '../enforcement/enforcing.ts';
import type { Timers } from '../timers.ts';
import type { Estate, EstateState } from './estate.ts';
import { countDoubts } from './doubts.ts';
import { judge, type Judged, type JudgedAccess } from './judged.ts';
import { AccessTexts } from './shown.ts';
import { joined } from './joined.ts';
import { Slices } from './slices.ts';

/** How old the number of doubts in lists may be, milliseconds. Proposals are always of now. */
const DOUBTS_MS = 30_000;

/** Accesses of which the JSON takes a while. */
const MOST_OF_A_PAGE = 1000;

const NONE: readonly JudgedAccess[] = [];

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
  /** For what is long: one after the other as well, and pages meanwhile. */
  readonly #long: Slices;
  readonly #texts = new AccessTexts();
  #isCounting = false;
  #byCaller:
    | { readonly of: Judged; readonly value: ReadonlyMap<string, readonly JudgedAccess[]> }
    | undefined;
  #doubts:
    | { readonly at: number; readonly version: number; readonly value: ReadonlyMap<SpiffeId, number> }
    | undefined;

  constructor({ estate, enforcing, timers, onDoubts, onFault }: EstateReaderOptions) {
    this.#estate = estate;
    this.#enforcing = enforcing;
    this.#timers = timers;
    // Two control planes may start in one millisecond, and a reader that moves from one to the other must not take what it has
    // for what there is.
    this.#run = timers.now().toString(36) + randomBytes(3).toString('hex');
    this.#slices = new Slices(timers);
    this.#long = new Slices(timers);
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
    const judged = await this.sliced(
      (function* () {
        const made = yield* judge(current, rollouts, before);
        yield* texts.keep(made.byCallee, before?.byCallee);
        return made;
      })(),
    );
    this.#judged = judged;
    this.#judgedRevision = revision;
    this.#version++;
  }

  /**
   * Takes steps of what is asked for to their end without holding anybody else up: one after the other, and of what is long
   * one after the other apart from that. Throws `unavailable` at the end.
   */
  async sliced<T>(steps: Generator<void, T>, isLong = false): Promise<T> {
    const made = await (isLong ? this.#long : this.#slices).run(steps, () => !this.#estate.isClosed);
    if (made !== undefined) return made.value;
    throw new InterlockError('unavailable', 'estate', 'the control plane is about to end');
  }

  /** Names what {@link judged} gives, in this run of the control plane. */
  get version(): string {
    return `${this.#run}-${this.#version}`;
  }

  /** Accesses as JSON, one after the other with commas between, in the bytes of UTF-8: of ten thousand it is 11 MB. */
  jsonOf(accesses: readonly JudgedAccess[]): Promise<Uint8Array<ArrayBuffer>> {
    const texts = this.#texts;
    return this.sliced(
      joined(accesses, (access) => texts.of(access)),
      accesses.length > MOST_OF_A_PAGE,
    );
  }

  get graph(): AccessGraph {
    return this.judged.estate.graph;
  }

  get judged(): Judged {
    if (this.#judged === undefined) throw new TypeError('the reader is asked before it is ready');
    return this.#judged;
  }

  /** The accesses to a principal. */
  to(principal: string): readonly JudgedAccess[] {
    return this.judged.byCallee.get(principal)?.accesses ?? NONE;
  }

  /** The accesses of a principal to others. */
  from(principal: string): readonly JudgedAccess[] {
    const { judged } = this;
    if (this.#byCaller?.of !== judged)
      this.#byCaller = { of: judged, value: Map.groupBy(judged.accesses, ({ from }) => from) };
    return this.#byCaller.value.get(principal) ?? NONE;
  }

  /** Accesses of each workload that a proposal would leave to a person, as they were counted last; counted again when asked for. */
  get doubts(): ReadonlyMap<SpiffeId, number> | undefined {
    this.#countDoubts();
    return this.#doubts?.value;
  }

  #countDoubts(): void {
    const { current } = this.#estate;
    const { version } = current;
    const now = this.#timers.now();
    const { version: counted, at } = this.#doubts ?? { version: 0, at: Number.NEGATIVE_INFINITY };
    if (this.#isCounting || counted === version || now - at < DOUBTS_MS) return;
    this.#isCounting = true;
    void this.#count(current)
      .catch(this.#onFault)
      .finally(() => (this.#isCounting = false));
  }

  async #count(state: EstateState): Promise<void> {
    const value = await countDoubts(state, () => !this.#estate.isClosed);
    if (value === undefined) return;
    this.#doubts = { at: this.#timers.now(), version: state.version, value };
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
