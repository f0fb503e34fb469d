import { type Action, type Outcome, type Principal, type SpiffeId, Tally } from '../../../access/index.ts';
import type { Report } from '../../../proto/proxy/index.ts';
import type { LiveState, LiveStore, ReportMark } from '../../../store/index.ts';
import type { Timers } from '../../timers.ts';
import { AccessBook } from './access-book.ts';
import { Batches } from './batches.ts';
import { flipBook, plaintextBook } from './books.ts';
import type { EvidenceIntake, PlaintextCaller, Reported, Reporter, Seen, SeenFlip } from './intake.ts';
import { Rates } from './rates.ts';
import { readReport } from './read-report.ts';

/** Entries of reports in one transaction, and those that may wait for the store: some hundred bytes each. */
const MOST_AT_ONCE = 50_000;
const MOST_WAITING = 300_000;
/** Epochs of one reporter that are remembered, as many as the store does. */
const MAX_EPOCHS = 32;
/** How often what nobody asks for any more is forgotten, milliseconds. */
const PRUNE_MS = 3_600_000;

/** Where evidence is kept for good. */
export type EvidenceSink = Pick<LiveStore, 'addLive' | 'close'>;

export interface LiveEvidenceOptions {
  readonly sink: EvidenceSink;
  /** What the sink held at the start. */
  readonly kept?: LiveState;
  readonly known?: AccessBook;
  readonly timers: Timers;
  readonly onFault: (error: unknown) => void;
}

type Lost = readonly [SpiffeId, { readonly kind: Reporter['kind']; readonly n: number }];

/** One report on its way to the sink. */
interface Item {
  readonly reporter: Reporter;
  readonly reported: Reported;
  readonly mark?: ReportMark;
  /** Without those that were settled meanwhile. */
  flips: readonly SeenFlip[];
}

/** Evidence as it comes in: kept by the sink first, then in memory what rollouts ask for. */
export class LiveEvidence implements EvidenceIntake {
  readonly #options: LiveEvidenceOptions;
  readonly #known: AccessBook;
  readonly #flips;
  readonly #plaintext;
  readonly #rates = new Rates();
  readonly #batches: Batches<Item>;
  readonly #listeners = new Set<(flip: SeenFlip, reporter: Reporter) => void>();
  /** Reporter -> epoch -> the number up to which everything is kept. */
  readonly #marks = new Map<string, Map<string, number>>();
  /** Reports that wait, by their mark, and all that wait or are on their way. */
  readonly #promised = new Map<string, Promise<void>>();
  readonly #items = new Set<Item>();
  /** For the next batch. */
  readonly #settled = new Set<SpiffeId>();
  /** When flips were last settled: what was seen before says nothing, however late it is reported. */
  readonly #settledAt = new Map<SpiffeId, number>();
  readonly #forgotten = new Set<string>();
  /** What found no room, by who reported it. */
  readonly #lost = new Map<SpiffeId, { readonly kind: Reporter['kind']; readonly n: number }>();
  #cancelPrune = () => {};

