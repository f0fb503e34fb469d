import { kubernetesNameOf } from '../access/index.ts';
import type { EnforcementPoint, Release, ReleaseScope, WorkloadRollout } from './enforcement.ts';

/** Whether a release is in force at a time: it has begun, and was not ended by its time. A drill never is. */
export function isInForce(release: Release, now: number): boolean {
  return release.drill !== true && (release.until === undefined || now < release.until);
}

/** Whether a scope covers a workload at a point. */
export function covers(scope: ReleaseScope, rollout: WorkloadRollout, point: EnforcementPoint): boolean {
  switch (scope.kind) {
    case 'all':
      return true;
    case 'cluster':
      return point.cluster === scope.cluster;
    case 'namespace':
      return kubernetesNameOf(rollout.workload)?.namespace === scope.namespace;
    case 'workload':
      return rollout.workload === scope.workload;
    case 'policy':
      return [...rollout.target, ...(rollout.enforced ?? [])].some(
        ({ metadata }) => metadata.name === scope.policy,
      );
  }
}

/** The release that is in force for a workload at a point; of several the one that lasts longest. */
export function releaseAt(
  releases: readonly Release[],
  rollout: WorkloadRollout,
  point: EnforcementPoint,
  now: number,
): Release | undefined {
  let longest: Release | undefined;
  for (const release of releases) {
    if (!isInForce(release, now) || !covers(release.scope, rollout, point)) continue;
    if (longest === undefined || endOf(release) > endOf(longest)) longest = release;
  }
  return longest;
}

function endOf({ until }: Release): number {
  return until ?? Number.POSITIVE_INFINITY;
}

/** The scope as people read it: `everything`, `namespace shop`. */
export function scopeText(scope: ReleaseScope): string {
  switch (scope.kind) {
    case 'all':
      return 'everything';
    case 'cluster':
      return `cluster ${scope.cluster}`;
    case 'namespace':
      return `namespace ${scope.namespace}`;
    case 'workload':
      return scope.workload;
    case 'policy':
      return `policy ${scope.policy}`;
  }
}
