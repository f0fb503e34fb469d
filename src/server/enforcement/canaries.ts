import { actionText, principalText, type SpiffeId } from '../../access/index.ts';
import {
  type CanaryObservation,
  canaryStep,
  type CanaryPlan,
  type CanaryStep,
  DEFAULT_CANARY,
  isInShare,
  type WorkloadRollout,
} from '../../rollout/index.ts';
import type { Timers } from '../timers.ts';
import type { EvidenceIntake, Reporter, SeenFlip } from './evidence/intake.ts';
import type { Points } from './points.ts';
import type { Rollouts } from './rollouts.ts';

/** How often canaries are looked at when nothing happens. */
const LOOK_MS = 1000;

export interface CanariesOptions {
  readonly rollouts: Rollouts;
  readonly points: Points;
  readonly evidence: EvidenceIntake;
  readonly timers: Timers;
  readonly plan?: CanaryPlan | undefined;
  readonly onStep: (workload: SpiffeId, step: CanaryStep) => void;
  readonly onFault: (error: unknown) => void;
}

/** Widens canaries by themselves, and takes one back at the first refusal of a known-good access. */
export class Canaries {
  readonly #options: CanariesOptions;
  /** Refused known-good requests in the present step. */
  readonly #denied = new Map<SpiffeId, { count: number; example: string; since: number }>();
  readonly #moving = new Set<SpiffeId>();
  readonly #unsubscribe: () => void;
  #cancel = () => {};

  constructor(options: CanariesOptions) {
    this.#options = options;
    this.#unsubscribe = options.evidence.onFlip((flip, point) => this.#flip(flip, point));
    this.#arm();
  }

  /** What a canary waits for, or what it would do now. */
  next(rollout: WorkloadRollout): CanaryStep {
    const { timers, plan = DEFAULT_CANARY } = this.#options;
    return canaryStep(rollout, this.#observe(rollout), timers.now(), plan);
  }

  stop(): void {
    this.#cancel();
    this.#unsubscribe();
  }

  #arm(): void {
    this.#cancel = this.#options.timers.after(LOOK_MS, () => {
      for (const rollout of this.#options.rollouts.all.values())
        if (rollout.stage === 'canary') void this.#look(rollout);
      this.#arm();
    });
  }

  #flip(flip: SeenFlip, point: Reporter): void {
    const rollout = this.#options.rollouts.all.get(flip.to);
    if (rollout?.stage !== 'canary' || !flip.refused || flip.lastSeen < rollout.since) return;
    if (!isInShare({ workload: flip.to, instance: point.instance }, rollout.share)) return;
    if (!this.#options.evidence.isKnownGood(flip.from, flip.to, flip.action)) return;
    const known = this.#denied.get(flip.to);
    const count = (known?.since === rollout.since ? known.count : 0) + flip.count;
    const example = `${principalText(flip.from)} ${actionText(flip.action)}`;
    this.#denied.set(flip.to, { count, example, since: rollout.since });
    void this.#look(rollout);
  }

  async #look(rollout: WorkloadRollout): Promise<void> {
    const { rollouts, onStep, onFault } = this.#options;
    const { workload } = rollout;
    if (this.#moving.has(workload)) return;
    const step = this.next(rollout);
    if (step.kind === 'wait') return;
    this.#moving.add(workload);
    try {
      const decidedOn = rollout;
      if (step.kind === 'fall-back')
        await rollouts.move('system', workload, 'shadow', { why: step.why, decidedOn });
      else if (step.kind === 'widen')
        await rollouts.move('system', workload, 'canary', { share: step.share, decidedOn });
      else await rollouts.move('system', workload, 'enforced', { decidedOn });
      this.#denied.delete(workload);
      onStep(workload, step);
    } catch (error) {
      // Somebody else moved it meanwhile, or the store is away: looked at again soon.
      onFault(error);
    } finally {
      this.#moving.delete(workload);
    }
  }

  #observe({ workload, share, since }: WorkloadRollout): CanaryObservation {
    const { points, evidence } = this.#options;
    const all = points.of(workload).filter(({ connected }) => connected);
    const inShare = all.filter(({ instance }) => isInShare({ workload, instance }, share));
    const denied = this.#denied.get(workload);
    const counts = denied?.since === since ? denied : undefined;
    return {
      points: inShare.length,
      allPoints: all.length,
      unconfirmed: inShare.filter(({ applied, wanted }) => applied < wanted).length,
      requests: inShare.reduce((sum, { key }) => sum + evidence.seen(key, workload, since).requests, 0),
      deniedGood: counts?.count ?? 0,
      ...(counts === undefined ? {} : { example: counts.example }),
    };
  }
}
