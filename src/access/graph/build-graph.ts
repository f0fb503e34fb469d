import type { AccessGraph } from './graph.ts';
import { GrowingGraph } from './growing-graph.ts';
import type { Recorded } from './recorded.ts';
import { drained } from '../steps.ts';

/**
 * The estate's graph from what was recorded: identities are decided (a SPIFFE ID in the data wins, then the
 * service account, then the workload's name), both sides of a call are counted once, and declared accesses are
 * laid over observed ones. The result does not depend on the order of its input.
 */
export function buildGraph(recorded: Recorded): AccessGraph {
  return drained(graphSteps(recorded));
}

/** The same in steps of a fraction of a millisecond: between two of them other work may be done. */
export function* graphSteps(recorded: Recorded): Generator<void, AccessGraph> {
  const growing = yield* GrowingGraph.of(recorded);
  return growing.graph(recorded);
}
