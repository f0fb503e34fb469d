import { type AccessGraph, InterlockError, isInterlockError, type SpiffeId } from '../../access/index.ts';
import { readPolicies, type Tier } from '../../policy/index.ts';
import {
  type Approval,
  approvalState,
  type ApprovalState,
  isOwner,
  NO_OWNERS,
  OWNER_MARK,
  type OwnersFile,
  ownersOf,
  type TierGates,
} from '../../rollout/index.ts';
import type { Change as StoreChange, IdentityStore } from '../../store/index.ts';
import type { EvidenceIntake } from '../enforcement/evidence/intake.ts';
import type { Rollouts } from '../enforcement/rollouts.ts';
import type { Estate } from '../estate/index.ts';
import type { Actor, Recorder } from '../identity/recorder.ts';
import type { Timers } from '../timers.ts';
import { approve, ask, type Deciding, type Decision, deny, edit, reject } from './decisions.ts';
import { newReview, type OpenItem, reviewJson, type ReviewDocument, reviewOf } from './document.ts';
import { targetHash } from './target-hash.ts';
import { type AccessIndex, accessIndex, type ReviewView, rulesSince, viewOf } from './view.ts';

const DAY_MS = 86_400_000;
/** How old the hours that are recorded may be, milliseconds: rules are unused for days. */
const COVERAGE_MS = 300_000;

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

/** A review as the store has it. */
interface Kept {
  readonly version: number;
  readonly review: ReviewDocument;
}

/**
 * What waits for a person's decision, workload by workload, and what was decided: the single writer of that. What is
 * proposed is worked out from the evidence and the target of now; decisions are kept, each in one commit with the target
 * that comes of it. A change is named by its content and a target by its hash, so nobody decides on anything but what they
 * have seen; of two who decide at once, here or at two replicas, one is told of the other.
 */
export class Reviews {
  readonly #options: ReviewsOptions;
  readonly #kept = new Map<SpiffeId, Kept>();
  /** Names of documents that cannot be read, each with the reason. */
  readonly unreadable = new Map<string, string>();
  readonly #listeners = new Set<(workload: SpiffeId) => void>();
  readonly #turns = new Map<SpiffeId, Promise<unknown>>();
  #index: { readonly of: AccessGraph; readonly value: AccessIndex } | undefined;
  #coverage: { readonly at: number; readonly read: ReturnType<Estate['withCoverage']> } | undefined;
  #unwatch = () => {};

  private constructor(options: ReviewsOptions) {
    this.#options = options;
  }

