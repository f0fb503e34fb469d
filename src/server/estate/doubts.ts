import type { SpiffeId } from '../../access/index.ts';
import { instancesOfCallers, propose } from '../../learning/index.ts';
import type { EstateState } from './estate.ts';

/**
 * Counts the accesses of every workload that a proposal would leave to a person, one workload in a turn of the event
 * loop: a proposal for a whole estate takes a second, in which the red button would wait.
 */
export async function countDoubts(
  { graph, byCallee }: Pick<EstateState, 'graph' | 'byCallee'>,
  isWanted: () => boolean,
): Promise<ReadonlyMap<SpiffeId, number> | undefined> {
  const counts = new Map<SpiffeId, number>();
  const instances = instancesOfCallers(graph);
  for (const accesses of byCallee.values()) {
    const [first] = accesses;
    if (first?.to.kind !== 'workload') continue;
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (!isWanted()) return undefined;
    // Its own accesses, and how many instances its callers have: the rest of the estate says nothing of it.
    const { doubts } = propose({ ...graph, accesses }, { to: first.to.id, instances });
    counts.set(first.to.id, doubts.length);
  }
  return counts;
}
