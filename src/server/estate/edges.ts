import type { Answer } from '../../api/index.ts';
import type { Judged, JudgedAccess } from './judged.ts';

type Shown = Answer<'graph.get'>['edges'][number];
/** All accesses from one workload or namespace to another one. */
export type Edge = { -readonly [Key in keyof Shown]: Shown[Key] } & {
  views: Record<keyof Shown['views'], number>;
};

const DAY_MS = 86_400_000;

/** The edges to one callee, and what they were made of. */
interface CalleeEdges {
  readonly of: readonly JudgedAccess[];
  readonly newSince: number;
  /** When the newest of its accesses was first seen. */
  readonly newest: number;
  readonly edges: readonly Edge[];
}

/** The edges between workloads: of callees about which nothing has changed they are the same objects as before. */
export class PairEdges {
  #known = new Map<string, CalleeEdges>();

  /** The edges at this moment, those to one callee after the other; a callee in a step. */
  *of({ byCallee }: Judged, newSince: number): Generator<void, readonly Edge[]> {
    const known = new Map<string, CalleeEdges>();
    const all: Edge[] = [];
    for (const [to, { accesses }] of byCallee) {
      const before = this.#known.get(to);
      const callee = isCurrent(before, accesses, newSince) ? before : edgesTo(accesses, newSince, before);
      known.set(to, callee);
      for (const edge of callee.edges) all.push(edge);
      yield;
    }
    this.#known = known;
    return all;
  }
}

function isCurrent(
  before: CalleeEdges | undefined,
  accesses: readonly JudgedAccess[],
  newSince: number,
): before is CalleeEdges {
  if (before?.of !== accesses) return false;
  // Where nothing was new by then and nothing is by now, nothing else has come of the time.
  return before.newSince === newSince || before.newest <= Math.min(before.newSince, newSince);
}

function edgesTo(
  accesses: readonly JudgedAccess[],
  newSince: number,
  before: CalleeEdges | undefined,
): CalleeEdges {
  const edges = new Map<string, Edge>();
  let newest = Number.NEGATIVE_INFINITY;
  for (const access of accesses) {
    const { from, to } = access;
    let edge = edges.get(from);
    if (edge === undefined) edges.set(from, (edge = emptyEdge(from, to)));
    addAccess(edge, access, newSince);
    const first = access.access?.evidence.firstSeen ?? Number.NEGATIVE_INFINITY;
    if (first > newest && Number.isFinite(first)) newest = first;
  }
  for (const edge of before?.edges ?? []) {
    const now = edges.get(edge.from);
    if (now !== undefined && isSameEdge(edge, now)) edges.set(edge.from, edge);
  }
  return { of: accesses, newSince, newest, edges: [...edges.values()] };
}

/** An edge of nothing. */
export function emptyEdge(from: string, to: string): Edge {
  return {
    from,
    to,
    accesses: 0,
    calls: 0,
    views: { possible: 0, declared: 0, observed: 0, authorized: 0 },
    wouldDeny: 0,
    denied: 0,
    unused: 0,
    plaintext: 0,
    fresh: 0,
  };
}

function addAccess(
  edge: Edge,
  { views, state, authentication, count, access }: JudgedAccess,
  newSince: number,
): void {
  edge.accesses++;
  edge.calls += count;
  for (const view of views) edge.views[view]++;
  if (state === 'would-deny') edge.wouldDeny++;
  if (state === 'denied') edge.denied++;
  if (state === 'unused') edge.unused++;
  if (authentication === 'plaintext') edge.plaintext++;
  if (access === undefined) return;
  const { firstSeen, lastSeen } = access.evidence;
  if (firstSeen > newSince && Number.isFinite(firstSeen)) edge.fresh++;
  if (Number.isFinite(lastSeen)) edge.lastSeen = Math.max(edge.lastSeen ?? 0, lastSeen);
}

/** Adds one edge to another. */
export function addEdge(to: Edge, { views, lastSeen, ...edge }: Edge): void {
  to.accesses += edge.accesses;
  to.calls += edge.calls;
  to.views.possible += views.possible;
  to.views.declared += views.declared;
  to.views.observed += views.observed;
  to.views.authorized += views.authorized;
  to.wouldDeny += edge.wouldDeny;
  to.denied += edge.denied;
  to.unused += edge.unused;
  to.plaintext += edge.plaintext;
  to.fresh += edge.fresh;
  if (lastSeen !== undefined) to.lastSeen = Math.max(to.lastSeen ?? 0, lastSeen);
}

/** Whether both say the same; they are of one pair. */
export function isSameEdge(a: Edge, b: Edge): boolean {
  return (
    a === b ||
    (a.calls === b.calls &&
      a.lastSeen === b.lastSeen &&
      a.accesses === b.accesses &&
      a.wouldDeny === b.wouldDeny &&
      a.denied === b.denied &&
      a.unused === b.unused &&
      a.plaintext === b.plaintext &&
      a.fresh === b.fresh &&
      a.views.possible === b.views.possible &&
      a.views.declared === b.views.declared &&
      a.views.observed === b.views.observed &&
      a.views.authorized === b.views.authorized)
  );
}

/**
 * When what is first seen counts as new: in the last day, and in the newer half of the time that was watched, where that is
 * shorter. Of an estate that is seen for the first time everything would be new, and nothing would stand out.
 */
export function newestHalf({ accesses }: Judged, now: number): number {
  let start = now;
  for (const { access } of accesses) start = Math.min(start, access?.evidence.firstSeen ?? start);
  return Math.max(now - DAY_MS, start + (now - start) / 2);
}