  /** Throws what the store throws. */
  static async open(options: ReviewsOptions): Promise<Reviews> {
    const reviews = new Reviews(options);
    reviews.#unwatch = await options.store.watch(({ own, missed, touched }) => {
      if (missed === true || (!own && touched.some(({ kind }) => kind === 'review')))
        reviews.#load().catch(options.onFault);
    });
    await reviews.#load();
    return reviews;
  }

  close(): void {
    this.#unwatch();
    this.#listeners.clear();
  }

  /** Calls `listener` with each workload whose review has changed, until the function it gives back is called. */
  onChange(listener: (workload: SpiffeId) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get all(): Iterable<ReviewDocument> {
    return [...this.#kept.values()].map(({ review }) => review);
  }

  reviewOf(workload: SpiffeId): ReviewDocument {
    return this.#kept.get(workload)?.review ?? newReview(workload);
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
    const need = gates[rollout?.tier ?? 'standard'];
    return { target, ...approvalState(approvals, rollout?.authors ?? [], need) };
  }

  /** The doubts of a workload that were decided, by their IDs: whether an owner has, or somebody else. */
  decidedDoubts(workload: SpiffeId): ReadonlyMap<string, 'owner' | 'other'> {
    return new Map(this.reviewOf(workload).decided.map(({ doubt, as }) => [doubt, as]));
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

  /** A comment to the owners. Throws `conflict`. */
  ask(who: Actor, workload: SpiffeId, order: { text: string; about?: string | undefined }): Promise<void> {
    return this.#decide(who, workload, undefined, (deciding) => ask(deciding, order.text, order.about));
  }

  /** Notes what is new since the last time, and what is no longer open. */
  refresh(workload: SpiffeId): Promise<void> {
    return this.#inTurn(workload, async () => {
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
        const { change, keep } = this.#put(next);
        await recorder.commit([change], entry);
        keep();
      } catch (error) {
        await recorder.within(this.#load());
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
    return this.#inTurn(workload, async () => {
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
        gates: gates[view.tier],
      });
      try {
        await this.#commit(who, view, decision);
      } catch (error) {
        if (!isInterlockError(error) || error.code !== 'conflict') throw error;
        // Another replica was first: what it has made of it is what the next one decides on.
        const { recorder, rollouts } = this.#options;
        await Promise.all([recorder.within(this.#load()), rollouts.follow()]);
        throw changedMeanwhile(this.reviewOf(workload));
      }
    });
  }

  async #commit(who: Actor, { workload, rollout }: ReviewView, decision: Decision): Promise<void> {
    const { recorder, rollouts } = this.#options;
    const { act, review, target, isWritten, details } = decision;
    const { change, keep } = this.#put(review);
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

  /** The change that keeps a review, and what is to be done once it is durable. */
  #put(review: ReviewDocument): { readonly change: StoreChange; readonly keep: () => void } {
    const { workload } = review;
    const expect = this.#kept.get(workload)?.version ?? 0;
    return {
      change: { change: 'put', kind: 'review', name: workload, data: reviewJson(review), expect },
      keep: () => this.#keep(review, expect + 1),
    };
  }

  /** A later version is never replaced by an earlier one, whichever is heard of first. */
  #keep(review: ReviewDocument, version: number): void {
    if ((this.#kept.get(review.workload)?.version ?? 0) >= version) return;
    this.#kept.set(review.workload, { version, review });
    this.#tell(review.workload);
  }

  #tell(workload: SpiffeId): void {
    for (const listener of this.#listeners) listener(workload);
  }

  /** Takes over what the store has: at the start, and what other replicas have made of it. */
  async #load(): Promise<void> {
    for (const { name, version, data } of await this.#options.store.documents('review')) {
      try {
        this.#keep(reviewOf(data), version);
        this.unreadable.delete(name);
      } catch (error) {
        this.unreadable.set(name, error instanceof Error ? error.message : String(error));
      }
    }
  }

  #indexOf(graph: AccessGraph): AccessIndex {
    if (this.#index?.of !== graph) this.#index = { of: graph, value: accessIndex(graph) };
    return this.#index.value;
  }

  /** Hours in which calls to a workload were recorded, where some rule is old enough to be unused. */
  async #covered(workload: SpiffeId): Promise<ReadonlySet<number> | undefined> {
    const { rollouts, gates, timers, estate } = this.#options;
    const rollout = rollouts.all.get(workload);
    if (rollout === undefined || rollout.target.length === 0) return undefined;
    const now = timers.now();
    const start = now - gates[rollout.tier].unusedDays * DAY_MS;
    if (!this.reviewOf(workload).since.some(([, at]) => at <= start)) return undefined;
    const isFresh = this.#coverage !== undefined && Math.abs(now - this.#coverage.at) < COVERAGE_MS;
    if (this.#coverage === undefined || !isFresh) this.#coverage = { at: now, read: estate.withCoverage() };
    const { read } = this.#coverage;
    try {
      const spans = (await read).coverage.byWorkload?.get(workload)?.spans ?? [];
      return new Set(spans.flatMap(({ hours = [] }) => hours));
    } catch (error) {
      this.#coverage = undefined;
      throw error;
    }
  }

  /** What is done about one workload is done one after the other. */
  #inTurn<T>(workload: SpiffeId, step: () => Promise<T>): Promise<T> {
    const done = (this.#turns.get(workload) ?? Promise.resolve()).then(step, step);
    const settled: Promise<unknown> = done
      .catch(() => {})
      .finally(() => {
        if (this.#turns.get(workload) === settled) this.#turns.delete(workload);
      });
    this.#turns.set(workload, settled);
    return done;
  }
}

function openItems({ changes, questions }: ReviewView, at: number): OpenItem[] {
  return [
    ...changes.map(({ id, kind, doubt }) => ({
      id,
      kind,
      at,
      ...(doubt === undefined ? {} : { isDoubt: true as const }),
    })),
    ...questions.map(({ id }) => ({ id, kind: 'question' as const, at })),
  ];
}

/** How many there are of each kind. */
export function countKinds(items: readonly OpenItem[]): Record<OpenItem['kind'] | 'doubts', number> {
  const counts = { added: 0, widened: 0, removed: 0, question: 0, doubts: 0 };
  for (const { kind, isDoubt } of items) counts[isDoubt === true ? 'doubts' : kind]++;
  return counts;
}

function changedMeanwhile({ workload, last }: ReviewDocument): InterlockError {
  const what = last === undefined ? 'its target is another one now' : `last, ${last.who} ${last.what}`;
  return new InterlockError('conflict', workload, `${workload} was changed meanwhile: ${what}. Look again`);
}
