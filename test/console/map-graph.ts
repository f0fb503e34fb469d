import type { GraphAnswer } from '../../console/src/map/kinds.ts';
import { modelOf } from '../../console/src/map/model.ts';

type Edge = GraphAnswer['edges'][number];

/** The ID of "namespace/workload". */
export const id = (name: string) => {
  const [namespace, workload] = name.split('/');
  return name.startsWith('unauthenticated:') ? name : `spiffe://example.org/ns/${namespace}/sa/${workload}`;
};

/** One observed access, of which nothing stands out but what is given. */
export function edge(from: string, to: string, more: Partial<Edge> = {}): Edge {
  return {
    from: id(from),
    to: id(to),
    accesses: 1,
    calls: 10,
    views: { possible: 0, declared: 0, observed: 1, authorized: 0 },
    wouldDeny: 0,
    denied: 0,
    unused: 0,
    plaintext: 0,
    fresh: 0,
    ...more,
  };
}

/** An answer of the control plane: the ends of these edges, and more workloads that nobody calls. */
export function graphOf(edges: readonly Edge[], more: readonly string[] = []): GraphAnswer {
  const ids = [...new Set([...edges.flatMap(({ from, to }) => [from, to]), ...more.map(id)])];
  const nodes = ids.map((of): GraphAnswer['nodes'][number] => {
    const [, namespace, name] = /\/ns\/(.+)\/sa\/(.+)$/.exec(of) ?? [];
    return namespace === undefined
      ? { id: of, kind: 'unauthenticated', name: of, workloads: 0, stages: {}, released: 0 }
      : {
          id: of,
          kind: 'workload',
          name: `${namespace}/${name}`,
          namespace,
          workloads: 1,
          stages: { shadow: 1 },
          released: 0,
        };
  });
  return { version: 'v', trustDomain: 'example.org', nodes, edges: [...edges], isCut: false };
}

/** A small shop, with calls that the map has to point out. */
export const SHOP = [
  edge('shop/web', 'shop/cart', { calls: 100 }),
  edge('shop/web', 'pay/charge', {
    accesses: 2,
    wouldDeny: 1,
    views: { possible: 0, declared: 0, observed: 2, authorized: 1 },
  }),
  edge('shop/cart', 'pay/charge', { plaintext: 1 }),
  edge('batch/report', 'pay/charge', { fresh: 1 }),
  edge('unauthenticated:10.0.0.9', 'shop/web', { plaintext: 1 }),
];
export const shop = () => modelOf(graphOf(SHOP));
