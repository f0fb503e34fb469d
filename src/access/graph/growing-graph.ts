import { type Action, actionKey } from '../action.ts';
import { Directory, type Resolved } from '../inventory/directory.ts';
import { Identities } from '../inventory/identify.ts';
import { order } from '../order.ts';
import { type Principal, principalText } from '../principal.ts';
import type { SpiffeId } from '../spiffe-id.ts';
import type { BlindSpotKind } from '../tally.ts';
import type { RecordedAccess } from '../tally-access.ts';
import { type Covered, CoverageBook } from './coverage.ts';
import { type Decided, type DeclaredCall, declaredCalls, layDeclared } from './declared.ts';
import { Ends, isSame } from './ends.ts';
import type { Access, AccessGraph, KnownBlindSpot } from './graph.ts';
import { AccessMerger } from './merge-accesses.ts';
import type { Recorded } from './recorded.ts';
import { SpanBook } from './span.ts';
import { SpotMerger } from './spots.ts';
import { WorkloadBook } from './workload-book.ts';

/** Accesses that are looked at in one step. */
const STEP = 64;

/** A record that takes the place of the same one with less in it, or of none. */
export interface GrownRecord {
  readonly before: RecordedAccess | undefined;
  readonly now: RecordedAccess;
}

/** One callee: what was recorded of calls to it and what is declared, and what that comes to. */
interface Callee {
  records: readonly RecordedAccess[];
  readonly declared: readonly DeclaredCall[];
  /** In the order of caller and action. */
  accesses: readonly Access[];
  spots: readonly KnownBlindSpot[];
}

/** What a callee's records become by being added to. */
interface Growth {
  readonly replaced: Map<RecordedAccess, RecordedAccess>;
  readonly added: RecordedAccess[];
}

/** Caller and callee. */
type BothEnds = readonly [from: Resolved, to: Resolved];

/**
 * The estate's graph, made of what was recorded and kept while more is: then the callees of what is new are laid out anew,
 * and nothing else is. What it says is what one would say that is made of all of it at once.
 */
export class GrowingGraph {
  readonly #trustDomain: string;
  readonly #directory: Directory;
  readonly #ends: Ends;
  readonly #identities: Identities;
  readonly #book: WorkloadBook;
  readonly #span = new SpanBook();
  readonly #callees = new Map<string, Callee>();
  /** Of what a recording itself says that it has not seen, and of declarations. */
  readonly #spots = new SpotMerger();
  #covered: ReadonlyMap<SpiffeId, Covered> | undefined;
  /** The callees in order, until there is another one. */
  #order: readonly string[] | undefined;

  private constructor(trustDomain: string, directory: Directory, ends: Ends) {
    this.#trustDomain = trustDomain;
    this.#directory = directory;
    this.#ends = ends;
    this.#identities = new Identities(trustDomain, ends.named);
    this.#book = new WorkloadBook(directory, this.#identities);
  }

  /** Made of what is recorded, in steps of a fraction of a millisecond. Throws `invalid_identity`. */
  static *of(recorded: Recorded): Generator<void, GrowingGraph> {
    const directory = new Directory(recorded.facts);
    yield;
    // Every end once, so that shared accounts are known before any ID is given.
    const ends = new Ends(directory);
    const known: BothEnds[] = [];
    for (const [i, { from, to, evidence }] of recorded.accesses.entries()) {
      known.push([ends.of(from, evidence), ends.of(to, evidence)]);
      if (i % STEP === 0) yield;
    }
    const spots = recorded.blindSpots.map(
      (spot): BothEnds => [ends.of(spot.from, spot), ends.of(spot.to, spot)],
    );
    yield;
    const graph = new GrowingGraph(recorded.trustDomain, directory, ends);
    yield* graph.#begin(recorded, known, spots);
    return graph;
  }

  /**
   * Takes in what is new. False where that concerns more than its callees, as a name does by which others are called
   * otherwise: then nothing was taken in, and the graph is to be made anew.
   */
  *grow(records: readonly GrownRecord[]): Generator<void, boolean> {
    const grown: { readonly record: GrownRecord; readonly ends: BothEnds }[] = [];
    for (const [i, record] of records.entries()) {
      const ends = this.#endsAfter(record);
      if (ends === undefined) return false;
      grown.push({ record, ends });
      if (i % STEP === 0) yield;
    }
    const growths = new Map<string, Growth>();
    for (const [i, { record, ends }] of grown.entries()) {
      const { before, now } = record;
      const [, to] = this.#note(now, ends, before);
      const text = principalText(to);
      let growth = growths.get(text);
      if (growth === undefined) growths.set(text, (growth = { replaced: new Map(), added: [] }));
      if (before === undefined) growth.added.push(now);
      else growth.replaced.set(before, now);
      if (i % STEP === 0) yield;
    }
    for (const [text, { replaced, added }] of growths) {
      const callee = this.#callees.get(text) ?? this.#newCallee(text, []);
      callee.records = [...callee.records.map((record) => replaced.get(record) ?? record), ...added];
      yield* this.#layOut(callee);
    }
    return true;
  }

