import type { Received } from '../../../src/api/index.ts';
import { counted } from '../parts/words.ts';
import { ruleLines } from './diff.ts';

/** The review of one workload, as the control plane gives it. */
export type Review = Received<'reviews.get'>;
export type ReviewChange = Review['changes'][number];
export type ReviewQuestion = Review['questions'][number];

/** One thing to decide. */
export type Item =
  | { readonly is: 'change'; readonly id: string; readonly change: ReviewChange }
  | { readonly is: 'question'; readonly id: string; readonly question: ReviewQuestion };

/** Sections in the order in which they are read: what is ordinary first, what a person has to think about last. */
export const SECTIONS = ['added', 'widened', 'doubts', 'removed', 'questions'] as const;
export type SectionName = (typeof SECTIONS)[number];

export const SECTION_TITLES: Readonly<Record<SectionName, string>> = {
  added: 'New rules',
  widened: 'Rules that would allow more',
  doubts: 'Doubts: only a person can allow these',
  removed: 'Tightenings: rules that nobody has used',
  questions: 'Questions: let through, though the target denies it',
};

/** Neither a doubt nor a tightening: what may be approved together with others without a second look. */
export function isOrdinary({ kind, doubt }: Pick<ReviewChange, 'kind' | 'doubt'>): boolean {
  return kind !== 'removed' && doubt === undefined;
}

function sectionOf(change: ReviewChange): SectionName {
  return change.kind !== 'removed' && change.doubt !== undefined ? 'doubts' : change.kind;
}

/** What waits, by section; those that have every word of the filter. Empty sections are left out. */
export function sectionsOf(
  { changes, questions }: Pick<Review, 'changes' | 'questions'>,
  filter = '',
): readonly { readonly name: SectionName; readonly items: readonly Item[] }[] {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const has = (text: string) => words.every((word) => text.toLowerCase().includes(word));
  const by = new Map<SectionName, Item[]>(SECTIONS.map((name) => [name, []]));
  for (const change of changes)
    if (has(changeText(change))) by.get(sectionOf(change))?.push({ is: 'change', id: change.id, change });
  for (const question of questions)
    if (has(`${question.from} ${question.text}`))
      by.get('questions')?.push({ is: 'question', id: question.id, question });
  return SECTIONS.flatMap((name) => {
    const items = by.get(name) ?? [];
    return items.length === 0 ? [] : [{ name, items }];
  });
}

function changeText({ kind, rule, of, doubt }: ReviewChange): string {
  const reasons = doubt === undefined ? '' : `doubt ${doubt.reasons.join(' ')}`;
  return `${kind} ${rule.name} ${of?.rule ?? ''} ${ruleLines(rule).join(' ')} ${reasons}`;
}

/**
 * Another choice after one thing was turned. Where doubts are an owner's to decide one by one (`bulk` is false), a doubt is
 * chosen alone: it replaces what was chosen, and anything else replaces it.
 */
export function turned(chosen: ReadonlySet<string>, id: string, review: Review): ReadonlySet<string> {
  if (chosen.has(id)) return new Set([...chosen].filter((each) => each !== id));
  if (review.bulk) return new Set([...chosen, id]);
  const doubts = new Set(review.changes.flatMap((each) => (each.doubt === undefined ? [] : [each.id])));
  if (doubts.has(id)) return new Set([id]);
  return new Set([...[...chosen].filter((each) => !doubts.has(each)), id]);
}

/** What approving, denying and rejecting would each be about, of what is chosen and still open. */
export interface Orders {
  /** Changes; of a question that is chosen the one that would allow it. */
  readonly approve: readonly string[];
  /** Questions that a rule can deny on purpose. */
  readonly deny: readonly string[];
  readonly reject: readonly string[];
}

/** What one call decides at most, as src/api/schemas/review.ts has it: the rest is decided by the next one. */
const MOST_AT_ONCE = 500;

