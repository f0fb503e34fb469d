import type { SpiffeId } from '../../access/index.ts';
import { exceptionsEnding } from '../../policy/index.ts';
import type { WorkloadRollout } from '../../rollout/index.ts';
import { plain } from './notice.ts';
import type { Standing } from './standing.ts';

/** Exceptions of target sets and of those in force that end within a week: told then, and once more on their last day. */
export function exceptionsStanding(
  rollouts: ReadonlyMap<SpiffeId, WorkloadRollout>,
  now: number,
): Standing[] {
  const found = new Map<string, Standing>();
  for (const { workload, target, enforced = [] } of rollouts.values()) {
    for (const { key, policy, rule, until, reason, noticeDays } of exceptionsEnding(
      [...target, ...enforced],
      now,
    )) {
      const left = noticeDays === 1 ? 'within a day' : `within ${noticeDays} days`;
      const why = reason === undefined ? '' : ` (${plain(reason, 200)})`;
      found.set(`exception ${key}`, {
        key: `exception ${key}`,
        notice: {
          type: 'exception-ending',
          at: now,
          subject: workload,
          summary: `the exception ${policy}/${rule}${why} on ${workload} ends ${left}, ${until}: renew it, or replace it`,
          details: { policy, rule, until, ...(reason === undefined ? {} : { reason: plain(reason, 200) }) },
          scope: { kind: 'workload', workload },
        },
      });
    }
  }
  return [...found.values()];
}
