import type { Received } from '../../../src/api/index.ts';

/** One workload about which something waits. */
export type Waiting = Received<'reviews.list'>['reviews'][number];

/** What a queue can be narrowed to. */
export const WAITS = ['proposal', 'doubt', 'tightening', 'question', 'approval'] as const;
export type Waits = (typeof WAITS)[number];

/** What waits about a workload: a proposal, doubts of it, a tightening, a question, an approval of the target. */
export function waitsFor({ counts, approvals, stage }: Waiting): readonly Waits[] {
  const has: Readonly<Record<Waits, boolean>> = {
    proposal: counts.added + counts.widened > 0,
    doubt: counts.doubts > 0,
    tightening: counts.removed > 0,
    question: counts.question > 0,
    approval: stage !== undefined && stage !== 'enforced' && approvals.by.length < approvals.need,
  };
  return WAITS.filter((each) => has[each]);
}

export interface QueueFilter {
  readonly text: string;
  readonly waits: Waits | '';
  readonly tier: Waiting['tier'] | '';
  readonly owner: string;
}

export const NO_FILTER: QueueFilter = { text: '', waits: '', tier: '', owner: '' };

/** Stands for workloads that nobody is known to own. */
export const NOBODY = '(nobody)';

/** Every owner of the queue, by name. */
export function ownersIn(queue: readonly Waiting[]): readonly string[] {
  const names = new Set(queue.flatMap(({ owners }) => owners));
  return [...names].sort((a, b) => a.localeCompare(b, 'en'));
}

const TIER_RANK = { critical: 2, standard: 1, experimental: 0 } as const;

/**
 * What is decided first: questions (somebody would be denied), then the stricter tier, then what is open longest. An
 * order that a decision elsewhere does not turn over, so nothing moves under a finger.
 */
export function inQueue(queue: readonly Waiting[], filter: QueueFilter): readonly Waiting[] {
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (each: Waiting) =>
    (filter.tier === '' || each.tier === filter.tier) &&
    (filter.owner === '' ||
      (filter.owner === NOBODY ? each.owners.length === 0 : each.owners.includes(filter.owner))) &&
    (filter.waits === '' || waitsFor(each).includes(filter.waits)) &&
    words.every((word) => `${each.workload} ${each.owners.join(' ')}`.toLowerCase().includes(word));
  return queue
    .filter(fits)
    .sort(
      (a, b) =>
        Number(b.counts.question > 0) - Number(a.counts.question > 0) ||
        TIER_RANK[b.tier] - TIER_RANK[a.tier] ||
        (a.since ?? Number.POSITIVE_INFINITY) - (b.since ?? Number.POSITIVE_INFINITY) ||
        (a.workload < b.workload ? -1 : Number(a.workload > b.workload)),
    );
}

/** The one after (or, by -1, before) a workload in the queue; the first one where it is not in it. */
export function neighbourOf(queue: readonly Waiting[], workload: string | undefined, step: 1 | -1) {
  const at = queue.findIndex((each) => each.workload === workload);
  return at === -1 ? queue[0]?.workload : queue[at + step]?.workload;
}
