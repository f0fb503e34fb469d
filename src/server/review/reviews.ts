import { type AccessGraph, isInterlockError, type SpiffeId } from '../../access/index.ts';
import { readPolicies, type Tier } from '../../policy/index.ts';
import {
  type Approval,
  approvalState,
  type ApprovalState,
  isApproved,
  isOwner,
  NO_OWNERS,
  OWNER_MARK,
  type People,
  type OwnersFile,
  ownersOf,
  promotionTier,
  type Rejection,
  type TierGates,
  tierReason,
} from '../../rollout/index.ts';
import type { IdentityStore } from '../../store/index.ts';
import type { EvidenceIntake } from '../enforcement/evidence/intake.ts';
import type { Rollouts } from '../enforcement/rollouts.ts';
import { type Estate, tierOf } from '../estate/index.ts';
import type { Actor, Recorder } from '../identity/recorder.ts';
import type { Timers } from '../timers.ts';
import { acknowledge } from './acknowledge.ts';
import { approve, ask, type Deciding, type Decision, deny, edit, reject } from './decisions.ts';
import type { ReviewDocument } from './document.ts';
import { changedMeanwhile, countKinds, openItems } from './items.ts';
import { RecordedHours } from './recorded-hours.ts';
import { KeyedTurns } from './keyed-turns.ts';
import { ReviewShelf } from './shelf.ts';
import { targetHash } from './target-hash.ts';
import { type AccessIndex, accessIndex, type ReviewView, rulesSince, viewOf } from './view.ts';

const DAY_MS = 86_400_000;

export interface ReviewsOptions {
  readonly store: IdentityStore;
  readonly recorder: Recorder;
  readonly rollouts: Rollouts;
  readonly estate: Pick<Estate, 'current' | 'withCoverage'>;
  readonly evidence: Pick<EvidenceIntake, 'flips'>;
  readonly gates: Readonly<Record<Tier, TierGates>>;
  readonly owners?: OwnersFile | undefined;
  readonly timers: Timers;
  readonly onFault: (error: unknown) => void;
}

/**
 * What waits for a person's decision, workload by workload, and what was decided: the single writer of that. What is
 * proposed is worked out from the evidence and the target of now; decisions are kept, each in one commit with the target
 * that comes of it. A change is named by its content and a target by its hash, so nobody decides on anything but what they
 * have seen; of two who decide at once, here or at two replicas, one is told of the other.
 */
export class Reviews {
  readonly #options: ReviewsOptions;
  readonly #shelf: ReviewShelf;
  readonly #hours: RecordedHours;
  readonly #turns = new KeyedTurns<SpiffeId>();
  #index: { readonly of: AccessGraph; readonly value: AccessIndex } | undefined;

  private constructor(options: ReviewsOptions) {
    this.#options = options;
    this.#shelf = new ReviewShelf(options.store);
    this.#hours = new RecordedHours(options.estate, options.timers);
  }

  /** Throws what the store throws. */
  static async open(options: ReviewsOptions): Promise<Reviews> {
    const reviews = new Reviews(options);
    await reviews.#shelf.open(options.timers, options.onFault);
    return reviews;
  }

  close(): void {
    this.#shelf.close();
  }

  /** Names of documents that cannot be read, each with the reason. */
  get unreadable(): ReadonlyMap<string, string> {
    return this.#shelf.unreadable;
  }

  /** Calls `listener` with each workload whose review has changed, until the function it gives back is called. */
  onChange(listener: (workload: SpiffeId) => void): () => void {
    return this.#shelf.onChange(listener);
  }

  get all(): Iterable<ReviewDocument> {
    return this.#shelf.all;
  }

  reviewOf(workload: SpiffeId): ReviewDocument {
    return this.#shelf.of(workload);
  }

  /** Who has approved exactly this target set of a workload, whether it is its target now or not. */
  approvalsOf(workload: SpiffeId, target: string): readonly Approval[] {
    const { approved } = this.reviewOf(workload);
    return approved?.target === target ? approved.by : [];
  }

  /** What the approvals of the present target of a workload come to: what a promotion of it is asked for. */
  approvalState(workload: SpiffeId): ApprovalState & { readonly target: string } {
    const { rollouts, gates } = this.#options;
    const rollout = rollouts.all.get(workload);
    const target = targetHash(rollout?.target ?? []);
    const approvals = this.approvalsOf(workload, target);
    const involved = { authors: rollout?.authors ?? [], people: this.people };
    return { target, ...approvalState(approvals, involved, gates[this.tierOf(workload)]) };
  }

