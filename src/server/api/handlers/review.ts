import { actionText, InterlockError, principalText, type SpiffeId } from '../../../access/index.ts';
import type { Answer } from '../../../api/index.ts';
import { writePolicies } from '../../../policy/index.ts';
import { type Change, isApproved } from '../../../rollout/index.ts';
import { countKinds, type ReviewDocument, type ReviewView } from '../../review/index.ts';
import type { Handlers } from '../handler.ts';
import { pageOf, sortedPageOf } from '../page.ts';
import type { ApiParts } from '../parts.ts';

type Whole = Answer<'reviews.get'>;

/** What waits for a person's decision, workload by workload, and the history of each. */
export function reviewHandlers(
  parts: ApiParts,
): Handlers<
  | 'reviews.list'
  | 'reviews.get'
  | 'reviews.approve'
  | 'reviews.reject'
  | 'reviews.deny'
  | 'reviews.edit'
  | 'reviews.acknowledge'
  | 'reviews.ask'
  | 'history.get'
> {
  const { reviews, history } = parts;
  const whole = async (workload: SpiffeId) => wholeShown(parts, await reviews.view(workload));
  const known = (workload: SpiffeId) => {
    checkKnown(parts, workload);
    return workload;
  };
  return {
    'reviews.list': ({ query }) => {
      const page = sortedPageOf(listed(parts), query, ({ workload }) => workload);
      return { reviews: page.items, next: page.next };
    },
    'reviews.get': ({ params: { workload } }) => whole(known(workload)),
    'reviews.approve': async ({ who, params: { workload }, body }) => {
      await reviews.approve(who, known(workload), body);
      return whole(workload);
    },
    'reviews.reject': async ({ who, params: { workload }, body }) => {
      await reviews.reject(who, known(workload), body);
      return whole(workload);
    },
    'reviews.deny': async ({ who, params: { workload }, body }) => {
      await reviews.deny(who, known(workload), body);
      return whole(workload);
    },
    'reviews.edit': async ({ who, params: { workload }, body }) => {
      await reviews.edit(who, known(workload), body);
      return whole(workload);
    },
    'reviews.acknowledge': async ({ who, params: { workload }, body }) => {
      await checkAcknowledged(parts, known(workload), body.ids);
      await reviews.acknowledge(who, workload, body);
      return whole(workload);
    },
    'reviews.ask': async ({ who, params: { workload }, body }) => {
      await reviews.ask(who, known(workload), body);
      return whole(workload);
    },
    'history.get': async ({ params: { workload }, query }) => {
      const entries = await parts.plane.recorder.within(history.of(known(workload)));
      // The newest first: the number that goes down is the order of the pages.
      const { items, next } = pageOf(entries, query, ({ seq }) => String(1e15 - seq).padStart(16, '0'));
      return {
        entries: items.map(({ seq, at, who, act, details }) => ({ seq, at, who, act, details })),
        next,
      };
    },
  };
}

/** An acknowledgement of what is not there would be one of nothing. */
async function checkAcknowledged(
  { gatekeeper }: ApiParts,
  workload: SpiffeId,
  ids: readonly string[],
): Promise<void> {
  const { readiness } = await gatekeeper.look(workload);
  const open = new Set([...(readiness?.blindSpots ?? []), ...(readiness?.doubts ?? [])].map(({ id }) => id));
  const unknown = ids.filter((id) => !open.has(id)).map((id) => `"${id.slice(0, 80)}"`);
  if (unknown.length === 0) return;
  throw new InterlockError(
    'not_found',
    workload,
    `${workload} has no blind spot and no doubt ${unknown.join(', ')}: "interlock readiness --to ${workload}" names them`,
  );
}

function checkKnown({ estate, enforcing }: ApiParts, workload: SpiffeId): void {
  if (estate.current.graph.workloads.has(workload) || enforcing.rollouts.all.has(workload)) return;
  throw new InterlockError(
    'not_found',
    workload,
    `no recording, manifest or policy names the workload ${workload}: observe it first`,
  );
}

/** Those with something to decide: changes and questions that are open, and targets that wait for an approval. */
function* listed(parts: ApiParts): Generator<Answer<'reviews.list'>['reviews'][number]> {
  const { reviews, enforcing } = parts;
  const workloads = new Set<SpiffeId>(enforcing.rollouts.all.keys());
  for (const { workload } of reviews.all) workloads.add(workload);
  for (const workload of workloads) {
    const review = reviews.reviewOf(workload);
    const rollout = enforcing.rollouts.all.get(workload);
    const waits =
      rollout !== undefined &&
      rollout.target.length > 0 &&
      rollout.stage !== 'enforced' &&
      !isApproved(reviews.approvalState(workload));
    if (review.open.length > 0 || waits) yield shown(parts, workload, review);
  }
}

function shown({ reviews, enforcing }: ApiParts, workload: SpiffeId, review: ReviewDocument) {
  const rollout = enforcing.rollouts.all.get(workload);
  const tier = reviews.tierOf(workload);
  const reason = reviews.tierReason(workload);
  const { target: hash, need, by, authors, notes } = reviews.approvalState(workload);
  const { open, last } = review;
  return {
    workload,
    tier,
    ...(reason === undefined ? {} : { tierReason: reason }),
    ...(rollout === undefined ? {} : { stage: rollout.stage }),
    owners: reviews.ownersOf(workload),
    target: hash,
    counts: countKinds(open),
    approvals: { need, by, authors, ...(notes.length === 0 ? {} : { notes }) },
    ...(open.length === 0 ? {} : { since: Math.min(...open.map(({ at }) => at)) }),
    ...(last === undefined ? {} : { lastDecision: last }),
  };
}

function wholeShown(parts: ApiParts, view: ReviewView): Whole {
  const { reviews, enforcing, timers } = parts;
  const { workload, rollout, changes, questions, isCut, target, tier } = view;
  const review = reviews.reviewOf(workload);
  const since = new Map(review.open.map(({ id, at }) => [id, at]));
  const now = timers.now();
  const at = (id: string) => since.get(id) ?? now;
  const policies = rollout?.target ?? [];
  const open = [
    ...changes.map(({ id, kind, doubt }) => ({
      id,
      kind,
      at: at(id),
      ...(doubt === undefined ? {} : { isDoubt: true as const }),
    })),
    ...questions.map(({ id }) => ({ id, kind: 'question' as const, at: at(id) })),
  ];
  return {
    // What is open now, not what was when it was noted last.
    ...shown(parts, workload, { ...review, open }),
    target,
    policies,
    yaml: policies.length === 0 ? '' : writePolicies(policies),
    changes: changes.map((change) => changeShown(change, at(change.id))),
    questions: questions.map(({ from, after, ...question }) => ({
      ...question,
      from: principalText(from),
      text: actionText(question.action),
      deniedBy: {
        decidedBy: after.decidedBy,
        ...(after.policy === undefined ? {} : { policy: after.policy }),
        ...(after.rule === undefined ? {} : { rule: after.rule }),
      },
      since: at(question.id),
    })),
    isCut,
    comments: review.comments,
    bulk: enforcing.rules.gates[tier].doubts !== 'decided-by-owner',
  };
}

function changeShown(change: Change, since: number): Whole['changes'][number] {
  const { id, kind, rule, of, evidence, doubt, why } = change;
  return {
    id,
    kind,
    rule,
    evidence,
    since,
    ...(of === undefined ? {} : { of }),
    ...(doubt === undefined ? {} : { doubt }),
    ...(why === undefined ? {} : { why }),
  };
}
