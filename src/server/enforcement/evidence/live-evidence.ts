import { randomUUID } from 'node:crypto';
import {
  type Action,
  HOUR_MS,
  InterlockError,
  type Principal,
  type SpiffeId,
  type Tally,
} from '../../../access/index.ts';
import type { Report } from '../../../proto/proxy/index.ts';
import {
  flipKey,
  type KeptEvidence,
  type LiveNews,
  type LiveState,
  type LiveStore,
  type ReportMark,
} from '../../../store/index.ts';
import type { Timers } from '../../timers.ts';
import { AccessBook } from './access-book.ts';
import { Batches } from './batches.ts';
import { flipBook, plaintextBook, sumOfFlips, unreachedBook } from './books.ts';
import { CoverageBook } from './coverage-book.ts';
import { handshakeBook, handshakesOf } from './handshakes.ts';
import type {
  EvidenceIntake,
  PlaintextCaller,
  Reported,
  Reporter,
  Seen,
  SeenFlip,
  UnreachedCalls,
} from './intake.ts';
import { Rates } from './rates.ts';
import { markKey, Marks } from './marks.ts';
import { type BatchNews, newsOf, readNews, type Shown, shownOf } from './news.ts';
import { readReport } from './read-report.ts';
import { sizeOf } from './report-size.ts';
import { callsOf, type Lost, loseUnnamed, sumOf, talliesOf } from './tallies.ts';

/** Entries of reports in one transaction, and those that may wait for the store: some hundred bytes each. */
const MOST_AT_ONCE = 50_000;
const MOST_WAITING = 300_000;
/** What one identity may have waiting: nobody, whatever they report, takes the room of all. */
const MOST_OF_ONE = MOST_WAITING / 2;
/** How often what nobody asks for any more is forgotten, milliseconds. */
const PRUNE_MS = 3_600_000;

/** Where evidence is kept for good. */
export type EvidenceSink = Pick<LiveStore, 'addLive' | 'follow' | 'close'>;

export interface LiveEvidenceOptions {
  readonly sink: EvidenceSink;
  /** What the sink held at the start. */
  readonly kept?: LiveState;
  readonly known?: AccessBook;
  /** Whether a flip was judged by the target set of today; all are where absent. */
  readonly isCurrent?: (flip: SeenFlip) => boolean;
  /** Takes over what others have made of targets: a flip was reported there that was judged by another one than is known here. */
  readonly catchUp?: () => Promise<void>;
  readonly timers: Timers;
  readonly onFault: (error: unknown) => void;
}

/** One report on its way to the sink. */
interface Item {
  readonly reporter: Reporter;
  readonly reported: Reported;
  readonly mark?: ReportMark;
  /** Those that were judged by the target set of today. */
  flips: readonly SeenFlip[];
}

/** Evidence as it comes in: kept by the sink first, then in memory what rollouts ask for. */
export class LiveEvidence implements EvidenceIntake {
  readonly #options: LiveEvidenceOptions;
  #known: AccessBook;
  #flips;
  #plaintext;
  #unreached;
  #handshakes;
  readonly #rates = new Rates();
  readonly #batches: Batches<Item>;
  readonly #listeners = new Set<(flip: SeenFlip, reporter: Reporter) => void>();
  readonly #marks = new Marks();
  /** Reports that wait, by their mark, and all that wait or are on their way. */
  readonly #promised = new Map<string, Promise<void>>();
  readonly #items = new Set<Item>();
  /** The sizes of what waits, by who reported it. */
  readonly #waitingOf = new Map<SpiffeId, number>();
  /** For the next batch. */
  readonly #settled = new Map<SpiffeId, number | undefined>();
  readonly #forgotten = new Set<string>();
  /** What found no room, by who reported it. */
  readonly #lost = new Map<SpiffeId, { readonly kind: Reporter['kind']; readonly n: number }>();
  /** For the next batch: by workload, what found no room, and the hours in which somebody watched. */
  #coverage = new CoverageBook();
  /** By workload and kind of points, the last hour that was noted as watched. */
  readonly #watchedIn = new Map<string, number>();
  readonly #keptListeners = new Set<(tallies: readonly Tally[], seq?: number) => void>();
  readonly #missedListeners = new Set<() => void>();
  /** Own batches that are shown, until they are heard of. */
  readonly #shownHere = new Set<string>();
  /** The write that is under way, and what has to end before the next one. */
  #writing: Promise<unknown> = Promise.resolve();
  #quiet: Promise<unknown> = Promise.resolve();
  #cancelPrune = () => {};

