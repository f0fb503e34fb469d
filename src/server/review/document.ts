import { z } from 'zod';
import { parseSpiffeId, type SpiffeId } from '../../access/index.ts';
import type { Approval, Rejection } from '../../rollout/index.ts';
import type { Json } from '../../store/index.ts';

const approval = z.strictObject({ who: z.string(), at: z.number() });
const rejection = z.strictObject({
  key: z.string(),
  by: z.string(),
  at: z.number(),
  reason: z.string(),
  count: z.number(),
  days: z.number(),
  instances: z.number(),
});
const schema = z.strictObject({
  workload: z.string().transform((id) => parseSpiffeId(id)),
  open: z.array(
    z.strictObject({
      id: z.string(),
      kind: z.enum(['added', 'widened', 'removed', 'question']),
      at: z.number(),
      isDoubt: z.literal(true).exactOptional(),
    }),
  ),
  rejected: z.array(rejection),
  comments: z.array(
    z.strictObject({ by: z.string(), at: z.number(), text: z.string(), about: z.string().exactOptional() }),
  ),
  approved: z.strictObject({ target: z.string(), by: z.array(approval) }).exactOptional(),
  decided: z.array(
    z.strictObject({
      doubt: z.string(),
      who: z.string(),
      at: z.number(),
      as: z.enum(['owner', 'other']),
      isAccepted: z.boolean(),
    }),
  ),
  acknowledged: z
    .array(
      z.strictObject({
        id: z.string(),
        who: z.string(),
        at: z.number(),
        as: z.enum(['owner', 'other']),
        reason: z.string(),
      }),
    )
    .exactOptional(),
  since: z.array(z.tuple([z.string(), z.number()])),
  last: z.strictObject({ who: z.string(), at: z.number(), what: z.string() }).exactOptional(),
});

/** One thing that waits for a decision. */
export interface OpenItem {
  readonly id: string;
  readonly kind: 'added' | 'widened' | 'removed' | 'question';
  /** Since when: milliseconds since 1970 UTC, as all times here. */
  readonly at: number;
  readonly isDoubt?: true;
}

/** What somebody has said about a workload's review, to its owners. */
export interface ReviewComment {
  readonly by: string;
  readonly at: number;
  readonly text: string;
  /** The change or question that it is about. */
  readonly about?: string;
}

/** A doubt that was decided, and whether by an owner. */
export interface DecidedDoubt {
  readonly doubt: string;
  readonly who: string;
  readonly at: number;
  readonly as: 'owner' | 'other';
  readonly isAccepted: boolean;
}

/** What cannot be mended or ruled, and that somebody has said is known: a blind spot, or a doubt without a rule. */
export interface Acknowledged {
  readonly id: string;
  readonly who: string;
  readonly at: number;
  readonly as: 'owner' | 'other';
  readonly reason: string;
}

/** What is kept of the review of one workload. Which changes are proposed is worked out anew each time; decisions are kept. */
export interface ReviewDocument {
  readonly workload: SpiffeId;
  readonly open: readonly OpenItem[];
  readonly rejected: readonly Rejection[];
  readonly comments: readonly ReviewComment[];
  /** Who has approved exactly this target set. */
  readonly approved?: { readonly target: string; readonly by: readonly Approval[] };
  readonly decided: readonly DecidedDoubt[];
  /** Absent of what an earlier program kept. */
  readonly acknowledged?: readonly Acknowledged[];
  /** Since when each rule is known to be in the target: `ruleKey` and a time. */
  readonly since: readonly (readonly [string, number])[];
  /** The last decision, for who comes too late. */
  readonly last?: { readonly who: string; readonly at: number; readonly what: string };
}

export function newReview(workload: SpiffeId): ReviewDocument {
  return { workload, open: [], rejected: [], comments: [], decided: [], since: [] };
}

/** Throws for what is no review. */
export function reviewOf(data: Json): ReviewDocument {
  return schema.parse(data);
}

/** A review is plain data. */
export function reviewJson(review: ReviewDocument): Json {
  return { ...review } as unknown as Json;
}