  /** The accesses of each callee, by its text and in order: what has not changed is the same object as before. */
  get byCallee(): ReadonlyMap<string, readonly Access[]> {
    const found = new Map<string, readonly Access[]>();
    for (const text of this.#inOrder()) {
      const { accesses } = this.#calleeOf(text);
      if (accesses.length > 0) found.set(text, accesses);
    }
    return found;
  }

  /** The graph at this moment, with how many events it was made of and how many were lost. It is never changed. */
  graph({ events, lost }: Pick<Recorded, 'events' | 'lost'>): AccessGraph {
    const accesses: Access[] = [];
    const spots = new SpotMerger();
    for (const text of this.#inOrder()) {
      const callee = this.#calleeOf(text);
      for (const access of callee.accesses) accesses.push(access);
      for (const spot of callee.spots) spots.add(spot);
    }
    for (const spot of this.#spots.all) spots.add(spot);
    return {
      trustDomain: this.#trustDomain,
      workloads: this.#book.workloads(),
      accesses,
      blindSpots: spots.finish(accesses),
      sharedAccounts: this.#identities.shared,
      coverage: {
        ...this.#span.span,
        ...(this.#covered === undefined ? {} : { byWorkload: this.#covered }),
        events,
        lost,
      },
    };
  }

  *#begin(
    recorded: Recorded,
    ends: readonly BothEnds[],
    spotEnds: readonly BothEnds[],
  ): Generator<void, void> {
    const coverage = recorded.coverage === undefined ? undefined : new CoverageBook();
    const records = new Map<string, { readonly own: RecordedAccess[]; readonly ends: BothEnds[] }>();
    for (const [i, access] of recorded.accesses.entries()) {
      const both = ends[i] as BothEnds; // As many as there are accesses.
      const [from, to] = this.#note(access, both);
      coverage?.note(access.from, from);
      coverage?.note(access.to, to);
      const text = principalText(to);
      let known = records.get(text);
      if (known === undefined) records.set(text, (known = { own: [], ends: [] }));
      known.own.push(access);
      known.ends.push(both);
      if (i % STEP === 0) yield;
    }
    for (const [i, spot] of recorded.blindSpots.entries()) {
      const [resolvedFrom, resolvedTo] = spotEnds[i] as BothEnds; // As many as there are spots.
      const from = this.#decide(resolvedFrom).principal;
      const to = this.#decide(resolvedTo).principal;
      const { action } = spot;
      const known = action === undefined ? {} : { action: this.#withKnownPort(action, spot, resolvedTo) };
      this.#spots.add({ ...spot, ...known, from, to });
      coverage?.note(spot.from, from);
      coverage?.note(spot.to, to);
    }
    const declared = declaredCalls(this.#directory, (resolved) => this.#decide(resolved), this.#spots);
    yield;
    for (const [text, { own, ends: known }] of records) {
      const callee = this.#newCallee(text, declared.get(text) ?? []);
      callee.records = own;
      yield* this.#layOut(callee, known);
    }
    for (const [text, calls] of declared)
      if (!records.has(text)) yield* this.#layOut(this.#newCallee(text, calls));
    this.#covered = coverage?.finish(recorded.coverage ?? [], this.#book.workloads().keys());
    yield;
  }

  /** The ends of a record, or undefined where it says something of others than its callee. */
  #endsAfter({ before, now }: GrownRecord): BothEnds | undefined {
    const names = this.#ends.named.length;
    const ends = this.#endsOf(now);
    // Which recordings concern whom is not followed.
    if (this.#covered !== undefined || this.#ends.named.length > names) return undefined;
    if (before === undefined) return ends.every((end) => this.#isSettled(end)) ? ends : undefined;
    // An address may have been another one's, seen from the time that it was used in by now.
    const [from, to] = this.#endsOf(before);
    return isSame(from, ends[0]) && isSame(to, ends[1]) ? ends : undefined;
  }

  /** Whether nothing that others have said of it depends on whether this one came first. */
  #isSettled(end: Resolved): boolean {
    if (end.kind === 'workload') return this.#book.get(this.#identities.idOf(end).id) !== undefined;
    if (end.kind !== 'spiffe') return true;
    const known = this.#book.get(end.id);
    return known === undefined || known.inventoried || known.identifiedBy === 'spiffe';
  }

  #endsOf({ from, to, evidence }: RecordedAccess): BothEnds {
    return [this.#ends.of(from, evidence), this.#ends.of(to, evidence)];
  }

  /** Notes what a record says of its two ends, and of the time. */
  #note(
    access: RecordedAccess,
    [resolvedFrom, resolvedTo]: BothEnds,
    before?: RecordedAccess,
  ): readonly [from: Principal, to: Principal] {
    const from = this.#decide(resolvedFrom).principal;
    const to = this.#decide(resolvedTo).principal;
    this.#book.recordedBy(access, from, to);
    this.#span.add(access.evidence, before?.evidence);
    return [from, to];
  }

  #decide(resolved: Resolved): Decided {
    if (resolved.kind === 'spiffe') return { principal: this.#book.bySpiffeId(resolved.id) };
    if (resolved.kind === 'workload') return { principal: this.#book.byName(resolved) };
    if (resolved.kind === 'outside') return { principal: { kind: 'unauthenticated', from: resolved.from } };
    return { principal: { kind: 'unauthenticated', from: resolved.what }, doubt: resolved.what };
  }

  #newCallee(text: string, declared: readonly DeclaredCall[]): Callee {
    const callee = { records: [], declared, accesses: [], spots: [] };
    this.#callees.set(text, callee);
    this.#order = undefined;
    return callee;
  }

  #calleeOf(text: string): Callee {
    return this.#callees.get(text) as Callee; // Asked only of those in the order of them.
  }

  #inOrder(): readonly string[] {
    // By what comes behind the name in the keys of accesses as well: their order is this one's.
    return (this.#order ??= [...this.#callees.keys()].sort((a, b) => order(`${a}\n`, `${b}\n`)));
  }

  *#layOut(callee: Callee, ends?: readonly BothEnds[]): Generator<void, void> {
    const merger = new AccessMerger();
    const spots = new SpotMerger();
    for (const [i, access] of callee.records.entries()) {
      const [resolvedFrom, resolvedTo] = ends?.[i] ?? this.#endsOf(access);
      const from = this.#decide(resolvedFrom);
      const to = this.#decide(resolvedTo);
      const action = this.#withKnownPort(access.action, access, resolvedTo);
      merger.add(from.principal, to.principal, action, access.side, access.evidence);
      noteDoubts(spots, access, from, to, action);
      if (i % STEP === STEP - 1) yield;
    }
    const observed = yield* merger.finish();
    for (const spot of observed.transportOnly) spots.add(spot);
    callee.accesses = inOrder(layDeclared(observed.accesses, callee.declared));
    callee.spots = spots.all;
    yield;
  }

