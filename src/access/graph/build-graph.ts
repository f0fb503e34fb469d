import { type Action, actionKey } from '../action.ts';
import { Directory, type Resolved } from '../inventory/directory.ts';
import type { Endpoint } from '../endpoint.ts';
import type { Access, AccessGraph, KnownBlindSpot } from './graph.ts';
import { Identities, type Named } from '../inventory/identify.ts';
import type { Fact } from '../inventory/facts.ts';
import { CoverageBook, type RecordedCoverage } from './coverage.ts';
import { AccessMerger } from './merge-accesses.ts';
import { type Principal, principalText } from '../principal.ts';
import type { BlindSpot, BlindSpotKind } from '../tally.ts';
import type { RecordedAccess } from '../tally-access.ts';
import { WorkloadBook } from './workload-book.ts';

/** Everything that was recorded, as the store gives it back. */
export interface Recorded {
  readonly trustDomain: string;
  readonly accesses: readonly RecordedAccess[];
  readonly blindSpots: readonly BlindSpot[];
  readonly facts: readonly Fact[];
  /** Events taken in, and events that the recordings say were lost. */
  readonly events: number;
  readonly lost: number;
  /** The same by recording, so that each concerns only the workloads that it names. */
  readonly coverage?: readonly RecordedCoverage[];
}

/** Accesses that are looked at in one step. */
const STEP = 64;

/** One end of a record with the identity that was decided for it. */
interface Decided {
  readonly principal: Principal;
  /** Set where the record could mean several workloads: what it could mean. */
  readonly doubt?: string;
}

/**
 * The estate's graph from what was recorded: identities are decided (a SPIFFE ID in the data wins, then the
 * service account, then the workload's name), both sides of a call are counted once, and declared accesses are
 * laid over observed ones. The result does not depend on the order of its input.
 */
export function buildGraph(recorded: Recorded): AccessGraph {
  const steps = graphSteps(recorded);
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}

/** The same in steps of a fraction of a millisecond: between two of them other work may be done. */
export function* graphSteps(recorded: Recorded): Generator<void, AccessGraph> {
  const directory = new Directory(recorded.facts);
  yield;
  const resolver = new Resolver(directory);
  yield* resolver.resolve(recorded.accesses, recorded.blindSpots);
  const identities = new Identities(recorded.trustDomain, resolver.named);
  const book = new WorkloadBook(directory, identities);
  const decide = (resolved: Resolved): Decided => {
    if (resolved.kind === 'spiffe') return { principal: book.bySpiffeId(resolved.id) };
    if (resolved.kind === 'workload') return { principal: book.byName(resolved) };
    if (resolved.kind === 'outside') return { principal: { kind: 'unauthenticated', from: resolved.from } };
    return { principal: { kind: 'unauthenticated', from: resolved.what }, doubt: resolved.what };
  };

  const spots = new SpotMerger();
  const merger = new AccessMerger();
  const coverage = new CoverageBook();
  for (const [i, access] of recorded.accesses.entries()) {
    const resolvedTo = resolver.accessEnds[2 * i + 1] as Resolved;
    const from = decide(resolver.accessEnds[2 * i] as Resolved);
    const to = decide(resolvedTo);
    const action = withKnownPort(access.action, access.to, resolvedTo, directory);
    merger.add(from.principal, to.principal, action, access.side, access.evidence);
    book.recordedBy(access, from.principal, to.principal);
    coverage.note(access.from, from.principal);
    coverage.note(access.to, to.principal);
    noteDoubts(spots, access, from, to, action);
    if (i % STEP === 0) yield;
  }
  const observed = yield* merger.finish();
  for (const spot of observed.transportOnly) spots.add(spot);
  for (const [i, spot] of recorded.blindSpots.entries()) {
    const resolvedTo = resolver.spotEnds[2 * i + 1] as Resolved;
    const from = decide(resolver.spotEnds[2 * i] as Resolved).principal;
    const to = decide(resolvedTo).principal;
    const action =
      spot.action === undefined ? {} : { action: withKnownPort(spot.action, spot.to, resolvedTo, directory) };
    spots.add({ ...spot, ...action, from, to });
    coverage.note(spot.from, from);
    coverage.note(spot.to, to);
  }
  const declared = layDeclared(observed.accesses, directory, decide, spots);
  yield;
  const workloads = book.workloads();
  yield;
  return {
    trustDomain: recorded.trustDomain,
    workloads,
    accesses: yield* inOrder(declared),
    blindSpots: spots.finish(declared),
    sharedAccounts: identities.shared,
    coverage: {
      ...observed.span,
      ...(recorded.coverage === undefined
        ? {}
        : { byWorkload: coverage.finish(recorded.coverage, workloads.keys()) }),
      events: recorded.events,
      lost: recorded.lost,
    },
  };
}

