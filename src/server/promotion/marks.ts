import { isInterlockError, type SpiffeId } from '../../access/index.ts';
import { withFloor } from '../../rollout/index.ts';
import type { Rollouts } from '../enforcement/rollouts.ts';
import type { Reviews } from '../review/index.ts';
import type { Timers } from '../timers.ts';

/** How often marks are looked at, milliseconds, and how many are noted in one look. */
const LOOK_MS = 10_000;
const MOST = 100;

export interface NotedMarksOptions {
  readonly rollouts: Pick<Rollouts, 'all' | 'noteMark'>;
  readonly reviews: Pick<Reviews, 'markOf'>;
  readonly timers: Timers;
  /** Of several control planes one does it. */
  readonly isLeader: () => boolean;
  readonly onFault: (error: unknown) => void;
}

/**
 * Keeps the tiers that workloads are marked with: a label that is taken away, or a manifest that is read without it, makes no
 * workload laxer. Gives what ends it.
 */
export function noteMarks({ rollouts, reviews, timers, isLeader, onFault }: NotedMarksOptions): () => void {
  let isBusy = false;
  let isStopped = false;
  const note = async (workloads: readonly SpiffeId[]) => {
    for (const workload of workloads) {
      if (isStopped) return;
      try {
        await rollouts.noteMark(workload);
      } catch (error) {
        // Somebody else was faster: it is looked at again.
        if (!isInterlockError(error) || error.code !== 'conflict') onFault(error);
      }
    }
  };
  const look = () => {
    cancel = timers.after(LOOK_MS, look);
    if (isBusy || !isLeader()) return;
    const due = [...rollouts.all.values()]
      .filter((rollout) => withFloor(rollout, reviews.markOf(rollout.workload)) !== rollout)
      .slice(0, MOST)
      .map(({ workload }) => workload);
    if (due.length === 0) return;
    isBusy = true;
    void note(due).finally(() => (isBusy = false));
  };
  let cancel = timers.after(LOOK_MS, look);
  return () => {
    isStopped = true;
    cancel();
  };
}