  constructor(options: LiveEvidenceOptions) {
    this.#options = options;
    const { kept, known = new AccessBook(), timers, onFault } = options;
    this.#known = known;
    this.#flips = flipBook(kept?.flips);
    this.#plaintext = plaintextBook(kept?.plaintext);
    for (const mark of kept?.marks ?? []) this.#keep(mark);
    this.#batches = new Batches({
      timers,
      onFault,
      write: (items) => this.#write(items),
      onPoison: ({ reporter, reported, mark }) => {
        this.#lose(reporter, callsOf(reported));
        if (mark !== undefined) this.#keep(mark);
      },
      mostAtOnce: MOST_AT_ONCE,
      most: MOST_WAITING,
    });
    this.#prune();
  }

  take(reporter: Reporter, report: Report): Promise<void> {
    const reported = readReport(report, this.#options.timers.now());
    const mark = { reporter: reporter.key, epoch: '', sequence: 0, ...reported.mark };
    if (this.#keptUpTo(mark) >= mark.sequence) return Promise.resolve();
    const key = markKey(mark);
    // Over a new stream while it still waits: it is one report.
    const waiting = this.#promised.get(key);
    if (waiting !== undefined) return waiting;
    const promise = this.#queue({ reporter, reported, mark, flips: this.#unsettled(reported.flips) });
    this.#promised.set(key, promise);
    const leave = () => void this.#promised.delete(key);
    promise.then(leave, leave);
    return promise;
  }

  add(reporter: Reporter, reported: Reported): void {
    if (sizeOf(reported) === 1 && reported.lost === 0 && reported.skips.size === 0) return;
    if (!this.#batches.hasRoom(sizeOf(reported))) return this.#lose(reporter, callsOf(reported));
    const item = { reporter, reported, flips: this.#unsettled(reported.flips) };
    this.#queue(item).catch(() => this.#lose(reporter, callsOf(reported)));
  }

  seen(key: string, workload: SpiffeId, since: number): Seen {
    return this.#rates.since(`${key} ${workload}`, since);
  }

  flips({ to, since = 0 }: { readonly to?: SpiffeId; readonly since?: number }): readonly SeenFlip[] {
    return [...this.#flips.all]
      .filter((flip) => flip.lastSeen >= since && (to === undefined || flip.to === to))
      .sort((a, b) => b.lastSeen - a.lastSeen);
  }

  isKnownGood(from: Principal, to: SpiffeId, action: Action): boolean {
    return this.#known.has(from, to, action);
  }

  plaintextCallers(to: SpiffeId, since: number): readonly PlaintextCaller[] {
    return [...this.#plaintext.all].filter((caller) => caller.to === to && caller.lastSeen >= since);
  }

  onFlip(listener: (flip: SeenFlip, reporter: Reporter) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  settle(to: SpiffeId): void {
    this.#settledAt.set(to, this.#options.timers.now());
    this.#flips.settle(to);
    for (const item of this.#items) item.flips = item.flips.filter((flip) => flip.to !== to);
    this.#settled.add(to);
    this.#batches.poke();
  }

  async close(): Promise<void> {
    this.#cancelPrune();
    await this.#batches.close();
    await this.#options.sink.close();
  }

  #queue(item: Item): Promise<void> {
    const promise = this.#batches.add(item, sizeOf(item.reported));
    this.#items.add(item);
    const leave = () => void this.#items.delete(item);
    promise.then(leave, leave);
    return promise;
  }

  /** Keeps items and then shows them; those that a former attempt kept after all are shown alone. */
  async #write(items: readonly Item[]): Promise<void> {
    let left = items;
    while (left.length > 0 || this.#settled.size + this.#forgotten.size + this.#lost.size > 0) {
      const settled = [...this.#settled];
      const forgotten = [...this.#forgotten];
      const lost = [...this.#lost];
      const tallies = this.#talliesOf(left, lost);
      const flips = this.#flips.gathered(left.flatMap((item) => item.flips));
      const plaintext = this.#plaintext.gathered(left.flatMap(({ reported }) => reported.plaintext));
      const marks = left.flatMap(({ mark }) => mark ?? []);
      const at = this.#options.timers.now();
      // Taken away first: what is settled from here on is for the next batch.
      this.#settled.clear();
      let known: readonly ReportMark[];
      try {
        known = await this.#options.sink.addLive(
          { at, marks, flips, plaintext, settled, forgotten },
          tallies,
        );
      } catch (error) {
        for (const workload of settled) this.#settled.add(workload);
        throw error;
      }
      if (known.length > 0) {
        for (const workload of settled) this.#settled.add(workload);
        const keys = new Set(known.map(markKey));
        const isKept = ({ mark }: Item) => mark !== undefined && keys.has(markKey(mark));
        for (const item of left.filter(isKept)) this.#show(item);
        left = left.filter((item) => !isKept(item));
        continue;
      }
      for (const key of forgotten) this.#forgotten.delete(key);
      for (const each of lost) this.#takeLost(each);
      const isCurrent = ({ to }: SeenFlip) => !this.#settled.has(to);
      for (const flip of flips.filter(isCurrent)) this.#forget(this.#flips.add(flip));
      for (const caller of plaintext) this.#forget(this.#plaintext.add(caller));
      for (const item of left) this.#show(item);
      left = [];
    }
  }

  #show({ reporter, reported, mark, flips }: Item): void {
    if (mark !== undefined) this.#keep(mark);
    for (const { from, to, action, outcomes, firstSeen } of reported.accesses) {
      const kept = this.#known.kept(from, to, action);
      if (kept !== undefined) this.#known.note(kept.from, to, kept.action, outcomes.ok + outcomes.error > 0);
      this.#rates.add(`${reporter.key} ${to}`, firstSeen, { requests: sumOf(outcomes), lost: 0 });
    }
    if (reported.lost > 0) {
      const seen = { requests: 0, lost: reported.lost };
      for (const to of reporter.workloads)
        this.#rates.add(`${reporter.key} ${to}`, this.#options.timers.now(), seen);
    }
    for (const flip of flips) for (const listener of this.#listeners) this.#tell(listener, flip, reporter);
  }

  /** A listener that fails must not keep reports from being taken. */
  #tell(listener: (flip: SeenFlip, reporter: Reporter) => void, flip: SeenFlip, reporter: Reporter): void {
    try {
      listener(flip, reporter);
    } catch (error) {
      this.#options.onFault(error);
    }
  }

  /** One tally for each kind of reporter, so that their accesses are added up before they are written. */
  #talliesOf(items: readonly Item[], lost: readonly Lost[]): Tally[] {
    const tallies = new Map<string, Tally>();
    const tallyOf = (kind: Reporter['kind']) => {
      let tally = tallies.get(kind);
      if (tally === undefined) tallies.set(kind, (tally = new Tally(kind)));
      return tally;
    };
    for (const { reporter, reported } of items)
      addTo(tallyOf(reporter.kind), reporter, reported, this.#known);
    for (const [identity, { kind, n }] of lost) tallyOf(kind).lose(identity, n);
    return [...tallies.values()];
  }

  #unsettled(flips: readonly SeenFlip[]): readonly SeenFlip[] {
    return flips.filter(({ to, lastSeen }) => lastSeen >= (this.#settledAt.get(to) ?? 0));
  }

  #keptUpTo({ reporter, epoch }: ReportMark): number {
    return this.#marks.get(reporter)?.get(epoch) ?? 0;
  }

  #keep(mark: ReportMark): void {
    const { reporter, epoch, sequence } = mark;
    let epochs = this.#marks.get(reporter);
    if (epochs === undefined) this.#marks.set(reporter, (epochs = new Map()));
    const highest = Math.max(sequence, epochs.get(epoch) ?? 0);
    // Taken out and put in again: the one used last goes last.
    epochs.delete(epoch);
    epochs.set(epoch, highest);
    const [oldest] = epochs.keys();
    if (epochs.size > MAX_EPOCHS && oldest !== undefined) epochs.delete(oldest);
  }

  #forget(keys: readonly string[]): void {
    for (const key of keys) this.#forgotten.add(key);
  }

  #lose({ kind, identity }: Reporter, n: number): void {
    if (n > 0) this.#lost.set(identity, { kind, n: n + (this.#lost.get(identity)?.n ?? 0) });
  }

  #takeLost([identity, { kind, n }]: Lost): void {
    const left = (this.#lost.get(identity)?.n ?? 0) - n;
    if (left > 0) this.#lost.set(identity, { kind, n: left });
    else this.#lost.delete(identity);
  }

  #prune(): void {
    this.#cancelPrune = this.#options.timers.after(PRUNE_MS, () => {
      this.#rates.prune(this.#options.timers.now());
      this.#prune();
    });
  }
}

