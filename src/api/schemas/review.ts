import { z } from 'zod';
import type { Rule } from '../../policy/index.ts';
import { CHANGE_KINDS } from '../../rollout/index.ts';
import {
  action,
  id,
  idInPath,
  json,
  next,
  page,
  policyDocument,
  principalText,
  reason,
  type RouteSchema,
  stage,
  tier,
  tierReason,
  time,
  yamlBody,
} from './common.ts';

/** Changes and questions that are decided in one call. */
const MOST_AT_ONCE = 500;

const workloadInPath = z.strictObject({ workload: idInPath });
const itemId = z.string().min(1).max(64);
const items = z.array(itemId).max(MOST_AT_ONCE);
const target = z
  .string()
  .max(64)
  .describe(
    'The hash of the target set that was looked at, as reviews.get gives it: of another one it is a conflict.',
  );
/** A rule: its inner shape is that of the policy room. */
const rule = z.looseObject({ name: z.string() }) as z.ZodType as z.ZodType<Rule, Rule>;

const counts = z.strictObject({
  added: z.int(),
  widened: z.int(),
  removed: z.int(),
  doubts: z.int().describe('Of added and widened: left to a person one by one.'),
  question: z.int(),
});
const approvals = z.strictObject({
  need: z.int().describe('With one more for each author who may be among those who approve.'),
  by: z.array(z.strictObject({ who: z.string(), at: time })),
  authors: z.array(z.string()).describe('Who has approved and does not count: the target is partly theirs.'),
  notes: z
    .array(z.string())
    .optional()
    .describe('Who does not count, and why more are needed than the gate says, in words.'),
});
const comment = z.strictObject({ by: z.string(), at: time, text: z.string(), about: z.string().optional() });
const evidence = z.strictObject({
  accesses: z.int(),
  count: z.int(),
  firstSeen: time.optional(),
  lastSeen: time.optional(),
  days: z.int(),
  hoursOfWeek: z.array(z.int()).length(168).describe('Calls by hour of the week; 0 is Monday 00:00 UTC.'),
  instances: z.array(z.string()),
  sources: z.array(z.string()),
  declared: z.array(z.string()),
});
const change = z.strictObject({
  id: itemId.describe('Names its content: who approves it approves exactly this.'),
  kind: z.enum(CHANGE_KINDS),
  rule: rule.describe('What it adds, and no more; of "removed" the rule that goes.'),
  of: z.strictObject({ policy: z.string(), rule: z.string() }).optional(),
  evidence,
  doubt: z
    .strictObject({ id: z.string(), codes: z.array(z.string()), reasons: z.array(z.string()) })
    .optional(),
  why: z.string().optional(),
  since: time.describe('Since when it is open.'),
});
const question = z.strictObject({
  id: itemId,
  from: principalText,
  action,
  text: z.string(),
  deniedBy: z.strictObject({
    decidedBy: z.string(),
    policy: z.string().optional(),
    rule: z.string().optional(),
  }),
  count: z.int(),
  firstSeen: time,
  lastSeen: time,
  change: itemId.optional().describe('The change that would allow it.'),
  deny: rule.optional().describe('The rule that would deny it on purpose.'),
  since: time,
});

const review = z.strictObject({
  workload: id,
  tier,
  tierReason: tierReason.optional(),
  stage: stage.optional(),
  owners: z.array(z.string()),
  target,
  counts,
  approvals,
  since: time.optional().describe('Since when the oldest of it is open.'),
  lastDecision: z.strictObject({ who: z.string(), at: time, what: z.string() }).optional(),
});
const whole = review.extend({
  policies: z.array(policyDocument).describe('The target set as it is.'),
  yaml: z.string().describe('The same as text, to be edited.'),
  changes: z.array(change),
  questions: z.array(question),
  isCut: z.boolean().describe('There are more changes than the answer holds.'),
  comments: z.array(comment),
  bulk: z
    .boolean()
    .describe('Whether doubts may be decided together with others, and by somebody who is no owner.'),
});

/** What waits for a person's decision, and who has decided what. */
export const reviews = {
  'reviews.list': {
    query: z.strictObject({ ...page, limit: page.limit.default(1000) }),
    answer: z.strictObject({ reviews: z.array(review), next }),
  },
  'reviews.get': { params: workloadInPath, answer: whole },
  'reviews.approve': {
    params: workloadInPath,
    body: z.strictObject({
      target,
      changes: items.describe('The changes to make; none to approve the target as it is.'),
    }),
    answer: whole,
  },
  'reviews.reject': {
    params: workloadInPath,
    body: z.strictObject({ target, items: items.min(1).describe('Changes, and questions.'), reason }),
    answer: whole,
  },
  'reviews.deny': {
    params: workloadInPath,
    body: z.strictObject({ target, questions: items.min(1), reason }),
    answer: whole,
  },
  'reviews.edit': {
    params: workloadInPath,
    body: z.strictObject({ target, yaml: z.string(), file: z.string().max(4096).optional() }),
    answer: whole,
  },
  'reviews.acknowledge': {
    params: workloadInPath,
    body: z.strictObject({
      ids: z
        .array(z.string().min(1).max(4096))
        .min(1)
        .max(MOST_AT_ONCE)
        .describe(
          'Of blind spots, and of doubts that no rule can be written for, as readiness.get names them.',
        ),
      reason,
    }),
    answer: whole,
  },
  'reviews.ask': {
    params: workloadInPath,
    body: z.strictObject({
      text: z.string().trim().min(1).max(4000),
      about: itemId.optional().describe('The change or question that it is about.'),
    }),
    answer: whole,
  },
  'policies.check': {
    body: yamlBody,
    answer: z.strictObject({
      policies: z.array(z.strictObject({ name: z.string(), workload: id, rules: z.int(), deny: z.int() })),
      fault: z
        .strictObject({
          what: z.string(),
          subject: z.string(),
          line: z.int().exactOptional().describe('From 1 on.'),
        })
        .exactOptional()
        .describe('The first thing that is wrong; absent where it may be applied.'),
      faults: z
        .array(z.strictObject({ what: z.string(), subject: z.string(), line: z.int().exactOptional() }))
        .max(100)
        .describe('Everything that is wrong, as far as it can be told at once: by line, 100 at most.'),
    }),
  },
  'history.get': {
    params: workloadInPath,
    query: z.strictObject({ ...page }),
    answer: z.strictObject({
      entries: z
        .array(z.strictObject({ seq: z.int(), at: time, who: z.string(), act: z.string(), details: json }))
        .describe('The newest first.'),
      next,
    }),
  },
} as const satisfies Readonly<Record<string, RouteSchema>>;
