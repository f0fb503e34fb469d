import { actionText, InterlockError, principalText } from '../../access/index.ts';
import type { AccessPolicy } from '../../policy/index.ts';
import {
  approvedBy,
  type Change,
  checkDecidable,
  type People,
  personsOf,
  type Question,
  questionKey,
  questionWeight,
  type Rejection,
  targetDenying,
  targetWith,
  type TierGates,
  weightOf,
} from '../../rollout/index.ts';
import type { Json } from '../../store/index.ts';
import type { DecidedDoubt, ReviewDocument } from './document.ts';
import { targetHash } from './target-hash.ts';
import type { ReviewView } from './view.ts';

/** What is kept of one workload: beyond, somebody has to mend what asks so much. */
const MOST_REJECTED = 5000;
const MOST_DECIDED = 2000;
/** Comments that are kept; the oldest make room. */
const MOST_COMMENTS = 200;

/** Who decides on what they have seen, and when. */
export interface Deciding {
  readonly view: ReviewView;
  readonly review: ReviewDocument;
  readonly who: string;
  readonly at: number;
  readonly isOwner: boolean;
  readonly owners: readonly string[];
  /** Which names are of one person. */
  readonly people: People;
  readonly gates: TierGates;
}

/** What a decision makes of things. */
export interface Decision {
  readonly act: `review.${string}`;
  readonly review: ReviewDocument;
  /** The new target set, where there is one; and whether it was written by who decides. */
  readonly target?: readonly AccessPolicy[];
  readonly isWritten?: true;
  readonly details: { readonly [key: string]: Json };
}

/** Makes changes of the target, and approves what comes of it; without changes the target as it is. */
export function approve(deciding: Deciding, ids: readonly string[]): Decision {
  const { view, review, who, at, gates, people } = deciding;
  const { workload, rollout, tier } = view;
  const chosen = ids.map((id) => changeOf(deciding, id));
  checkDecidable(chosen, { ...deciding, workload });
  const target =
    chosen.length === 0 ? (rollout?.target ?? []) : targetWith(workload, rollout?.target ?? [], chosen, tier);
  if (target.length === 0)
    throw new InterlockError(
      'conflict',
      workload,
      `no policy protects ${workload}: there is nothing to approve`,
    );
  const hash = targetHash(target);
  const authors = rollout?.stage === 'enforced' && chosen.length > 0 ? [] : (rollout?.authors ?? []);
  const before = review.approved?.target === hash ? review.approved.by : [];
  const approval = { who, at };
  // Whoever makes changes of a target that is partly their own has not approved it with that.
  const isOwn = chosen.length > 0 && isTheirs(deciding, authors);
  const by = isOwn ? before : approvedBy(workload, before, { authors, people }, gates, approval);
  return {
    act: 'review.approve',
    review: {
      ...without(review, ids),
      approved: { target: hash, by },
      decided: decidedDoubts(deciding, chosen, true),
      last: { who, at, what: `approved ${counted(chosen.length, 'change')}` },
    },
    ...(chosen.length === 0 ? {} : { target }),
    details: { target: hash, changes: chosen.map(changeDetails) },
  };
}

/** Says no: what was rejected is not proposed again until it rests on materially more. */
export function reject(deciding: Deciding, ids: readonly string[], reason: string): Decision {
  const { review, who, at } = deciding;
  const questions = ids.flatMap((id) => questionOf(deciding, id) ?? []);
  const isQuestion = new Set(questions.map(({ id }) => id));
  const changes = ids.filter((id) => !isQuestion.has(id)).map((id) => changeOf(deciding, id));
  checkDecidable(changes, { ...deciding, workload: deciding.view.workload });
  const rejections: Rejection[] = [
    ...changes.flatMap(({ grants, evidence }) =>
      grants.map((key) => ({ key, by: who, at, reason, ...weightOf(evidence) })),
    ),
    ...questions.map((question) => ({
      key: questionKey(question.from, question.action),
      by: who,
      at,
      reason,
      ...questionWeight(question),
    })),
  ];
  const rejected = new Map([...review.rejected, ...rejections].map((each) => [each.key, each]));
  if (rejected.size > MOST_REJECTED) throw tooMuch(deciding, `${MOST_REJECTED} rejections`);
  return {
    act: 'review.reject',
    review: {
      ...without(review, ids),
      rejected: [...rejected.values()],
      decided: decidedDoubts(deciding, changes, false),
      last: { who, at, what: `rejected ${counted(ids.length, 'change')}` },
    },
    details: { reason, changes: changes.map(changeDetails), questions: questions.map(questionDetails) },
  };
}