function markKey({ reporter, epoch, sequence }: ReportMark): string {
  return `${reporter} ${epoch} ${sequence}`;
}

function sizeOf({ accesses, flips, plaintext }: Reported): number {
  return 1 + accesses.length + flips.length + plaintext.length;
}

function sumOf(outcomes: Readonly<Record<Outcome, number>>): number {
  return outcomes.ok + outcomes.error + outcomes.failed + outcomes.denied;
}

function callsOf({ accesses, lost }: Reported): number {
  return accesses.reduce((sum, { outcomes }) => sum + sumOf(outcomes), lost);
}

/** Adds what a report says; what there is no room for is lost, and counted. */
function addTo(
  tally: Tally,
  { identity }: Reporter,
  { accesses, lost, skips }: Reported,
  known: AccessBook,
): void {
  let unkept = lost;
  for (const { from, to, action, outcomes, mutual, plaintext, firstSeen, lastSeen, instance } of accesses) {
    const calls = sumOf(outcomes);
    const kept = known.kept(from, to, action);
    if (kept === undefined) {
      unkept += calls;
      continue;
    }
    const counter = tally.access(endpointOf(kept.from), { spiffeId: to }, kept.action, 'callee');
    for (const [outcome, n] of Object.entries(outcomes) as [Outcome, number][])
      if (n > 0) counter.add(lastSeen, outcome, instance === '' ? undefined : instance, n);
    counter.evidence.firstSeen = Math.min(counter.evidence.firstSeen, firstSeen);
    counter.evidence.mutual += mutual;
    counter.evidence.plaintext += plaintext;
    tally.cover(firstSeen);
    tally.cover(lastSeen);
    tally.read += calls;
    tally.accepted += calls;
  }
  for (const [reason, { count, sample }] of skips) tally.skip(reason, 0, sample, count);
  if (unkept > 0) tally.lose(identity, unkept);
}

function endpointOf(from: Principal) {
  if (from.kind === 'workload') return { spiffeId: from.id };
  return from.from === 'unknown' ? ({ entity: 'unknown' } as const) : { ip: from.from };
}
