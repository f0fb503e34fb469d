import { InterlockError, type SpiffeId } from '../../access/index.ts';
import type { Readiness } from '../../learning/index.ts';
import type { Stage, Tier } from '../../policy/index.ts';
import {
  type CheckedFacts,
  isPromotion,
  missingOf,
  personsOf,
  type PromotionCheck,
  promotionChecks,
  type PromotionFacts,
  type WorkloadRollout,
} from '../../rollout/index.ts';
import type { Enforcing } from '../enforcement/enforcing.ts';
import { lastDrillOf, preflightFacts, type SvidCount, svidsOf } from '../enforcement/preflight-facts.ts';
import type { Details, Guarded, MoveOrder } from '../enforcement/rollout-orders.ts';
import type { Estate } from '../estate/index.ts';
import type { ControlPlane } from '../identity/control-plane.ts';
import type { Actor } from '../identity/recorder.ts';
import type { Reviews } from '../review/index.ts';
import type { Timers } from '../timers.ts';
import { CoveredGraph } from './covered.ts';
import { evidenceOf } from './evidence.ts';

/** Characters of a reason that the audit log keeps. */
const MOST_REASON = 200;

export interface GatekeeperOptions {
  readonly enforcing: Enforcing;
  readonly plane: ControlPlane;
  readonly reviews: Reviews;
  readonly estate: Estate;
  readonly timers: Timers;
}

/** Who moves a workload. */
export interface Mover {
  readonly who: Actor;
  /** Whether they may go on though checks are not passed: the role approver. */
  readonly mayGoOn: boolean;
}

/** What somebody asks for. */
export interface Wanted {
  readonly to: Stage;
  readonly share?: number | undefined;
  readonly why?: string | undefined;
  /** Why it is to go on though checks are not passed. */
  readonly anyway?: string | undefined;
}

/** What takes time to find out about one workload, and the rollout that it was asked for. */
export interface Looked {
  readonly workload: SpiffeId;
  readonly rollout: WorkloadRollout | undefined;
  /** Absent where nothing names the workload. */
  readonly readiness: Readiness | undefined;
  readonly svids: SvidCount;
}

/**
 * Judges promotions. What takes time is read before the turn of a move, and holds for the rollout that was looked at alone;
 * what can change meanwhile (approvals, flips, proxies, drills) is judged in the turn itself.
 */
export class Gatekeeper {
  readonly #options: GatekeeperOptions;
  readonly #covered: CoveredGraph;

  constructor(options: GatekeeperOptions) {
    this.#options = options;
    this.#covered = new CoveredGraph(options.estate, options.timers);
  }

  /** The tier by whose gates a workload is promoted. */
  tierOf(workload: SpiffeId): Tier {
    return this.#options.reviews.tierOf(workload);
  }

