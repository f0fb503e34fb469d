import { InterlockError, type Workload } from '../access/index.ts';
import { TIERS, type Tier } from '../policy/index.ts';

const TIER_MARK = 'interlock.dev/tier';

/** The tier that a workload's label or annotation `interlock.dev/tier` names. Throws `invalid_document`. */
export function tierOfWorkload({ marks, namespace, name }: Workload): Tier | undefined {
  const mark = marks[TIER_MARK];
  if (mark === undefined) return undefined;
  const tier = TIERS.find((known) => known === mark);
  if (tier === undefined) {
    throw new InterlockError(
      'invalid_document',
      `${namespace}/${name}`,
      `${namespace}/${name} is marked ${TIER_MARK}: ${mark}, and the tiers are ${TIERS.join(', ')}: correct the manifest and observe it again`,
    );
  }
  return tier;
}
