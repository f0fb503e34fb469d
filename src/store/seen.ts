import {
  type Access,
  actionKey,
  buildGraph,
  outcomesOf,
  principalText,
  type SpiffeId,
} from '../access/index.ts';
import type { SeenAccesses } from './live.ts';
import type { StoreMoment } from './store.ts';

/** Every observed access to a workload, as commands see it that read the same state. */
export async function seenAccesses(
  store: Pick<StoreMoment, 'accesses' | 'facts'>,
  trustDomain: string,
): Promise<SeenAccesses[]> {
  const graph = buildGraph({
    trustDomain,
    accesses: await store.accesses(),
    blindSpots: [],
    facts: await store.facts(),
    events: 0,
    lost: 0,
  });
  const byWorkload = new Map<SpiffeId, Map<string, { good: string[]; others: string[] }>>();
  for (const access of graph.accesses) add(byWorkload, access);
  return [...byWorkload].flatMap(([to, callers]) =>
    [...callers].map(([from, keys]) => ({ to, from, ...keys })),
  );
}

function add(all: Map<SpiffeId, Map<string, { good: string[]; others: string[] }>>, access: Access): void {
  const { from, to, action, evidence, views } = access;
  if (to.kind !== 'workload' || !views.includes('observed')) return;
  let callers = all.get(to.id);
  if (callers === undefined) all.set(to.id, (callers = new Map()));
  const caller = principalText(from);
  let keys = callers.get(caller);
  if (keys === undefined) callers.set(caller, (keys = { good: [], others: [] }));
  (outcomesOf(evidence).ok > 0 ? keys.good : keys.others).push(actionKey(action));
}
