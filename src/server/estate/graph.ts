import { kubernetesNameOf, shortNameOf, type SpiffeId, spiffeIdOf } from '../../access/index.ts';
import type { Answer } from '../../api/index.ts';
import { addEdge, type Edge, emptyEdge, newestHalf, type PairEdges } from './edges.ts';
import type { Judged } from './judged.ts';

type Node = Answer<'graph.get'>['nodes'][number];

/** Most nodes and edges of one answer. */
const MOST_NODES = 5000;
const MOST_EDGES = 20_000;
/** By namespace, all callers without an identity are one node. */
const STRANGERS = 'unauthenticated:';
/** Edges that are looked at in one step. */
const STEP = 64;

/** What a node says of the workloads in it. */
export interface NodeFacts {
  readonly stageOf: (workload: SpiffeId) => string;
  readonly isReleased: (workload: SpiffeId) => boolean;
}

/** The nodes and edges of one moment. */
export interface GraphMoment {
  readonly trustDomain: string;
  readonly nodes: readonly Node[];
  readonly edges: readonly Edge[];
  readonly isCut: boolean;
}

/** What is asked for: a node for each workload or namespace, and of all of them or of those with an end in one namespace. */
export interface GraphQuestion {
  readonly by: 'namespace' | 'workload';
  readonly namespace?: string | undefined;
}

/** The namespace of a workload, as its manifest or its ID says; "" where neither does. */
export function namespaceOf({ estate }: Judged, id: SpiffeId): string {
  return estate.graph.workloads.get(id)?.namespace ?? kubernetesNameOf(id)?.namespace ?? '';
}

/** The access graph: one node for each workload or namespace, one edge for each pair of them; in small steps. */
export function* graphOf(
  judged: Judged,
  pairs: PairEdges,
  { by, namespace }: GraphQuestion,
  facts: NodeFacts,
  now: number,
): Generator<void, GraphMoment> {
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
  const members = new Map<string, Set<string>>();
  const join = (text: string) => {
    const place = placeOf(text);
    const known = members.get(place);
    if (known === undefined) members.set(place, new Set([text]));
    else known.add(text);
    return place;
  };
  const edges: Edge[] = [];
  const sums = new Map<string, Edge>();
  const between = yield* pairs.of(judged, newestHalf(judged, now));
  for (const [i, edge] of between.entries()) {
    const { from, to } = edge;
    if (namespace !== undefined && spaceOf(from) !== namespace && spaceOf(to) !== namespace) continue;
    const [start, end] = [join(from), join(to)];
    if (by === 'workload') edges.push(edge);
    else {
      const key = `${start}\n${end}`;
      let sum = sums.get(key);
      if (sum === undefined) sums.set(key, (sum = emptyEdge(start, end)));
      addEdge(sum, edge);
    }
    if (i % STEP === 0) yield;
  }
  for (const sum of sums.values()) edges.push(sum);
  for (const id of judged.estate.graph.workloads.keys())
    if (namespace === undefined || spaceOf(id) === namespace) join(id);
  const nodes: Node[] = [];
  for (const [id, of] of members) {
    if (nodes.length >= MOST_NODES) break;
    nodes.push(nodeOf(id, of, by, spaceOf, facts));
    yield;
  }
  const known = new Set(nodes.map(({ id }) => id));
  const all =
    nodes.length === members.size ? edges : edges.filter(({ from, to }) => known.has(from) && known.has(to));
  const shown =
    all.length <= MOST_EDGES ? all : all.toSorted((a, b) => b.calls - a.calls).slice(0, MOST_EDGES);
  return {
    trustDomain: judged.estate.graph.trustDomain,
    nodes,
    edges: shown,
    isCut: shown.length < edges.length || nodes.length < members.size,
  };
}

function nodeOf(
  id: string,
  members: ReadonlySet<string>,
  by: 'namespace' | 'workload',
  spaceOf: (text: string) => string | undefined,
  { stageOf, isReleased }: NodeFacts,
): Node {
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
