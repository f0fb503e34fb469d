import type { AccessGraph, SpiffeId } from '../../access/index.ts';
import { propose } from '../../learning/index.ts';

/**
 * Counts the accesses of every workload that a proposal would leave to a person, one workload in a turn of the event
 * loop: a proposal for a whole estate takes a second, in which the red button would wait.
 */
export async function countDoubts(
  graph: AccessGraph,
  isWanted: () => boolean,
): Promise<ReadonlyMap<SpiffeId, number> | undefined> {
  const counts = new Map<SpiffeId, number>();
  const called = new Set(graph.accesses.flatMap(({ to }) => (to.kind === 'workload' ? [to.id] : [])));
  for (const to of called) {
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (!isWanted()) return undefined;
    counts.set(to, propose(graph, { to }).doubts.length);
  }
  return counts;
}
