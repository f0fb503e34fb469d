import type { SpiffeId } from '../access/index.ts';
import { accessUnits, propose, readiness } from '../learning/index.ts';
import type { Tier } from '../policy/index.ts';
import { judge, type TierVerdict } from '../rollout/index.ts';
import { loadEstate, stateExists } from './state.ts';

/** The evidence of one workload, judged for a tier; undefined where the state holds no evidence at all. */
export async function judgedEvidence(
  state: string,
  workload: SpiffeId,
  tier: Tier,
  now: number,
): Promise<TierVerdict | undefined> {
  if (!stateExists(state)) return undefined;
  const { graph } = await loadEstate(state);
  // No recording and no proxy has named it.
  if (!graph.workloads.has(workload)) return undefined;
  const { doubts } = propose(graph, { to: workload });
  const facts = readiness(graph, workload, {
    now: Number.isFinite(graph.coverage.lastSeen) ? graph.coverage.lastSeen : now,
    units: accessUnits(graph, workload),
    doubts: doubts.map(({ id, reasons }) => ({ id, reasons })),
  });
  return judge(facts, tier);
}