  /** What is known of a workload; undefined where nothing names it. Throws what the store throws. */
  async #readiness(workload: SpiffeId): Promise<Readiness | undefined> {
    const { reviews, enforcing, timers } = this.#options;
    const graph = await this.#covered.read();
    const rollout = enforcing.rollouts.all.get(workload);
    return evidenceOf(graph, workload, { reviews, rollout, now: timers.now() });
  }

  /** Reads what takes time. Throws what the store throws. */
  async look(workload: SpiffeId): Promise<Looked> {
    const { enforcing, plane, timers } = this.#options;
    const rollout = enforcing.rollouts.all.get(workload);
    const [readiness, svids] = await Promise.all([
      this.#readiness(workload),
      svidsOf(plane, timers, workload),
    ]);
    return { workload, rollout, readiness, svids };
  }

  /** What a promotion is judged on, beside the evidence. */
  promotion(workload: SpiffeId, mover?: Actor): PromotionFacts {
    const { enforcing, reviews, timers } = this.#options;
    const rollout = enforcing.rollouts.all.get(workload);
    const { target } = reviews.approvalState(workload);
    const lastDrill = lastDrillOf(enforcing);
    const shadowSince = shadowSinceOf(rollout);
    return {
      now: timers.now(),
      ...(shadowSince === undefined ? {} : { shadowSince }),
      approvals: reviews.approvalsOf(workload, target),
      authors: rollout?.authors ?? [],
      people: reviews.people,
      ...(mover === undefined ? {} : { mover }),
      ...(lastDrill === undefined ? {} : { lastDrill }),
    };
  }

  /** All that is known now, for the checks. It does not wait. */
  facts({ workload, readiness, svids }: Looked, mover?: Actor): CheckedFacts {
    const { enforcing, plane, timers } = this.#options;
    const tier = this.tierOf(workload);
    const rejected = this.#options.reviews.rejected(workload);
    const { lastFlip, ...facts } = preflightFacts(enforcing, plane, timers, workload, {
      svids,
      tier,
      rejected,
    });
    const flipped = lastFlip === undefined ? {} : { lastFlip };
    const promotion = { ...this.promotion(workload, mover), ...flipped };
    const reason = this.#options.reviews.tierReason(workload);
    return {
      ...facts,
      ...(reason === undefined ? {} : { tierReason: reason }),
      promotion,
      ...(readiness && { evidence: readiness }),
    };
  }

  /** Every check of a promotion of a workload. It does not wait. */
  checks(looked: Looked, mover?: Actor): PromotionCheck[] {
    return promotionChecks(this.facts(looked, mover), this.#options.enforcing.rules.gates);
  }

  /**
   * An order to move a workload that is refused in its turn where checks are not passed. Throws what the store throws; the
   * guard of the order throws `conflict` with the checks, and `forbidden` for whoever may not go on without them.
   */
  async order(mover: Mover, workload: SpiffeId, wanted: Wanted): Promise<MoveOrder> {
    const { to, share, why } = wanted;
    const rollout = this.#options.enforcing.rollouts.get(workload);
    const looked = isPromotion(rollout, to, share) ? await this.look(workload) : undefined;
    return { share, why, guard: this.guardOf(looked, mover, wanted) };
  }

  /** Judges a move in its turn: gives what it rests on, or throws what {@link order} says. */
  guardOf(looked: Looked | undefined, mover: Mover, wanted: Wanted): (now: WorkloadRollout) => Guarded {
    const { to, share, anyway } = wanted;
    return (now) => {
      const { workload } = now;
      if (!isPromotion(now, to, share)) return { note: anyway === undefined ? {} : { why: anyway } };
      if (looked?.rollout !== now) throw changed(workload);
      const checks = this.checks(looked, mover.who);
      const missing = missingOf(checks);
      const rests = this.note(workload, checks);
      const tier = this.tierOf(workload);
      if (missing.length === 0)
        return { note: { ...rests, ...(anyway === undefined ? {} : { why: anyway }) }, judged: { tier } };
      if (anyway === undefined) throw refused(now, to, checks);
      this.#checkMayGoOn(now, mover, checks);
      const names = missing.map(({ name }) => name);
      return { note: { ...rests, anyway, missing: names }, judged: { tier, missing: names } };
    };
  }

  /** What a move rests on, for the audit log: the target, the tier, and what each check found. */
  note(workload: SpiffeId, checks: readonly PromotionCheck[]): Details {
    return {
      target: this.#options.reviews.approvalState(workload).target,
      tier: this.tierOf(workload),
      checks: Object.fromEntries(checks.map(({ name, reason }) => [name, reason.slice(0, MOST_REASON)])),
    };
  }

  #checkMayGoOn(rollout: WorkloadRollout, { who, mayGoOn }: Mover, checks: readonly PromotionCheck[]): void {
    const { workload, authors = [] } = rollout;
    const forbidden = (why: string) =>
      new InterlockError(
        'forbidden',
        workload,
        `${who} may not move ${workload} on though checks are not passed: ${why}`,
        {
          details: { checks },
        },
      );
    if (!mayGoOn) throw forbidden('it needs the role approver as well');
    if (this.tierOf(workload) !== 'critical') return;
    const persons = personsOf(this.#options.reviews.people);
    const author = persons.writers(authors).find((each) => !persons.areTwo(each, who));
    if (author === undefined) return;
    throw forbidden(
      persons.areOne(author, who)
        ? 'they have written of its target, and it is critical; somebody else has to'
        : `${author} has written of its target, which is critical, and may be the same person: the file of --owners can say whose names they are`,
    );
  }
}

/** An earlier program has not noted it: then since the last move. */
function shadowSinceOf(rollout: WorkloadRollout | undefined): number | undefined {
  if (rollout === undefined || rollout.stage === 'draft') return undefined;
  return rollout.shadowSince ?? rollout.since;
}

function changed(workload: SpiffeId): InterlockError {
  return new InterlockError('conflict', workload, `${workload} was changed meanwhile: look again`);
}

function refused(
  { workload, stage }: WorkloadRollout,
  to: Stage,
  checks: readonly PromotionCheck[],
): InterlockError {
  const missing = missingOf(checks).map(({ name }) => name);
  const failed = missing.length === 1 ? '1 check is' : `${missing.length} checks are`;
  return new InterlockError(
    'conflict',
    workload,
    `${workload} stays in ${stage}: for ${to} ${failed} not passed (${missing.join(', ')}). Do what they say, or go on with a reason ("anyway")`,
    { details: { checks } },
  );
}
