import { isInterlockError, type SpiffeId } from '../../access/index.ts';
import { missingOf, type WorkloadRollout } from '../../rollout/index.ts';
import type { Enforcing } from '../enforcement/enforcing.ts';
import { SteadyClock } from '../steady-clock.ts';
import type { Timers } from '../timers.ts';
import type { Gatekeeper } from './gatekeeper.ts';

const HOUR_MS = 3_600_000;
/** How often experimental workloads are looked at, and how many of them in one look: judging one takes a while. */
const LOOK_MS = 10_000;
const MOST = 20;

export interface ByItselfOptions {
  readonly enforcing: Pick<Enforcing, 'rollouts' | 'rules'>;
  readonly gatekeeper: Pick<Gatekeeper, 'tierOf' | 'look' | 'checks' | 'guardOf'>;
  readonly timers: Timers;
  /** Of several control planes one does it. */
  readonly isLeader: () => boolean;
  readonly onMoved: (workload: SpiffeId) => void;
  readonly onFault: (error: unknown) => void;
}

/**
 * Moves experimental workloads from shadow to the first step of a canary once every check is passed; from there canaries go
 * on by themselves. Never one that is held: by a person, because a person has moved it back, or because its canary fell back.
 */
export class ByItself {
  readonly #options: ByItselfOptions;
  /** The clock alone would prove hours in shadow that never were: they are counted from when it goes steadily. */
  readonly #clock: SteadyClock;
  /** The last one that was looked at: the next look goes on behind it. */
  #last: SpiffeId | undefined;
  #cancel = () => {};
  #isBusy = false;
  #isStopped = false;

  constructor(options: ByItselfOptions) {
    this.#options = options;
    this.#clock = new SteadyClock(options.timers, LOOK_MS);
    this.#arm();
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancel();
  }

  #arm(): void {
    this.#cancel = this.#options.timers.after(LOOK_MS, () => {
      this.#clock.look();
      this.#arm();
      if (this.#isBusy || !this.#options.isLeader()) return;
      this.#isBusy = true;
      void this.#look().finally(() => (this.#isBusy = false));
    });
  }

  async #look(): Promise<void> {
    for (const workload of this.#due()) {
      this.#last = workload;
      try {
        await this.#try(workload);
      } catch (error) {
        // Of a conflict nobody needs to hear: somebody else has moved or changed it, and it is looked at again.
        if (!isInterlockError(error) || error.code !== 'conflict') this.#options.onFault(error);
      }
      if (this.#isStopped) return;
    }
  }

  /** Those that may be ready, by what costs nothing to know; the first ones behind the last that was looked at. */
  #due(): readonly SpiffeId[] {
    const { rollouts } = this.#options.enforcing;
    const all = [...rollouts.all.values()].filter((rollout) => this.#mayBeReady(rollout));
    const ids = all.map(({ workload }) => workload).sort();
    const last = this.#last;
    const next = last === undefined ? 0 : ids.findIndex((id) => id > last);
    return next <= 0 ? ids.slice(0, MOST) : [...ids.slice(next), ...ids.slice(0, next)].slice(0, MOST);
  }

  #mayBeReady({ workload, stage, target, held, shadowSince, since }: WorkloadRollout): boolean {
    const { gatekeeper, enforcing, timers } = this.#options;
    if (stage !== 'shadow' || held !== undefined || target.length === 0) return false;
    if (gatekeeper.tierOf(workload) !== 'experimental') return false;
    const begun = Math.max(shadowSince ?? since, this.#clock.since);
    return timers.now() - begun >= enforcing.rules.gates.experimental.shadowHours * HOUR_MS;
  }

  async #try(workload: SpiffeId): Promise<void> {
    const { gatekeeper, enforcing, onMoved } = this.#options;
    const looked = await gatekeeper.look(workload);
    const { rollout } = looked;
    if (rollout === undefined || !this.#mayBeReady(rollout)) return;
    if (missingOf(gatekeeper.checks(looked)).length > 0) return;
    const [share = 1] = enforcing.rules.canary.steps;
    // Judged once more in the turn of the move: others may have come before it.
    const guard = gatekeeper.guardOf(looked, { who: 'system', mayGoOn: false }, { to: 'canary', share });
    await enforcing.rollouts.move('system', workload, 'canary', { share, guard });
    onMoved(workload);
  }
}