/** Resolves every end once, and gathers every name so that shared accounts are known before any ID is given. */
class Resolver {
  /** Caller and callee by turns. */
  readonly accessEnds: Resolved[] = [];
  readonly spotEnds: Resolved[] = [];
  readonly named: Named[] = [];
  readonly #directory: Directory;
  /** What a SPIFFE ID means does not depend on the time. */
  readonly #bySpiffeId = new Map<string, Resolved>();

  constructor(directory: Directory) {
    this.#directory = directory;
  }

  /** Call it once, before anything is read. */
  *resolve(accesses: readonly RecordedAccess[], spots: readonly BlindSpot[]): Generator<void, void> {
    for (const [i, { from, to, evidence }] of accesses.entries()) {
      const { firstSeen, lastSeen } = evidence;
      this.accessEnds.push(this.#one(from, firstSeen, lastSeen), this.#one(to, firstSeen, lastSeen));
      if (i % STEP === 0) yield;
    }
    for (const { from, to, firstSeen, lastSeen } of spots)
      this.spotEnds.push(this.#one(from, firstSeen, lastSeen), this.#one(to, firstSeen, lastSeen));
    yield;
    for (const { namespace, name, serviceAccount } of this.#directory.workloads()) {
      this.named.push({ namespace, workload: name, serviceAccount });
    }
    for (const { from, to } of this.#directory.declared()) {
      this.named.push(from);
      if (to.kind === 'workload') this.named.push(to);
    }
    yield;
  }

  #one(end: Endpoint, first: number, last: number): Resolved {
    const known = end.spiffeId === undefined ? undefined : this.#bySpiffeId.get(end.spiffeId);
    if (known !== undefined) return known;
    const resolved = this.#directory.resolve(end, first, last);
    if (resolved.kind === 'workload') this.named.push(resolved);
    if (end.spiffeId !== undefined) this.#bySpiffeId.set(end.spiffeId, resolved);
    return resolved;
  }
}

/** The callee's own port where the record gives none, or gives the Service's. */
function withKnownPort(action: Action, end: Endpoint, to: Resolved, directory: Directory): Action {
  if (to.kind !== 'workload' || to.workload === undefined) return action;
  if (action.port === 0) {
    const sole = directory.solePort(to.namespace, to.workload);
    return sole === undefined ? action : { ...action, port: sole };
  }
  if (end.host === undefined) return action;
  const port = directory.containerPort(end, action.port);
  return port === undefined ? action : { ...action, port };
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

/** Adds the declared view: to the observed accesses that it names, or as accesses of its own. */
function layDeclared(
  observed: readonly Access[],
  directory: Directory,
  decide: (resolved: Resolved) => Decided,
  spots: SpotMerger,
): Access[] {
  const places = new Map<string, { from: Principal; to: Principal; port: number; where: string[] }>();
  for (const { from, to, port, where, by } of directory.declared()) {
    // A probe's host is called by the kubelet, not by the workload that declares it.
    if (by === 'probe') continue;
    const caller = decide({ kind: 'workload', ...from }).principal;
    const { principal: callee, doubt } = decide(to);
    if (doubt !== undefined) {
      const times = { count: 1, firstSeen: Number.POSITIVE_INFINITY, lastSeen: Number.NEGATIVE_INFINITY };
      spots.add({ kind: 'ambiguous-callee', from: caller, to: callee, what: `${where}: ${doubt}`, ...times });
      continue;
    }
    const key = `${principalText(caller)}\n${principalText(callee)}\n${port}`;
    const known = places.get(key);
    if (known === undefined) places.set(key, { from: caller, to: callee, port, where: [where] });
    else if (!known.where.includes(where)) known.where.push(where);
  }
  if (places.size === 0) return [...observed];
  const byPair = Map.groupBy(observed, (a) => `${principalText(a.from)}\n${principalText(a.to)}`);
  const replaced = new Map<Access, Access>();
  const added: Access[] = [];
  for (const { from, to, port, where } of places.values()) {
    const same = (byPair.get(`${principalText(from)}\n${principalText(to)}`) ?? []).filter(
      ({ action }) => port === 0 || action.port === 0 || action.port === port,
    );
    for (const access of same) {
      const now = replaced.get(access) ?? access;
      replaced.set(access, {
        ...now,
        views: ['declared', 'observed'],
        declared: [...now.declared, ...where],
      });
    }
    if (same.length === 0) added.push(AccessMerger.declaredOnly(from, to, { kind: 'tcp', port }, where));
  }
  return [...observed.map((access) => replaced.get(access) ?? access), ...added];
}

/** Adds up blind spots between resolved ends, and drops those that another recording has seen after all. */
class SpotMerger {
  readonly #spots = new Map<string, KnownBlindSpot>();

  add(spot: KnownBlindSpot): void {
    const key = `${spot.kind}\n${principalText(spot.from)}\n${principalText(spot.to)}\n${spot.what}`;
    const known = this.#spots.get(key);
    if (known === undefined) {
      this.#spots.set(key, spot);
      return;
    }
    this.#spots.set(key, {
      ...known,
      count: known.count + spot.count,
      firstSeen: Math.min(known.firstSeen, spot.firstSeen),
      lastSeen: Math.max(known.lastSeen, spot.lastSeen),
    });
  }