/** Answers questions with rules that deny on purpose, and approves the target that comes of it. */
export function deny(deciding: Deciding, ids: readonly string[], reason: string): Decision {
  const { view, review, who, at } = deciding;
  const { workload, rollout, tier } = view;
  const questions = ids.map((id) => questionOf(deciding, id) ?? gone(deciding, id));
  const rules = questions.map(({ deny: rule, from }) => {
    if (rule !== undefined) return rule;
    throw new InterlockError(
      'conflict',
      workload,
      `no rule can name ${principalText(from)}: it has neither an identity nor an address`,
    );
  });
  const target = targetDenying(workload, rollout?.target ?? [], rules, tier);
  const hash = targetHash(target);
  const authors = rollout?.stage === 'enforced' ? [] : (rollout?.authors ?? []);
  const isOwn = isTheirs(deciding, authors);
  return {
    act: 'review.deny',
    review: {
      ...without(review, ids),
      approved: { target: hash, by: isOwn ? [] : [{ who, at }] },
      last: { who, at, what: `denied ${counted(ids.length, 'access', 'accesses')} on purpose` },
    },
    target,
    details: { reason, target: hash, questions: questions.map(questionDetails) },
  };
}

/** Whether who decides has written of the target, where nobody approves their own. */
function isTheirs({ who, people, gates }: Deciding, authors: readonly string[]): boolean {
  return gates.approvals >= 2 && personsOf(people).isAmong(who, authors);
}

/** Another target, written by hand: who has written it is its author, and nobody has approved it yet. */
export function edit(deciding: Deciding, policies: readonly AccessPolicy[]): Decision {
  const { view, review, who, at } = deciding;
  const { workload } = view;
  const stranger = policies.find(({ spec }) => spec.protects.workload !== workload);
  if (stranger !== undefined)
    throw new InterlockError(
      'invalid_document',
      stranger.metadata.name,
      `"${stranger.metadata.name}" protects ${stranger.spec.protects.workload}, not ${workload}`,
    );
  if (policies.length === 0)
    throw new InterlockError(
      'usage',
      workload,
      'there is no policy in the text: "interlock policy remove" takes one away',
    );
  const hash = targetHash(policies);
  if (hash === view.target)
    throw new InterlockError(
      'conflict',
      workload,
      `nothing is changed: that is the target of ${workload} already`,
    );
  return {
    act: 'review.edit',
    review: { ...review, last: { who, at, what: 'has edited the target' } },
    target: policies,
    isWritten: true,
    details: { target: hash, policies: policies.map(({ metadata }) => metadata.name) },
  };
}

/** A comment to the owners. */
export function ask(deciding: Deciding, text: string, about: string | undefined): Decision {
  const { review, who, at, view } = deciding;
  if (about !== undefined && questionOf(deciding, about) === undefined) changeOf(deciding, about);
  const comment = { by: who, at, text, ...(about === undefined ? {} : { about }) };
  return {
    act: 'review.ask',
    review: { ...review, comments: [...review.comments, comment].slice(-MOST_COMMENTS) },
    details: {
      text,
      ...(about === undefined ? {} : { about }),
      owners: deciding.owners,
      workload: view.workload,
    },
  };
}

function changeOf(deciding: Deciding, id: string): Change {
  return deciding.view.changes.find((change) => change.id === id) ?? gone(deciding, id);
}

function questionOf({ view }: Deciding, id: string): Question | undefined {
  return view.questions.find((question) => question.id === id);
}

function gone({ view, review }: Deciding, id: string): never {
  const why = review.last === undefined ? '' : `; last, ${review.last.who} ${review.last.what}`;
  throw new InterlockError(
    'conflict',
    view.workload,
    `"${id.slice(0, 40)}" is not open for ${view.workload} any more: it was decided, or the evidence says something else now${why}. Look again`,
  );
}

/** Nobody has to decide on these any more. */
function without(review: ReviewDocument, ids: readonly string[]): ReviewDocument {
  return { ...review, open: review.open.filter(({ id }) => !ids.includes(id)) };
}

function decidedDoubts(deciding: Deciding, changes: readonly Change[], isAccepted: boolean): DecidedDoubt[] {
  const { review, who, at, isOwner } = deciding;
  const decided = new Map(review.decided.map((each) => [each.doubt, each]));
  for (const { doubt } of changes) {
    if (doubt === undefined) continue;
    const as = isOwner ? 'owner' : 'other';
    decided.set(doubt.id, { doubt: doubt.id, who, at, as, isAccepted });
  }
  if (decided.size > MOST_DECIDED) throw tooMuch(deciding, `${MOST_DECIDED} decided doubts`);
  return [...decided.values()];
}

function tooMuch({ view }: Deciding, what: string): InterlockError {
  return new InterlockError(
    'limit',
    view.workload,
    `at most ${what} are kept for ${view.workload}: write a rule that covers more of them, by "interlock review edit"`,
  );
}

/** For the audit log: what was decided, and on what evidence. */
function changeDetails({ id, kind, rule, of, doubt, evidence }: Change): Json {
  const { count, days, instances, firstSeen, lastSeen } = evidence;
  return {
    id,
    kind,
    rule: of?.rule ?? rule.name,
    ...(doubt === undefined ? {} : { doubts: doubt.codes }),
    evidence: {
      count,
      days,
      instances: instances.length,
      ...(firstSeen === undefined ? {} : { firstSeen }),
      ...(lastSeen === undefined ? {} : { lastSeen }),
    },
  };
}

function questionDetails({ id, from, action, count }: Question): Json {
  return { id, from: principalText(from), action: actionText(action), count };
}

function counted(n: number, one: string, many = `${one}s`): string {
  return n === 0 ? 'the target' : `${n} ${n === 1 ? one : many}`;
}