export function ordersOf(review: Review, chosen: ReadonlySet<string>): Orders {
  const open = new Set(review.changes.map(({ id }) => id));
  const questions = review.questions.filter(({ id }) => chosen.has(id));
  const changes = review.changes.filter(({ id }) => chosen.has(id)).map(({ id }) => id);
  const allowing = questions.flatMap(({ change }) => (change === undefined ? [] : [change]));
  const approve = [...new Set([...changes, ...allowing.filter((id) => open.has(id))])];
  const deny = questions.filter((each) => each.deny !== undefined).map(({ id }) => id);
  const reject = [...changes, ...questions.map(({ id }) => id)];
  const atOnce = (ids: readonly string[]) => ids.slice(0, MOST_AT_ONCE);
  return { approve: atOnce(approve), deny: atOnce(deny), reject: atOnce(reject) };
}

/** Why a person is asked once more before changes are approved; nothing where they are ordinary. */
export function secondLook(review: Review, ids: readonly string[]): readonly string[] {
  const changes = review.changes.filter(({ id }) => ids.includes(id));
  const doubts = changes.filter(({ doubt }) => doubt !== undefined).length;
  const removed = changes.filter(({ kind }) => kind === 'removed').length;
  return [
    ...(doubts === 0
      ? []
      : [
          `${counted(doubts, 'doubt')} will be allowed: ${doubts === 1 ? 'it rests' : 'they rest'} on little.`,
        ]),
    ...(removed === 0
      ? []
      : [
          `${counted(removed, 'rule')} will go: what ${removed === 1 ? 'it allows' : 'they allow'} is denied once this is enforced.`,
        ]),
    ...(review.stage === 'canary'
      ? ['The canary ends: the target begins again in shadow. The set before it stays in force.']
      : []),
  ];
}

/** What approving does to the target, before it is done. */
export function effectOf({ stage, policies }: Pick<Review, 'stage' | 'policies'>): string {
  if (stage === undefined || policies.length === 0)
    return 'The target begins in draft. Nothing is denied by it before it is promoted.';
  if (stage === 'draft') return 'The target stays in draft. Nothing is denied by it before it is promoted.';
  const force = stage === 'shadow' ? '' : ' What is in force stays in force.';
  return `The target begins again in shadow.${force} Nothing new is denied before it is promoted.`;
}

/** What is different about a review since it was looked at, as sentences: for who was too late. */
export function whatChanged(before: Review, after: Review): readonly string[] {
  const { lastDecision: last } = after;
  const isNew = last !== undefined && last.at !== before.lastDecision?.at;
  const names = (review: Review) =>
    new Map([
      ...review.changes.map(({ id, rule }) => [id, rule.name] as const),
      ...review.questions.map(({ id, text }) => [id, text] as const),
    ]);
  const [was, now] = [names(before), names(after)];
  const gone = [...was].filter(([id]) => !now.has(id)).map(([, name]) => name);
  const fresh = [...now].filter(([id]) => !was.has(id)).map(([, name]) => name);
  return [
    ...(isNew ? [`${last.who} ${last.what}.`] : []),
    ...(gone.length === 0 ? [] : [`Not open any more: ${few(gone)}.`]),
    ...(fresh.length === 0 ? [] : [`New: ${few(fresh)}.`]),
    ...(before.target === after.target ? [] : ['The target is another one now.']),
    ...(before.stage === after.stage ? [] : [`It is in ${after.stage ?? 'no stage'} now.`]),
  ];
}

function few(names: readonly string[]): string {
  const shown = names.slice(0, 5).join(', ');
  return names.length > 5 ? `${shown} and ${names.length - 5} more` : shown;
}

/** Who has approved, and what is still missing, as one sentence each. */
export function approvalText({ approvals, stage, policies, owners }: Review): {
  readonly isEnough: boolean;
  readonly missing: string | undefined;
} {
  const { need, by } = approvals;
  const missing = Math.max(0, need - by.length);
  if (policies.length === 0 || stage === 'enforced' || missing === 0)
    return { isEnough: by.length >= need, missing: undefined };
  const others = owners.length === 0 ? '' : ` Owners: ${owners.join(', ')}.`;
  const rule = need >= 2 ? ', nobody who has written of this target' : '';
  return {
    isEnough: false,
    missing: `${counted(missing, 'more person', 'more people')} must approve${rule}.${others}`,
  };
}