  constructor(options: LiveEvidenceOptions) {
    this.#options = options;
    const { kept, known = new AccessBook(), timers, onFault } = options;
    this.#known = known;
    const isCurrent = (flip: SeenFlip) => this.#isCurrent(flip);
    this.#flips = flipBook(kept?.flips.filter(isCurrent));
    this.#plaintext = plaintextBook(kept?.plaintext);
    this.#unreached = unreachedBook(kept?.unreached);
    this.#handshakes = handshakeBook(kept?.handshakes);
    for (const mark of kept?.marks ?? []) this.#marks.keep(mark);
    this.#batches = new Batches({
      timers,
      onFault,
      write: (items) => {
        const done = this.#quiet.then(() => this.#write(items));
        this.#writing = done.catch(() => {});
        return done;
      },
      onPoison: ({ reporter, reported, mark }) => {
        this.#lose(reporter, reported);
        if (mark !== undefined) this.#marks.keep(mark);
      },
      mostAtOnce: MOST_AT_ONCE,
      most: MOST_WAITING,
    });
    // Judged by a target that was replaced just before the end of the program that kept them.
    const stale = kept?.flips.filter((flip) => !isCurrent(flip)) ?? [];
    this.#forget(stale.map(flipKey));
    if (stale.length > 0) this.#batches.poke();
    this.#prune();
    options.sink.follow?.({
      batch: (seq, news) => this.betweenWrites(() => this.#take(seq, news)),
      missed: (_seq, state) => this.betweenWrites(() => this.#readAnew(state)),
      fault: onFault,
    });
  }

  get fault(): InterlockError | undefined {
    if (!this.#batches.isFaulty) return undefined;
    return new InterlockError('unavailable', 'evidence', 'the store does not take evidence: it waits');
  }

  get waiting(): number {
    return this.#batches.waiting;
  }

  take(reporter: Reporter, report: Report): Promise<void> {
    const reported = readReport(report, this.#options.timers.now(), reporter.identity);
    const mark = { reporter: reporter.key, epoch: '', sequence: 0, ...reported.mark };
    if (this.#marks.isKept(mark)) return Promise.resolve();
    const key = markKey(mark);
    // Over a new stream while it still waits: it is one report.
    const waiting = this.#promised.get(key);
    if (waiting !== undefined) return waiting;
    if (!this.#hasRoom(reporter, sizeOf(reported)))
      throw new InterlockError(
        'unavailable',
        reporter.identity,
        `too many reports of ${reporter.identity} wait for the store: send it again later`,
      );
    const promise = this.#queue({ reporter, reported, mark, flips: this.#current(reported.flips) });
    this.#promised.set(key, promise);
    const leave = () => void this.#promised.delete(key);
    promise.then(leave, leave);
    return promise;
  }

  add(reporter: Reporter, reported: Reported): void {
    if (sizeOf(reported) === 1 && reported.lost === 0 && reported.skips.size === 0) return;
    const size = sizeOf(reported);
    if (!this.#hasRoom(reporter, size) || !this.#batches.hasRoom(size)) return this.#lose(reporter, reported);
    const item = { reporter, reported, flips: this.#current(reported.flips) };
    this.#queue(item).catch(() => this.#lose(reporter, reported));
  }

  seen(key: string, workload: SpiffeId, since: number): Seen {
    return this.#rates.since(`${key} ${workload}`, since);
  }

  flips({ to, since = 0 }: { readonly to?: SpiffeId; readonly since?: number }): readonly SeenFlip[] {
    const found = new Map<string, SeenFlip>();
    for (const flip of this.#flips.all) {
      if (flip.lastSeen < since || (to !== undefined && flip.to !== to) || !this.#isCurrent(flip)) continue;
      // All are of today's target: one flip, whether its point said so or not.
      const { targetVersion: _, ...shown } = flip;
      const key = flipKey(shown);
      const known = found.get(key);
      found.set(key, known === undefined ? shown : sumOfFlips(known, shown));
    }
    return [...found.values()].sort((a, b) => b.lastSeen - a.lastSeen);
  }

  isKnownGood(from: Principal, to: SpiffeId, action: Action): boolean {
    return this.#known.has(from, to, action);
  }

  plaintextCallers(to: SpiffeId, since: number): readonly PlaintextCaller[] {
    return [...this.#plaintext.all].filter((caller) => caller.to === to && caller.lastSeen >= since);
  }

  unreached({
    from,
    since = 0,
  }: {
    readonly from?: SpiffeId;
    readonly since?: number;
  }): readonly UnreachedCalls[] {
    return [...this.#unreached.all]
      .filter((calls) => calls.lastSeen >= since && (from === undefined || calls.from === from))
      .sort((a, b) => b.lastSeen - a.lastSeen);
  }

  get handshakes() {
    return this.#handshakes.all;
  }

  onFlip(listener: (flip: SeenFlip, reporter: Reporter) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  onKept(listener: (tallies: readonly Tally[], seq?: number) => void): () => void {
    this.#keptListeners.add(listener);
    return () => this.#keptListeners.delete(listener);
  }

  onMissed(listener: () => void): () => void {
    this.#missedListeners.add(listener);
    return () => this.#missedListeners.delete(listener);
  }

  betweenWrites<T>(work: () => Promise<T>): Promise<T> {
    const done = Promise.all([this.#writing, this.#quiet]).then(work);
    this.#quiet = done.catch(() => {});
    return done;
  }

  settle(
    to: SpiffeId,
    { isOwn, target }: { readonly isOwn: boolean; readonly target?: number | undefined } = { isOwn: true },
  ): void {
    // Of the new target others may have told already.
    const isOld = (flip: SeenFlip) => isOwn || !this.#isCurrent(flip);
    this.#flips.settle(to, isOld);
    for (const item of this.#items) item.flips = item.flips.filter((flip) => flip.to !== to || !isOld(flip));
    if (!isOwn) return;
    this.#settled.set(to, target);
    this.#batches.poke();
  }

  watched(reporters: Iterable<Pick<Reporter, 'kind' | 'workloads'>>): void {
    const now = this.#options.timers.now();
    const hour = Math.floor(now / HOUR_MS);
    for (const { kind, workloads } of reporters) {
      for (const workload of workloads) {
        const key = `${kind} ${workload}`;
        if (this.#watchedIn.get(key) === hour) continue;
        this.#watchedIn.set(key, hour);
        this.#coverage.add(workload, kind, { at: now });
      }
    }
    if (!this.#coverage.isEmpty) this.#batches.poke();
  }

  async close(): Promise<void> {
    this.#cancelPrune();
    await this.#batches.close();
    await this.#options.sink.close();
  }

  #hasRoom({ identity }: Reporter, size: number): boolean {
    const own = this.#waitingOf.get(identity) ?? 0;
    return own === 0 || own + size <= MOST_OF_ONE;
  }

  #queue(item: Item): Promise<void> {
    const { identity } = item.reporter;
    const size = sizeOf(item.reported);
    const promise = this.#batches.add(item, size);
    this.#items.add(item);
    this.#waitingOf.set(identity, size + (this.#waitingOf.get(identity) ?? 0));
    const leave = () => {
      this.#items.delete(item);
      const left = (this.#waitingOf.get(identity) ?? size) - size;
      if (left > 0) this.#waitingOf.set(identity, left);
      else this.#waitingOf.delete(identity);
    };
    promise.then(leave, leave);
    return promise;
  }

  /** Keeps items and then shows them; those that a former attempt kept after all are shown alone. */
  async #write(items: readonly Item[]): Promise<void> {
    let left = items;
    while (left.length > 0 || this.#hasMore) {
      const settled = new Map(this.#settled);
      const targets = new Map(
        [...settled].flatMap(([to, target]) => (target === undefined ? [] : [[to, target]])),
      );
      const forgotten = [...this.#forgotten];
      const lost = [...this.#lost];
      const coverage = new CoverageBook();
      const tallies = talliesOf(left, lost, coverage, this.#known);
      const pending = this.#coverage;
      coverage.addAll(pending);
      const flips = this.#flips.gathered(this.#current(left.flatMap((item) => item.flips)));
      const plaintext = this.#plaintext.gathered(left.flatMap(({ reported }) => reported.plaintext));
      const unreached = this.#unreached.gathered(left.flatMap(({ reported }) => reported.unreached ?? []));
      const handshakes = this.#handshakes.gathered(
        left.flatMap(({ reported }) => handshakesOf(reported.accesses)),
      );
      const marks = left.flatMap(({ mark }) => mark ?? []);
      const at = this.#options.timers.now();
      // Taken away first: what is settled from here on is for the next batch.
      this.#settled.clear();
      this.#coverage = new CoverageBook();
      const shown = left.map(({ reporter, reported, mark, flips: own }) =>
        shownOf(reporter, reported, own, mark),
      );
      const sightings = { flips, plaintext, unreached, handshakes };
      const news = this.#isShared
        ? { id: randomUUID(), data: newsOf({ ...sightings, shown, tallies }) }
        : undefined;
      let known: readonly ReportMark[];
      try {
        known = await this.#options.sink.addLive(
          {
            at,
            marks,
            ...sightings,
            coverage: coverage.all,
            settled: [...settled.keys()],
            targets,
            forgotten,
            ...(news === undefined ? {} : { news }),
          },
          tallies,
        );
      } catch (error) {
        for (const [workload, target] of settled) this.#settled.set(workload, target);
        this.#coverage.addAll(pending);
        throw error;
      }
      if (known.length > 0) {
        for (const [workload, target] of settled) this.#settled.set(workload, target);
        this.#coverage.addAll(pending);
        const keys = new Set(known.map(markKey));
        const isKept = ({ mark }: Item) => mark !== undefined && keys.has(markKey(mark));
        const before = left.filter(isKept);
        // Where others keep evidence as well, what was kept before is heard of: from them, or as the own former attempt.
        if (!this.#isShared) {
          for (const { reporter, reported, mark, flips: own } of before)
            this.#show(shownOf(reporter, reported, own, mark));
          this.#tellKept(talliesOf(before, [], new CoverageBook(), this.#known));
        }
        left = left.filter((item) => !isKept(item));
        continue;
      }
      if (news !== undefined) this.#shownHere.add(news.id);
      for (const key of forgotten) this.#forgotten.delete(key);
      for (const each of lost) this.#takeLost(each);
      const isCurrent = (flip: SeenFlip) => !this.#settled.has(flip.to) && this.#isCurrent(flip);
      for (const flip of flips.filter(isCurrent)) this.#forget(this.#flips.add(flip));
      for (const caller of plaintext) this.#forget(this.#plaintext.add(caller));
      for (const calls of unreached) this.#forget(this.#unreached.add(calls));
      for (const seen of handshakes) this.#forget(this.#handshakes.add(seen));
      for (const each of shown) this.#show(each);
      this.#tellKept(tallies);
      left = [];
    }
  }

  /** Evidence is kept by several control planes: each hears of all batches. */
  get #isShared(): boolean {
    return this.#options.sink.follow !== undefined;
  }

  /** A batch that another control plane has kept, or a former attempt of this one whose answer was lost. Does not fail. */
  async #take(seq: number, { id, data }: LiveNews): Promise<void> {
    if (this.#shownHere.delete(id)) return;
    try {
      await this.#takeNews(seq, readNews(data));
    } catch (error) {
      this.#options.onFault(error);
      this.#tellMissed();
    }
  }

  async #takeNews(seq: number, news: BatchNews | undefined): Promise<void> {
    // A newer version has written it, and this one is about to be replaced: the store has it.
    if (news === undefined) return this.#tellMissed();
    const isOther = (flip: SeenFlip) => !this.#isCurrent(flip);
    // Without the database all stays as it is; the flips come again with the next report.
    if (news.flips.some(isOther)) await this.#options.catchUp?.().catch(() => {});
    // What has to make room for them is taken out of the store by who has added them.
    for (const flip of this.#current(news.flips)) this.#flips.add(flip);
    for (const caller of news.plaintext) this.#plaintext.add(caller);
    for (const calls of news.unreached) this.#unreached.add(calls);
    for (const seen of news.handshakes) this.#handshakes.add(seen);
    for (const shown of news.shown) this.#show(shown);
    this.#tellKept(news.tallies, seq);
  }

  /** Batches of others are not known any more: what is kept by now takes the place of what is in memory. */
  async #readAnew({ kept, seen }: KeptEvidence): Promise<void> {
    this.#shownHere.clear();
    this.#known = new AccessBook(seen);
    this.#flips = flipBook(this.#current(kept.flips));
    this.#plaintext = plaintextBook(kept.plaintext);
    this.#unreached = unreachedBook(kept.unreached);
    this.#handshakes = handshakeBook(kept.handshakes);
    for (const mark of kept.marks) this.#marks.keep(mark);
    this.#tellMissed();
  }

  #tellMissed(): void {
    for (const listener of this.#missedListeners) listener();
  }

  #show({ reporter, mark, calls, lost, flips }: Shown): void {
    if (mark !== undefined) this.#marks.keep(mark);
    for (const { from, to, action, isGood, requests, firstSeen } of calls) {
      const kept = this.#known.kept(from, to, action);
      if (kept !== undefined) this.#known.note(kept.from, to, kept.action, isGood);
      this.#rates.add(`${reporter.key} ${to}`, firstSeen, { requests, lost: 0 });
    }
    if (lost > 0) {
      const seen = { requests: 0, lost };
      for (const to of reporter.workloads)
        this.#rates.add(`${reporter.key} ${to}`, this.#options.timers.now(), seen);
    }
    for (const flip of this.#current(flips))
      for (const listener of this.#listeners) this.#tell(listener, flip, reporter);
  }

  /** A listener that fails must not keep reports from being taken. */
  #tell(listener: (flip: SeenFlip, reporter: Reporter) => void, flip: SeenFlip, reporter: Reporter): void {
    try {
      listener(flip, reporter);
    } catch (error) {
      this.#options.onFault(error);
    }
  }

  #tellKept(tallies: readonly Tally[], seq?: number): void {
    for (const listener of this.#keptListeners) {
      try {
        listener(tallies, seq);
      } catch (error) {
        this.#options.onFault(error);
      }
    }
  }

  #isCurrent(flip: SeenFlip): boolean {
    return this.#options.isCurrent?.(flip) ?? true;
  }

  #current(flips: readonly SeenFlip[]): readonly SeenFlip[] {
    return flips.filter((flip) => this.#isCurrent(flip));
  }

  /** Something is to be kept that is in no report. */
  get #hasMore(): boolean {
    return this.#settled.size + this.#forgotten.size + this.#lost.size > 0 || !this.#coverage.isEmpty;
  }

  #forget(keys: readonly string[]): void {
    for (const key of keys) this.#forgotten.add(key);
  }

  #lose(reporter: Reporter, { accesses, lost }: Reported): void {
    const { kind, identity } = reporter;
    for (const { to, outcomes } of accesses) this.#coverage.add(to, kind, { lost: sumOf(outcomes) });
    loseUnnamed(this.#coverage, reporter, lost);
    const n = callsOf(accesses) + lost;
    if (n > 0) this.#lost.set(identity, { kind, n: n + (this.#lost.get(identity)?.n ?? 0) });
  }

  #takeLost([identity, { kind, n }]: Lost): void {
    const left = (this.#lost.get(identity)?.n ?? 0) - n;
    if (left > 0) this.#lost.set(identity, { kind, n: left });
    else this.#lost.delete(identity);
  }

  #prune(): void {
    this.#cancelPrune = this.#options.timers.after(PRUNE_MS, () => {
      const now = this.#options.timers.now();
      this.#rates.prune(now);
      for (const [key, hour] of this.#watchedIn)
        if (hour < Math.floor(now / HOUR_MS)) this.#watchedIn.delete(key);
      this.#prune();
    });
  }
}
