import { hash } from 'node:crypto';
import type { RolloutShown } from '../../api/index.ts';
import type { SpiffeId } from '../../access/index.ts';
import type { WorkloadRollout } from '../../rollout/index.ts';
import type { DecidedOn } from '../enforcement/rollout-orders.ts';
import type { Rollouts } from '../enforcement/rollouts.ts';
import { checkVersion } from './tags.ts';

/** A rollout is never changed, only replaced by another one. */
const versions = new WeakMap<WorkloadRollout, string>();

/** Names the content of a rollout. */
export function versionOf(rollout: WorkloadRollout): string {
  let version = versions.get(rollout);
  if (version === undefined) {
    version = hash('sha256', JSON.stringify(rollout), 'base64url').slice(0, 22);
    versions.set(rollout, version);
  }
  return version;
}

/** A rollout as lists show it: its policies by name. */
export function rolloutShown(rollout: WorkloadRollout): RolloutShown {
  const { workload, tier, stage, target, targetVersion, enforced, share, authentication, since, by } =
    rollout;
  const { held, floor } = rollout;
  const names = (policies: WorkloadRollout['target']) => policies.map(({ metadata }) => metadata.name);
  return {
    workload,
    version: versionOf(rollout),
    tier,
    stage,
    target: names(target),
    targetVersion,
    ...(enforced === undefined ? {} : { enforced: names(enforced) }),
    share,
    authentication,
    since,
    by,
    ...(held === undefined ? {} : { held }),
    ...(floor === undefined ? {} : { floor }),
  };
}

/** What a change was decided on, where it says so. Throws `conflict` where that is not what there is now. */
export function decidedOn(
  rollouts: Rollouts,
  workload: SpiffeId,
  ifMatch: readonly string[] | undefined,
): DecidedOn {
  if (ifMatch === undefined) return {};
  const rollout = rollouts.get(workload);
  checkVersion(ifMatch, versionOf(rollout), workload);
  return { decidedOn: rollout };
}
