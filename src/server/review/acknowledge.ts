import { InterlockError } from '../../access/index.ts';
import type { Deciding, Decision } from './decisions.ts';

/** What is kept of one workload: beyond, somebody has to mend what hides so much. */
const MOST = 1000;

/** Says that blind spots, and doubts that no rule can be written for, are known: what is hidden there may be denied. */
export function acknowledge(deciding: Deciding, ids: readonly string[], reason: string): Decision {
  const { view, review, who, at, isOwner } = deciding;
  const as = isOwner ? 'owner' : 'other';
  const known = new Map((review.acknowledged ?? []).map((each) => [each.id, each]));
  // What an owner has said stays theirs: where only that counts, nobody takes it away by saying it as well.
  for (const id of ids)
    if (as === 'owner' || known.get(id)?.as !== 'owner') known.set(id, { id, who, at, as, reason });
  if (known.size > MOST)
    throw new InterlockError(
      'limit',
      view.workload,
      `at most ${MOST} blind spots and doubts of ${view.workload} are acknowledged: mend some of them`,
    );
  return {
    act: 'review.acknowledge',
    review: { ...review, acknowledged: [...known.values()] },
    details: { reason, ids: [...ids] },
  };
}