  /** The callee's own port where the record gives none, or gives the Service's. */
  #withKnownPort(action: Action, { to: end }: Pick<RecordedAccess, 'to'>, to: Resolved): Action {
    if (to.kind !== 'workload' || to.workload === undefined) return action;
    if (action.port === 0) {
      const sole = this.#directory.solePort(to.namespace, to.workload);
      return sole === undefined ? action : { ...action, port: sole };
    }
    if (end.host === undefined) return action;
    const port = this.#directory.containerPort(end, action.port);
    return port === undefined ? action : { ...action, port };
  }
}

function noteDoubts(
  spots: SpotMerger,
  { evidence }: RecordedAccess,
  from: Decided,
  to: Decided,
  action: Action,
): void {
  if (from.doubt === undefined && to.doubt === undefined) return;
  const note = (kind: BlindSpotKind, what: string) => {
    let count = 0;
    for (const n of evidence.counts.values()) count += n;
    const { firstSeen, lastSeen } = evidence;
    spots.add({
      kind,
      from: from.principal,
      to: to.principal,
      what,
      action,
      count,
      firstSeen,
      lastSeen,
    });
  };
  if (from.doubt !== undefined) note('unattributed-address', from.doubt);
  if (to.doubt !== undefined) note('ambiguous-callee', to.doubt);
}

/** By caller and action; all are of one callee. */
function inOrder(accesses: readonly Access[]): readonly Access[] {
  return accesses
    .map((access) => ({ key: `${principalText(access.from)}\n${actionKey(access.action)}`, access }))
    .sort((a, b) => order(a.key, b.key))
    .map(({ access }) => access);
}