  /** Which names are of one person, as the file of owners says. */
  get people(): People {
    return (this.#options.owners ?? NO_OWNERS).people;
  }

  /** The tier by whose gates a workload is promoted. */
  tierOf(workload: SpiffeId): Tier {
    return promotionTier(this.#options.rollouts.all.get(workload), this.markOf(workload));
  }

  /** Why that is stricter than its policies say, where it is. */
  tierReason(workload: SpiffeId): string | undefined {
    return tierReason(this.#options.rollouts.all.get(workload), this.markOf(workload));
  }

  /** The tier that a workload is marked with. */
  markOf(workload: SpiffeId): Tier | undefined {
    return tierOf(this.#options.estate.current.graph.workloads.get(workload));
  }

  /** The doubts of a workload that were decided, by their IDs: whether an owner has, or somebody else. */
  decidedDoubts(workload: SpiffeId): ReadonlyMap<string, 'owner' | 'other'> {
    return new Map(this.reviewOf(workload).decided.map(({ doubt, as }) => [doubt, as]));
  }

  /**
   * Who has decided what the target itself says: whoever has approved it. What was seen once and is written into a target by
   * hand is decided with it. Undefined where it is not approved yet.
   */
  decidedByTarget(workload: SpiffeId): 'owner' | 'other' | undefined {
    const state = this.approvalState(workload);
    const owners = this.ownersOf(workload);
    if (state.by.some(({ who }) => isOwner(who, owners, this.#options.owners ?? NO_OWNERS))) return 'owner';
    return isApproved(state) ? 'other' : undefined;
  }

  /** What somebody has said no to, by its key. */
  rejected(workload: SpiffeId): ReadonlyMap<string, Rejection> {
    return new Map(this.reviewOf(workload).rejected.map((each) => [each.key, each]));
  }

  /** Blind spots, and doubts that no rule can be written for, that somebody has acknowledged, by their IDs. */
  acknowledged(workload: SpiffeId): ReadonlyMap<string, 'owner' | 'other'> {
    return new Map((this.reviewOf(workload).acknowledged ?? []).map(({ id, as }) => [id, as]));
  }

  /** Who owns a workload: by its label, else by the file. */
  ownersOf(workload: SpiffeId): readonly string[] {
    const { estate, owners = NO_OWNERS } = this.#options;
    const known = estate.current.graph.workloads.get(workload);
    return ownersOf(workload, known?.marks[OWNER_MARK] ?? known?.labels[OWNER_MARK], owners);
  }

  /** What waits for a decision about a workload, worked out now. */
  async view(workload: SpiffeId): Promise<ReviewView> {
    const { estate, rollouts, evidence, gates, timers } = this.#options;
    const covered = await this.#covered(workload);
    // Nothing below waits: all of it is of one moment.
    const { graph } = estate.current;
    return viewOf({
      workload,
      graph,
      index: this.#indexOf(graph),
      rollout: rollouts.all.get(workload),
      review: this.reviewOf(workload),
      gates,
      flips: evidence.flips({ to: workload }),
      covered,
      now: timers.now(),
    });
  }

  /** Makes changes of the target and approves it. Throws `conflict`, `forbidden`, `usage`. */
  approve(
    who: Actor,
    workload: SpiffeId,
    order: { target: string; changes: readonly string[] },
  ): Promise<void> {
    return this.#decide(who, workload, order.target, (deciding) => approve(deciding, order.changes));
  }

  /** Rejects changes, and closes questions. Throws `conflict`, `forbidden`. */
  reject(
    who: Actor,
    workload: SpiffeId,
    order: { target: string; items: readonly string[]; reason: string },
  ): Promise<void> {
    return this.#decide(who, workload, order.target, (deciding) =>
      reject(deciding, order.items, order.reason),
    );
  }

  /** Answers questions with rules that deny on purpose. Throws `conflict`. */
  deny(
    who: Actor,
    workload: SpiffeId,
    order: { target: string; questions: readonly string[]; reason: string },
  ): Promise<void> {
    return this.#decide(who, workload, order.target, (deciding) =>
      deny(deciding, order.questions, order.reason),
    );
  }

  /** Another target by hand. Throws `conflict`, `invalid_document`. */
  edit(
    who: Actor,
    workload: SpiffeId,
    order: { target: string; yaml: string; file?: string | undefined },
  ): Promise<void> {
    const policies = readPolicies(order.yaml, order.file);
    return this.#decide(who, workload, order.target, (deciding) => edit(deciding, policies));
  }

  /** Acknowledges blind spots, and doubts that no rule can be written for: they are known, and it goes on. Throws `limit`. */
  acknowledge(
    who: Actor,
    workload: SpiffeId,
    order: { ids: readonly string[]; reason: string },
  ): Promise<void> {
    return this.#decide(who, workload, undefined, (deciding) =>
      acknowledge(deciding, order.ids, order.reason),
    );
  }

  /** A comment to the owners. Throws `conflict`. */
  ask(who: Actor, workload: SpiffeId, order: { text: string; about?: string | undefined }): Promise<void> {
    return this.#decide(who, workload, undefined, (deciding) => ask(deciding, order.text, order.about));
  }

  /** Notes what is new since the last time, and what is no longer open. */
  refresh(workload: SpiffeId): Promise<void> {
    return this.#turns.take(workload, async () => {
      const { recorder, timers } = this.#options;
      const view = await this.view(workload);
      const before = this.reviewOf(workload);
      const now = timers.now();
      const known = new Map(before.open.map((item) => [item.id, item]));
      const open = openItems(view, now).map((item) => known.get(item.id) ?? item);
      const fresh = open.filter(({ id }) => !known.has(id));
      const since = rulesSince(before, view.rollout, now);
      const isSame =
        fresh.length === 0 &&
        open.length === before.open.length &&
        JSON.stringify(since) === JSON.stringify(before.since);
      if (isSame) return;
      const entry =
        fresh.length === 0
          ? undefined
          : recorder.entry('system', 'review.open', workload, {
              target: view.target,
              ...countKinds(fresh),
            });
      const next = { ...before, open, since };
      try {
        const { change, keep } = this.#shelf.put(next);
        await recorder.commit([change], entry);
        keep();
      } catch (error) {
        await recorder.within(this.#shelf.load());
        // Another replica was first: it has seen the same evidence.
        if (!isInterlockError(error) || error.code !== 'conflict') throw error;
      }
    });
  }

  #decide(
    who: Actor,
    workload: SpiffeId,
    target: string | undefined,
    decide: (deciding: Deciding) => Decision,
  ): Promise<void> {
    return this.#turns.take(workload, async () => {
      const { timers, gates, owners: file = NO_OWNERS } = this.#options;
      const view = await this.view(workload);
      const review = this.reviewOf(workload);
      if (target !== undefined && target !== view.target) throw changedMeanwhile(review);
      const owners = this.ownersOf(workload);
      const decision = decide({
        view,
        review,
        who,
        at: timers.now(),
        isOwner: isOwner(who, owners, file),
        owners,
        people: file.people,
        gates: gates[view.tier],
      });
      try {
        await this.#commit(who, view, decision);
      } catch (error) {
        if (!isInterlockError(error) || error.code !== 'conflict') throw error;
        // Another replica was first: what it has made of it is what the next one decides on.
        const { recorder, rollouts } = this.#options;
        await Promise.all([recorder.within(this.#shelf.load()), rollouts.follow()]);
        throw changedMeanwhile(this.reviewOf(workload));
      }
    });
  }

  async #commit(who: Actor, { workload, rollout }: ReviewView, decision: Decision): Promise<void> {
    const { recorder, rollouts } = this.#options;
    const { act, review, target, isWritten, details } = decision;
    const { change, keep } = this.#shelf.put(review);
    if (target === undefined) {
      await recorder.commit([change], recorder.entry(who, act, workload, details));
      keep();
      return;
    }
    await rollouts.retarget(who, workload, {
      target,
      isLearned: isWritten === true ? undefined : true,
      decidedOn: rollout,
      act,
      details,
      also: [change],
      onKept: keep,
    });
  }

  #indexOf(graph: AccessGraph): AccessIndex {
    if (this.#index?.of !== graph) this.#index = { of: graph, value: accessIndex(graph) };
    return this.#index.value;
  }

  /** Hours in which calls to a workload were recorded, where some rule is old enough to be unused. */
  async #covered(workload: SpiffeId): Promise<ReadonlySet<number> | undefined> {
    const { rollouts, gates, timers } = this.#options;
    const rollout = rollouts.all.get(workload);
    if (rollout === undefined || rollout.target.length === 0) return undefined;
    const start = timers.now() - gates[this.tierOf(workload)].unusedDays * DAY_MS;
    const isOld = this.reviewOf(workload).since.some(([, at]) => at <= start);
    return isOld ? this.#hours.of(workload) : undefined;
  }
}
