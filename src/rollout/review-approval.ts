import { InterlockError, type SpiffeId } from '../access/index.ts';
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

/** What the approvals of one target come to. */
export interface ApprovalState {
  readonly need: number;
  /** Those that count, the first first: each person once and, where two are needed, nobody who has written of the target. */
  readonly by: readonly Approval[];
  /** Who has approved and does not count, because the target is partly theirs. */
  readonly authors: readonly string[];
}

/** Which approvals of a target count. */
export function approvalState(
  approvals: readonly Approval[],
  authors: readonly string[],
  { approvals: need }: Pick<TierGates, 'approvals'>,
): ApprovalState {
  const people = [...new Map(approvals.toReversed().map((each) => [each.who, each])).values()].toReversed();
  const isAuthor = ({ who }: Approval) => need >= 2 && authors.includes(who);
  return {
    need,
    by: people.filter((each) => !isAuthor(each)).sort((a, b) => a.at - b.at),
    authors: people.filter(isAuthor).map(({ who }) => who),
  };
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
  authors: readonly string[],
  gates: Pick<TierGates, 'approvals'>,
  approval: Approval,
): readonly Approval[] {
  const { who } = approval;
  if (approvals.some((each) => each.who === who))
    throw new InterlockError('conflict', workload, `${who} has approved this target of ${workload} already`);
  if (gates.approvals >= 2 && authors.includes(who))
    throw new InterlockError(
      'forbidden',
      workload,
      `${who} has changed this target of ${workload}: somebody else approves it`,
    );
  return [...approvals, approval];
}
