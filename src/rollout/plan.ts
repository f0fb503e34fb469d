import type { Enforcement, EnforcementPoint, Release, WorkloadRollout } from './enforcement.ts';
import { releaseAt } from './release.ts';
import { isInShare } from './share.ts';

/**
 * What one point is to do for its workload now. Nothing is enforced before the first promotion; in a canary the points
 * of the share enforce the target and the others what was in force before; a release takes enforcement away and
 * nothing else.
 */
export function enforcementAt(
  rollout: WorkloadRollout,
  point: EnforcementPoint,
  releases: readonly Release[],
  now: number,
): Enforcement {
  const { workload, authentication, stage, target, targetVersion } = rollout;
  const versioned = targetVersion === undefined ? { target } : { target, targetVersion };
  const shipped = stage === 'draft' ? {} : versioned;
  const base = { workload, authentication, stage, ...shipped };
  const enforced = enforcedAt(rollout, point);
  if (enforced === undefined) return base;
  const release = releaseAt(releases, rollout, point, now);
  if (release === undefined) return { ...base, enforced };
  const { id, until } = release;
  return { ...base, released: { id, ...(until === undefined ? {} : { until }) } };
}

/** The set that bites at a point as long as nothing is released; undefined where none does. */
function enforcedAt(rollout: WorkloadRollout, point: EnforcementPoint) {
  const { stage, target, enforced, share } = rollout;
  if (stage === 'enforced' || (stage === 'canary' && isInShare(point, share))) return target;
  return enforced;
}
