import { kubernetesNameOf, shortNameOf, type SpiffeId, spiffeIdOf } from '../../access/index.ts';
import type { Answer } from '../../api/index.ts';
import type { Judged, JudgedAccess } from './judged.ts';

type Graph = Answer<'graph.get'>;
type Edge = { -readonly [Key in keyof Graph['edges'][number]]: Graph['edges'][number][Key] } & {
  views: Record<keyof Graph['edges'][number]['views'], number>;
};

/** Most nodes and edges of one answer. */
const MOST_NODES = 5000;
const MOST_EDGES = 20_000;
/** By namespace, all callers without an identity are one node. */
const STRANGERS = 'unauthenticated:';
const DAY_MS = 86_400_000;

/** What a node says of the workloads in it. */
export interface NodeFacts {
  readonly stageOf: (workload: SpiffeId) => string;
  readonly isReleased: (workload: SpiffeId) => boolean;
}

/** The namespace of a workload, as its manifest or its ID says; "" where neither does. */
export function namespaceOf({ estate }: Judged, id: SpiffeId): string {
  return estate.graph.workloads.get(id)?.namespace ?? kubernetesNameOf(id)?.namespace ?? '';
}

/** The access graph: one node for each workload or namespace, one edge for each pair of them. */
export function graphOf(
  judged: Judged,
  { by, namespace }: { readonly by: 'namespace' | 'workload'; readonly namespace?: string | undefined },
  facts: NodeFacts,
  now: number,
): Graph {
  const namespaces = new Map<string, string | undefined>();
  /** Undefined for what has no identity. */
  const spaceOf = (text: string): string | undefined => {
    if (!namespaces.has(text)) {
      const id = spiffeIdOf(text);
      namespaces.set(text, id === undefined ? undefined : namespaceOf(judged, id));
    }
    return namespaces.get(text);
  };
  const placeOf = (text: string) =>
    by === 'workload' ? text : (spaceOf(text) ?? (text.startsWith(STRANGERS) ? STRANGERS : text));
  const edges = new Map<string, Edge>();
  const members = new Map<string, Set<string>>();
  const join = (text: string) => {
    const place = placeOf(text);
    const known = members.get(place);
    if (known === undefined) members.set(place, new Set([text]));
    else known.add(text);
    return place;
  };
  const newSince = newestHalf(judged, now);
  for (const access of judged.accesses) {
    const { from, to } = access;
    if (namespace !== undefined && spaceOf(from) !== namespace && spaceOf(to) !== namespace) continue;
    const key = `${placeOf(from)}\n${placeOf(to)}`;
    let edge = edges.get(key);
    if (edge === undefined) edges.set(key, (edge = emptyEdge(join(from), join(to))));
    else {
      join(from);
      join(to);
    }
    addTo(edge, access, newSince);
  }
  for (const id of judged.estate.graph.workloads.keys())
    if (namespace === undefined || spaceOf(id) === namespace) join(id);
  const nodes = [...members].slice(0, MOST_NODES).map(([id, of]) => nodeOf(id, of, by, spaceOf, facts));
  const known = new Set(nodes.map(({ id }) => id));
  const all = [...edges.values()].filter(({ from, to }) => known.has(from) && known.has(to));
  const shown = all.length <= MOST_EDGES ? all : all.sort((a, b) => b.calls - a.calls).slice(0, MOST_EDGES);
  return {
    trustDomain: judged.estate.graph.trustDomain,
    nodes,
    edges: shown,
    isCut: shown.length < edges.size || nodes.length < members.size,
  };
}

function nodeOf(
  id: string,
  members: ReadonlySet<string>,
  by: 'namespace' | 'workload',
  spaceOf: (text: string) => string | undefined,
  { stageOf, isReleased }: NodeFacts,
): Graph['nodes'][number] {
  const workloads = [...members].flatMap((text) => spiffeIdOf(text) ?? []);
  const stages: Record<string, number> = {};
  for (const workload of workloads) stages[stageOf(workload)] = 1 + (stages[stageOf(workload)] ?? 0);
  const [first] = workloads;
  const isOfWorkloads = first !== undefined;
  const namespace = isOfWorkloads ? spaceOf(first) : undefined;
  return {
    id,
    kind: isOfWorkloads ? by : 'unauthenticated',
    name: !isOfWorkloads
      ? id === STRANGERS
        ? 'no identity'
        : id
      : by === 'workload'
        ? shortNameOf(first)
        : id === ''
          ? 'no namespace'
          : id,
    ...(namespace === undefined ? {} : { namespace }),
    workloads: workloads.length,
    stages,
    released: workloads.filter(isReleased).length,
  };
}

function emptyEdge(from: string, to: string): Edge {
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

/**
 * When what is first seen counts as new: in the last day, and in the newer half of the time that was watched, where that is
 * shorter. Of an estate that is seen for the first time everything would be new, and nothing would stand out.
 */
function newestHalf({ accesses }: Judged, now: number): number {
  let start = now;
  for (const { access } of accesses) start = Math.min(start, access?.evidence.firstSeen ?? start);
  return Math.max(now - DAY_MS, start + (now - start) / 2);
}

function addTo(
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
