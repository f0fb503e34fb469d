import { QueryCache, QueryClient, queryOptions } from '@tanstack/react-query';
import type { CallOf, Received, RouteName } from '../../../src/api/index.ts';
import { call, Refusal } from './client.ts';
import { graphAfter } from './graph-changes.ts';

/** Tries again only what may come right by itself: a control plane that starts anew. */
const isWorthTrying = (error: Error) =>
  error instanceof Refusal && (error.code === 'unreachable' || error.status >= 502);

/** One cache for the whole console. What changes is told by the event stream, so nothing is fetched by the clock. */
export const queryClient = new QueryClient({
  queryCache: new QueryCache({
    onError(error, { queryKey: [name] }) {
      // The session has ended: the frame asks who one is, and shows how to sign in.
      if (error instanceof Refusal && error.status === 401 && name !== 'me.get')
        void queryClient.invalidateQueries({ queryKey: ['me.get'] });
    },
  }),
  defaultOptions: {
    queries: {
      staleTime: Number.POSITIVE_INFINITY,
      refetchOnWindowFocus: false,
      // A name and what was given are no more than JSON: what did not change stays the same object.
      structuralSharing: true,
      retry: (failures, error) => failures < 3 && isWorthTrying(error),
    },
    mutations: { retry: false },
  },
});

/** A read of a route: its key is the route's name and what was given. */
export function read<Name extends RouteName>(name: Name, given: CallOf<Name>) {
  return queryOptions({
    queryKey: [name, given],
    queryFn: ({ signal }) => call(name, given, { signal }),
  });
}

const GRAPH_KEY = ['graph.get', { query: { by: 'workload' } }] as const;

/**
 * The graph of the whole estate. It is long: it is read as a whole once, and then what has changed in it. One that has not
 * changed is the same object, and none is compared with another.
 */
export const graphRead = queryOptions({
  queryKey: GRAPH_KEY,
  queryFn: async ({ signal }): Promise<Received<'graph.get'>> => {
    const before = queryClient.getQueryData<Received<'graph.get'>>(GRAPH_KEY);
    const query = { by: 'workload', since: before?.version } as const;
    return graphAfter(
      before,
      await call('graph.get', { query }, { signal, isPassing: before !== undefined }),
    );
  },
  structuralSharing: false,
});

/** Policies of a workload: none where nothing protects it yet. */
export function policiesOf(workload: string) {
  return queryOptions({
    queryKey: ['policies.list', { workload }],
    queryFn: async ({ signal }): Promise<Received<'policies.list'>> => {
      try {
        return await call('policies.list', { query: { workload, limit: 10_000 } }, { signal });
      } catch (error) {
        if (error instanceof Refusal && error.code === 'not_found') return { policies: [] };
        throw error;
      }
    },
  });
}
