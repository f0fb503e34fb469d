import type { Workload } from '../../access/index.ts';
import { TIERS, type Tier } from '../../policy/index.ts';

/** The tier that a workload's label or annotation `interlock.dev/tier` names; undefined for none, and for one that is none. */
export function tierOf(workload: Workload | undefined): Tier | undefined {
  const mark = workload?.marks['interlock.dev/tier'];
  return TIERS.find((known) => known === mark);
}
