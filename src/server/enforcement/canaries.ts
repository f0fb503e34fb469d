import {
  actionText,
  InterlockError,
  isInterlockError,
  principalText,
  type SpiffeId,
} from '../../access/index.ts';
import { type AccessPolicy, compile, decide, type PolicySet, type Tier } from '../../policy/index.ts';
import {
  type CanaryObservation,
  canaryStep,
  type CanaryPlan,
  type CanaryStep,
  DEFAULT_CANARY,
  isDeniedByEnd,
  isDeniedOnPurpose,
  isInShare,
  outgrownGates,
  questionKey,
  releaseAt,
  type WorkloadRollout,
} from '../../rollout/index.ts';
import { SteadyClock } from '../steady-clock.ts';
import type { Timers } from '../timers.ts';
import type { EvidenceIntake, Reporter, SeenFlip } from './evidence/intake.ts';
import type { Fleet } from './fleet.ts';
import type { Point } from './points.ts';
import type { Releases } from './releases.ts';
import type { Details, Guarded } from './rollout-orders.ts';
import type { Rollouts } from './rollouts.ts';

/** How often canaries are looked at when nothing happens. */
const LOOK_MS = 1000;

/** What people have decided of workloads. */
export interface Decided {
  /** What they have said no to: its refusal takes no canary back. */
  readonly rejected: (workload: SpiffeId) => ReadonlyMap<string, unknown>;
  /** The tier that a promotion is judged by. */
  readonly tierOf: (workload: SpiffeId) => Tier;
}

export interface CanariesOptions {
  readonly rollouts: Rollouts;
  readonly points: Pick<Fleet, 'of'>;
  readonly releases: Pick<Releases, 'inForce'>;
  readonly evidence: EvidenceIntake;
  readonly timers: Timers;
  readonly plan?: CanaryPlan | undefined;
  /** Whether this control plane takes the steps forward; always where absent. Each one may take a canary back. */
  readonly isLeader?: (() => boolean) | undefined;
  readonly onStep: (workload: SpiffeId, step: CanaryStep) => void;
  readonly onFault: (error: unknown) => void;
}

/** Widens canaries by themselves, and takes one back at the first refusal of a known-good access. */
export class Canaries {
  readonly #options: CanariesOptions;
  /** Refused known-good requests in the present step. */
  readonly #denied = new Map<SpiffeId, { count: number; example: string; since: number }>();
  /** Sets in force and targets, as they were compiled. */
  readonly #sets = new WeakMap<readonly AccessPolicy[], PolicySet>();
  /** When a canary was last seen released: what was judged before was not refused by it. */
  readonly #releasedAt = new Map<SpiffeId, number>();
  readonly #moving = new Set<SpiffeId>();
  /** When each rollout came to be known here, by the clock of here. */
  readonly #known = new WeakMap<WorkloadRollout, number>();
  readonly #clock: SteadyClock;
  #decided: Decided | undefined;
  readonly #unsubscribe: () => void;
  #cancel = () => {};

  constructor(options: CanariesOptions) {
    this.#options = options;
    this.#clock = new SteadyClock(options.timers, LOOK_MS);
    this.#unsubscribe = options.evidence.onFlip((flip, point) => this.#flip(flip, point));
    this.#arm();
  }

  /** Who knows what people have decided. Until then no canary goes forward: how strictly it is judged is not known. */
  decidedBy(decided: Decided): void {
    this.#decided = decided;
  }