  finish(accesses: readonly Access[]): KnownBlindSpot[] {
    // Pairs whose calls are looked for -> the actions that were observed.
    const observed = new Map<string, Set<string>>();
    const pairText = (from: Principal, to: Principal) => `${principalText(from)}\n${principalText(to)}`;
    for (const { kind, from, to } of this.#spots.values()) {
      if (kind === 'client-only' && to.kind === 'workload') observed.set(pairText(from, to), new Set());
    }
    for (const { from, to, action, views } of observed.size === 0 ? [] : accesses) {
      if (views.includes('observed')) observed.get(pairText(from, to))?.add(actionKey(action));
    }
    const wasSeen = ({ kind, from, to, action }: KnownBlindSpot) => {
      const actions = kind === 'client-only' ? observed.get(pairText(from, to)) : undefined;
      if (actions === undefined) return false;
      return action === undefined ? actions.size > 0 : actions.has(actionKey(action));
    };
    return [...this.#spots.values()]
      .filter((spot) => spot.count > 0 && !wasSeen(spot))
      .toSorted((a, b) => b.count - a.count || order(spotText(a), spotText(b)));
  }
}

const spotText = (s: KnownBlindSpot) => `${s.kind} ${principalText(s.from)} ${principalText(s.to)} ${s.what}`;

const order = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

/** By callee, caller and action: one callee after the other, since each has few of all accesses. */
function* inOrder(accesses: readonly Access[]): Generator<void, Access[]> {
  const byCallee = new Map<string, { readonly key: string; readonly access: Access }[]>();
  for (const [i, access] of accesses.entries()) {
    const to = principalText(access.to);
    const one = { key: `${principalText(access.from)}\n${actionKey(access.action)}`, access };
    const known = byCallee.get(to);
    if (known === undefined) byCallee.set(to, [one]);
    else known.push(one);
    if (i % STEP === 0) yield;
  }
  const sorted: Access[] = [];
  for (const to of [...byCallee.keys()].sort(order)) {
    const own = byCallee.get(to) ?? [];
    for (const { access } of own.sort((a, b) => order(a.key, b.key))) sorted.push(access);
    yield;
  }
  return sorted;
}
