import { type Access, callsThatReached, hourOfWeek, hoursOf } from '../access/index.ts';
import type { Rejection, ReviewEvidence } from './review-types.ts';

const NOTHING: ReviewEvidence = {
  accesses: 0,
  count: 0,
  days: 0,
  hoursOfWeek: Array.from({ length: 168 }, () => 0),
  instances: [],
  sources: [],
  declared: [],
};

/** What a reviewer is shown of the accesses behind a change. */
export function reviewEvidence(accesses: readonly Access[]): ReviewEvidence {
  if (accesses.length === 0) return NOTHING;
  const week = Array.from({ length: 168 }, () => 0);
  const days = new Set<number>();
  let first = Number.POSITIVE_INFINITY;
  let last = Number.NEGATIVE_INFINITY;
  for (const { evidence } of accesses) {
    // Outcomes 0 and 1 reached the callee.
    for (const [key, n] of evidence.counts)
      if ((key & 3) < 2) week[hourOfWeek(key >> 2)] = n + (week[hourOfWeek(key >> 2)] ?? 0);
    for (const hour of hoursOf(evidence)) days.add(Math.floor(hour / 24));
    first = Math.min(first, evidence.firstSeen);
    last = Math.max(last, evidence.lastSeen);
  }
  const names = (of: (access: Access) => Iterable<string>) =>
    [...new Set(accesses.flatMap((access) => [...of(access)]))].sort();
  return {
    accesses: accesses.length,
    count: accesses.reduce((sum, { evidence }) => sum + callsThatReached(evidence), 0),
    ...(Number.isFinite(first) ? { firstSeen: first } : {}),
    ...(Number.isFinite(last) ? { lastSeen: last } : {}),
    days: days.size,
    hoursOfWeek: week,
    instances: names(({ evidence }) => evidence.instances),
    sources: names(({ evidence }) => evidence.sources),
    declared: names(({ declared }) => declared),
  };
}

/** What a decision rested on, for {@link isMaterial}. */
export type Weight = Pick<Rejection, 'count' | 'days' | 'instances'>;

export function weightOf({ count, days, instances }: ReviewEvidence): Weight {
  return { count, days, instances: instances.length };
}

/** How many times as many calls, how many more days, and from how many instances: that is something else. */
const MORE_CALLS = 10;
const MORE_DAYS = 7;
const SEVERAL = 3;

/**
 * Whether what was rejected rests on materially more now: ten times the calls (ten, where there was none), seven more
 * distinct days, or at least three instances of the caller where it was one at most. Then it is proposed once more.
 */
export function isMaterial(before: Weight, now: Weight): boolean {
  return (
    now.count >= MORE_CALLS * Math.max(1, before.count) ||
    now.days >= before.days + MORE_DAYS ||
    (before.instances <= 1 && now.instances >= SEVERAL)
  );
}