  /** What a canary waits for, or what it would do now. */
  next(rollout: WorkloadRollout): CanaryStep {
    const { timers, plan = DEFAULT_CANARY } = this.#options;
    const seen = this.#observe(rollout);
    if (this.#decided === undefined && seen.deniedGood === 0)
      return { kind: 'wait', why: 'the control plane is starting' };
    return canaryStep(rollout, seen, timers.now(), plan);
  }

  stop(): void {
    this.#cancel();
    this.#unsubscribe();
  }

  #arm(): void {
    this.#cancel = this.#options.timers.after(LOOK_MS, () => {
      this.#clock.look();
      for (const rollout of this.#options.rollouts.all.values())
        if (rollout.stage === 'canary') void this.#look(rollout);
      this.#arm();
    });
  }

  #flip(flip: SeenFlip, point: Reporter): void {
    const rollout = this.#options.rollouts.all.get(flip.to);
    if (rollout?.stage !== 'canary' || !flip.refused || flip.lastSeen < this.#begun(rollout)) return;
    if (!isInShare({ workload: flip.to, instance: point.instance }, rollout.share)) return;
    // Refused by a set that this step has replaced, or because somebody has decided so.
    if (flip.after.allowed || isDeniedOnPurpose(flip) || this.#isEnded(flip, rollout)) return;
    if (this.#decided?.rejected(flip.to).has(questionKey(flip.from, flip.action)) === true) return;
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
    const set = this.#setOf(enforced);
    // By the time of now: what an exception allowed that is over was denied on purpose.
    const verdict = decide(set, { from, to, action }, this.#options.timers.now());
    return verdict.allowed && verdict.decidedBy === 'rule' && verdict.conditionUnknown !== true;
  }

  /** The exception that allowed it has ended during the canary: that was decided with the exception. */
  #isEnded({ from, to, action }: SeenFlip, { target, canarySince, since }: WorkloadRollout): boolean {
    const times = { since: canarySince ?? since, now: this.#options.timers.now() };
    return isDeniedByEnd(this.#setOf(target), { from, to, action }, times);
  }

  #setOf(policies: readonly AccessPolicy[]): PolicySet {
    let set = this.#sets.get(policies);
    if (set === undefined) this.#sets.set(policies, (set = compile(policies)));
    return set;
  }

  async #look(rollout: WorkloadRollout): Promise<void> {
    const { rollouts, isLeader = () => true, onStep, onFault } = this.#options;
    const { workload } = rollout;
    if (this.#moving.has(workload)) return;
    const step = this.next(rollout);
    if (step.kind === 'wait') return;
    // Whoever hears of a refusal takes it back at once: of two who do, one is told of the other.
    if (step.kind !== 'fall-back' && !isLeader()) return;
    this.#moving.add(workload);
    try {
      const decidedOn = rollout;
      const note = this.#note(rollout);
      const guard = () => this.#checkForward(rollout);
      let widened: WorkloadRollout | undefined;
      if (step.kind === 'fall-back')
        await rollouts.move('system', workload, 'shadow', { why: step.why, decidedOn, note });
      else if (step.kind === 'widen')
        widened = await rollouts.move('system', workload, 'canary', {
          share: step.share,
          decidedOn,
          note,
          guard,
        });
      else await rollouts.move('system', workload, 'enforced', { decidedOn, note, guard });
      const denied = this.#denied.get(workload);
      this.#denied.delete(workload);
      // Refused while the step was written: the next one is taken back for it.
      if (widened !== undefined && denied?.since === rollout.since)
        this.#denied.set(workload, { ...denied, since: widened.since });
      this.#releasedAt.delete(workload);
      onStep(workload, step);
    } catch (error) {
      // Looked at again soon. That somebody else moved it meanwhile, here or at another control plane, is no fault.
      if (!isInterlockError(error) || error.code !== 'conflict') onFault(error);
    } finally {
      this.#moving.delete(workload);
    }
  }

  /** Something may have been refused, or the workload been marked, while the step waited for its turn. Throws `conflict`. */
  #checkForward(rollout: WorkloadRollout): Guarded {
    const { workload, since } = rollout;
    if (this.#denied.get(workload)?.since === since)
      throw new InterlockError('conflict', workload, `${workload} has refused what is known to be good`);
    const outgrown = outgrownGates(rollout, this.#tierOf(workload));
    if (outgrown !== undefined) throw new InterlockError('conflict', workload, `${workload}: ${outgrown}`);
    return { note: {} };
  }

  #tierOf(workload: SpiffeId): Tier {
    return this.#decided?.tierOf(workload) ?? 'critical';
  }

  /** When the step began, by the clock of here: that of another replica may be ahead, and this one may have been set back. */
  #begun(rollout: WorkloadRollout): number {
    const now = this.#options.timers.now();
    let known = this.#known.get(rollout);
    if (known === undefined) this.#known.set(rollout, (known = now));
    const at = Math.min(rollout.since, known);
    return at <= now ? at : Math.min(this.#clock.since, now);
  }

  /** What a step rests on, for the audit log. */
  #note(rollout: WorkloadRollout): Details {
    const { points, allPoints, requests, deniedGood, since } = this.#observe(rollout);
    return { canary: { share: rollout.share, points, allPoints, requests, deniedGood, since } };
  }

  #observe(rollout: WorkloadRollout): CanaryObservation {
    const { workload, share, since } = rollout;
    const { points, evidence, timers, plan = DEFAULT_CANARY } = this.#options;
    const known = points.of(workload);
    // What one that is not heard of has in force nobody knows: it is waited for.
    const isThere = ({ connected, unheard }: Point) => connected || unheard === true;
    const all = known.filter(isThere);
    // One that has just left may have left because of this step: its share is not empty, and it is given time to come back.
    const justLeft = known.filter((point) => {
      const away = timers.now() - point.since;
      return !isThere(point) && away >= 0 && away < plan.stepMs;
    });
    const inShare = [...all, ...justLeft].filter(({ instance }) => isInShare({ workload, instance }, share));
    const denied = this.#denied.get(workload);
    const counts = denied?.since === since ? denied : undefined;
    const released = this.#released(rollout, all);
    if (released !== undefined) this.#releasedAt.set(workload, timers.now());
    // While the clock was set, nothing was proved.
    const from = Math.max(this.#begun(rollout), this.#clock.since, this.#releasedAt.get(workload) ?? 0);
    return {
      since: from,
      ...(released === undefined ? {} : { released }),
      points: inShare.length,
      allPoints: all.length,
      unconfirmed: inShare.filter(({ applied, wanted, connected }) => applied < wanted || !connected).length,
      requests: inShare.reduce((sum, { key }) => sum + evidence.seen(key, workload, from).requests, 0),
      deniedGood: counts?.count ?? 0,
      tier: this.#tierOf(workload),
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
