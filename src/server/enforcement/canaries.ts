import { actionText, principalText, type SpiffeId } from '../../access/index.ts';
import { type AccessPolicy, compile, decide, type PolicySet } from '../../policy/index.ts';
import {
  type CanaryObservation,
  canaryStep,
  type CanaryPlan,
  type CanaryStep,
  DEFAULT_CANARY,
  isDeniedOnPurpose,
  isInShare,
  releaseAt,
  type WorkloadRollout,
} from '../../rollout/index.ts';
import type { Timers } from '../timers.ts';
import type { EvidenceIntake, Reporter, SeenFlip } from './evidence/intake.ts';
import type { Point, Points } from './points.ts';
import type { Releases } from './releases.ts';
import type { Rollouts } from './rollouts.ts';

/** How often canaries are looked at when nothing happens. */
const LOOK_MS = 1000;

export interface CanariesOptions {
  readonly rollouts: Rollouts;
  readonly points: Points;
  readonly releases: Pick<Releases, 'inForce'>;
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
  /** Sets in force, as they were compiled. */
  readonly #sets = new WeakMap<readonly AccessPolicy[], PolicySet>();
  /** When a canary was last seen released: what was judged before was not refused by it. */
  readonly #releasedAt = new Map<SpiffeId, number>();
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
    // Refused by a set that this step has replaced, or because somebody has decided so.
    if (flip.after.allowed || isDeniedOnPurpose(flip)) return;
    if (!this.#isKnownGood(flip, rollout)) return;
    const known = this.#denied.get(flip.to);
    const count = (known?.since === rollout.since ? known.count : 0) + flip.count;
    const example = `${principalText(flip.from)} ${actionText(flip.action)}`;
    this.#denied.set(flip.to, { count, example, since: rollout.since });
    void this.#look(rollout);
  }

  /** It went well before, or a rule of the set that the other proxies have in force allows it. */
  #isKnownGood({ from, to, action }: SeenFlip, { enforced }: WorkloadRollout): boolean {
    if (this.#options.evidence.isKnownGood(from, to, action)) return true;
    if (enforced === undefined) return false;
    let set = this.#sets.get(enforced);
    if (set === undefined) this.#sets.set(enforced, (set = compile(enforced)));
    const verdict = decide(set, { from, to, action });
    return verdict.allowed && verdict.decidedBy === 'rule' && verdict.conditionUnknown !== true;
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
      this.#releasedAt.delete(workload);
      onStep(workload, step);
    } catch (error) {
      // Somebody else moved it meanwhile, or the store is away: looked at again soon.
      onFault(error);
    } finally {
      this.#moving.delete(workload);
    }
  }

  #observe(rollout: WorkloadRollout): CanaryObservation {
    const { workload, share, since } = rollout;
    const { points, evidence, timers } = this.#options;
    const all = points.of(workload).filter(({ connected }) => connected);
    const inShare = all.filter(({ instance }) => isInShare({ workload, instance }, share));
    const denied = this.#denied.get(workload);
    const counts = denied?.since === since ? denied : undefined;
    const released = this.#released(rollout, all);
    if (released !== undefined) this.#releasedAt.set(workload, timers.now());
    const from = Math.max(since, this.#releasedAt.get(workload) ?? 0);
    return {
      since: from,
      ...(released === undefined ? {} : { released }),
      points: inShare.length,
      allPoints: all.length,
      unconfirmed: inShare.filter(({ applied, wanted }) => applied < wanted).length,
      requests: inShare.reduce((sum, { key }) => sum + evidence.seen(key, workload, from).requests, 0),
      deniedGood: counts?.count ?? 0,
      ...(counts === undefined ? {} : { example: counts.example }),
    };
  }

  /** The release that concerns the workload at one of its points, in words. */
  #released(rollout: WorkloadRollout, points: readonly Point[]): string | undefined {
    const { releases, timers } = this.#options;
    const { inForce } = releases;
    for (const { instance, cluster, key, releasedHere = [] } of points) {
      const isHere = releasedHere.some(({ workload = rollout.workload }) => workload === rollout.workload);
      if (isHere) return `released by hand at ${key}`;
      const point = { workload: rollout.workload, instance, ...(cluster === undefined ? {} : { cluster }) };
      const release = releaseAt(inForce, rollout, point, timers.now());
      if (release !== undefined) return `released: ${release.id}`;
    }
    return undefined;
  }
}
