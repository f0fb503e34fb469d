import { InterlockError, type SpiffeId } from '../access/index.ts';
import { type People, personsOf } from './people.ts';
import type { TierGates } from './tier-gates.ts';
import type { Approval, Change } from './review-types.ts';

/** Who decides, and on what. */
export interface Decision {
  readonly workload: SpiffeId;
  readonly who: string;
  readonly isOwner: boolean;
  readonly owners: readonly string[];
  readonly gates: Pick<TierGates, 'doubts'>;
}

/**
 * Whether these changes may be decided together by this person: where doubts are the owner's to decide, each of them is
 * decided by itself, by an owner. Throws `forbidden`, `usage`.
 */
export function checkDecidable(changes: readonly Change[], decision: Decision): void {
  const { workload, who, isOwner, owners, gates } = decision;
  const doubts = changes.filter(({ doubt }) => doubt !== undefined);
  if (gates.doubts !== 'decided-by-owner' || doubts.length === 0) return;
  if (changes.length > 1)
    throw new InterlockError(
      'usage',
      workload,
      `a doubt about ${workload} is decided by itself, never together with other changes: ${doubts.map(({ id }) => id).join(', ')}`,
    );
  if (isOwner) return;
  const known =
    owners.length === 0
      ? `nobody is known to own ${workload}: name somebody in the file of --owners, or by the label interlock.dev/owner`
      : `ask ${owners.join(', ')}`;
  throw new InterlockError(
    'forbidden',
    workload,
    `a doubt about ${workload} is its owner's to decide, not ${who}'s: ${known}`,
  );
}

/** Who has to do with the approvals of one target. */
export interface Involved {
  /** Who has written of it. */
  readonly authors: readonly string[];
  /** Who promotes it, where somebody does. */
  readonly mover?: string | undefined;
  /** Which names are of one person; where absent, only names of one issuer are told apart. */
  readonly people?: People | undefined;
}

/** What the approvals of one target come to. */
export interface ApprovalState {
  /** How many are needed: where two are, one more for each author, and mover, who may be one of those who approve. */
  readonly need: number;
  /** Those that count, the first first: each person once and, where two are needed, nobody who has written of the target or moves it. */
  readonly by: readonly Approval[];
  /** Who has approved and does not count, because the target is partly theirs. */
  readonly authors: readonly string[];
  /** Who has approved and does not count, and why more are needed than the gate says, in words. */
  readonly notes: readonly string[];
}

/**
 * Which approvals of a target count. Where two people are needed, only those count together that are known to be different people,
 * and an author or mover who may be one of them takes one away.
 */
export function approvalState(
  approvals: readonly Approval[],
  { authors, mover, people }: Involved,
  { approvals: need }: Pick<TierGates, 'approvals'>,
): ApprovalState {
  const all = approvals.toSorted((a, b) => a.at - b.at);
  const each = all.filter(({ who }, i) => !all.slice(0, i).some((before) => before.who === who));
  if (need < 2) return { need, by: each, authors: [], notes: [] };
  const persons = personsOf(people);
  const own = each.filter(({ who }) => persons.isAmong(who, authors));
  const movers = mover === undefined ? [] : [mover];
  const moving = each.filter((one) => !own.includes(one) && persons.isAmong(one.who, movers));
  const others = each.filter((one) => !own.includes(one) && !moving.includes(one));
  const by = persons.mostApart(others);
  const counting = by.map(({ who }) => who);
  const left = others.filter((one) => !by.includes(one));
  // What a job has brought somebody has written.
  const involved = [...persons.writers(authors), ...movers];
  const maybe = persons.maybeAmong(involved, counting);
  return {
    need: need + maybe.length,
    by,
    authors: own.map(({ who }) => who),
    notes: [
      ...asideText([
        ...own.map(({ who }) => `${who} has written of it`),
        ...moving.map(({ who }) => `${who} promotes it`),
        ...left.map(({ who }) => {
          if (persons.isNobody(who)) return `${who} is nobody`;
          return `${who} ${persons.isAmong(who, counting) ? 'is' : 'may be'} one of those who count`;
        }),
      ]),
      ...maybeText(maybe),
    ],
  };
}

/** Names that are said; of the others the number. */
const MOST_NAMED = 3;

function asideText(left: readonly string[]): string[] {
  return left.length === 0 ? [] : [`not counted: ${left.join(', ')}`];
}

function maybeText(names: readonly string[]): string[] {
  if (names.length === 0) return [];
  const shown = names.slice(0, MOST_NAMED).join(', ');
  const more = names.length > MOST_NAMED ? ` and ${names.length - MOST_NAMED} more` : '';
  return [
    `${names.length} more needed, because ${shown}${more} wrote or promotes it and may be among them: the file of --owners can say whose names they are`,
  ];
}

/** Whether a target has the approvals that its promotion needs. */
export function isApproved({ need, by }: ApprovalState): boolean {
  return by.length >= need;
}

/**
 * Another approval of a target. Throws `conflict` where the same person has approved it already, `forbidden` where it
 * would not count because they have written of it.
 */
export function approvedBy(
  workload: SpiffeId,
  approvals: readonly Approval[],
  { authors, people }: Involved,
  gates: Pick<TierGates, 'approvals'>,
  approval: Approval,
): readonly Approval[] {
  const { who } = approval;
  const persons = personsOf(people);
  const before = approvals.find((each) => persons.areOne(each.who, who));
  if (before !== undefined)
    throw new InterlockError(
      'conflict',
      workload,
      `${who} has approved this target of ${workload} already${before.who === who ? '' : `, as ${before.who}`}`,
    );
  if (gates.approvals >= 2 && persons.isAmong(who, authors))
    throw new InterlockError(
      'forbidden',
      workload,
      `${who} has changed this target of ${workload}: somebody else approves it`,
    );
  return [...approvals, approval];
}
