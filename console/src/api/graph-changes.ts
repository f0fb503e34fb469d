import type { Received } from '../../../src/api/index.ts';

type Graph = Received<'graph.get'>;
type Edge = Graph['edges'][number];

/** The whole graph by what was answered to the version of the one before: the same object where nothing has changed. */
export function graphAfter(before: Graph | undefined, { since, gone, ...answer }: Graph): Graph {
  // All of it, as another control plane answers, or one that was started anew.
  if (since === undefined) return answer;
  if (since !== before?.version) throw new TypeError('changes since another version than was asked for');
  if (answer.version === since) return before;
  const nodes = new Map(before.nodes.map((node) => [node.id, node]));
  for (const id of gone?.nodes ?? []) nodes.delete(id);
  for (const node of answer.nodes) nodes.set(node.id, node);
  const edges = edgesAfter(before.edges, gone?.edges ?? [], answer.edges);
  return { ...answer, nodes: [...nodes.values()], edges };
}

/** Those before without what is gone, and with what is new in its place. */
function edgesAfter(
  before: readonly Edge[],
  gone: readonly Pick<Edge, 'from' | 'to'>[],
  changed: readonly Edge[],
): readonly Edge[] {
  const news = new Map<string, Edge | undefined>();
  for (const { from, to } of gone) news.set(`${from}\n${to}`, undefined);
  for (const edge of changed) news.set(`${edge.from}\n${edge.to}`, edge);
  const edges: Edge[] = [];
  for (const edge of before) {
    const key = `${edge.from}\n${edge.to}`;
    const now = news.has(key) ? news.get(key) : edge;
    if (now !== undefined) edges.push(now);
    news.delete(key);
  }
  for (const edge of news.values()) if (edge !== undefined) edges.push(edge);
  return edges;
}
