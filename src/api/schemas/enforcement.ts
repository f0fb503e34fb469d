import { z } from 'zod';
import {
  AUTHENTICATION_STAGES,
  BLIND_SPOT_RULES,
  DOUBT_RULES,
  PROMOTION_CHECKS,
} from '../../rollout/index.ts';
import {
  change,
  id,
  idInPath,
  ids,
  name,
  gitAuthors,
  names,
  next,
  origin,
  page,
  policyDocument,
  reason,
  type RouteSchema,
  shownName,
  spiffeId,
  stage,
  syncSource,
  tier,
  tierReason,
  time,
  yamlBody,
} from './common.ts';

const authentication = z.enum(AUTHENTICATION_STAGES);
const workloadInPath = z.strictObject({ workload: idInPath });
const version = z.string().describe('Names the content of the document: "If-Match" takes it.');

const rollout = z.strictObject({
  workload: id,
  version,
  tier,
  stage,
  target: names,
  targetVersion: z.number().optional(),
  enforced: names.optional(),
  share: z.number(),
  authentication,
  since: time,
  by: z.string(),
  held: z
    .strictObject({ by: z.string(), at: time, why: z.string() })
    .optional()
    .describe('It moves forward by itself no more: who has said that, when, and why.'),
  floor: tier
    .optional()
    .describe('Promotions are judged by no laxer tier until a target has come into force by all its gates.'),
});
/** A rollout as lists show it: its policies by name. */
export type RolloutShown = z.output<typeof rollout>;
const changed = z.strictObject({ rollout, change });

const canaryNext = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('wait'), why: z.string() }),
  z.strictObject({ kind: z.literal('widen'), share: z.number() }),
  z.strictObject({ kind: z.literal('enforce') }),
  z.strictObject({ kind: z.literal('fall-back'), why: z.string() }),
]);

/** One named check of a promotion. */
const check = z.strictObject({
  name: z.enum(PROMOTION_CHECKS),
  passed: z.boolean(),
  reason: z.string().describe('What there is, and what is needed where that is not enough.'),
  whatToDo: z.string().optional().describe('Absent where it is passed.'),
});
/** Every check of a promotion, in their order. */
export const gateChecks = z
  .array(check)
  .describe('Every check of a promotion to canary or enforced: what a move is refused for.');

/** What a promotion needs in one tier; `TierGates` of src/rollout says what each means. */
const tierGates = z.strictObject({
  surprises: z.number(),
  days: z.number(),
  hoursOfWeek: z.int(),
  monthEnd: z.boolean(),
  blindSpots: z.enum(BLIND_SPOT_RULES),
  doubts: z.enum(DOUBT_RULES),
  lostShare: z.number(),
  shadowHours: z.number(),
  approvals: z.int(),
  drillDays: z.number(),
  unusedDays: z.number(),
});

export const enforcement = {
  'policies.list': {
    query: z.strictObject({ ...page, workload: spiffeId.optional() }),
    answer: z.strictObject({
      policies: z.array(
        z.strictObject({
          workload: id,
          name: z.string(),
          sets: z.array(z.enum(['target', 'enforced'])).describe('The sets that this document is in.'),
          document: policyDocument,
          origin: origin.optional().describe('Where it was synced from, if it was.'),
        }),
      ),
      next,
    }),
  },
  'policies.apply': {
    body: yamlBody,
    answer: z.strictObject({ workloads: ids, created: names, changed: names, unchanged: names, change }),
  },
  'policies.sync': {
    params: workloadInPath,
    body: z.strictObject({
      version: version
        .max(64)
        .nullable()
        .describe(
          'Of the rollout that was looked at; null where there was none: of another one it is a conflict.',
        ),
      yaml: z.string().describe('Policies to add or replace.'),
      remove: z.array(name).max(1000).default([]),
      removedBy: gitAuthors
        .optional()
        .describe('Who has taken away what is removed, by the history; absent where that does not tell all.'),
      source: syncSource,
      marks: z
        .record(z.string().max(253), z.string().max(64))
        .default({})
        .describe('By policy, what the caller will know its content by. Kept in the audit log.'),
      origins: z
        .record(
          z.string().max(253),
          z.strictObject({
            file: shownName(4096),
            authors: gitAuthors.default([]),
            authorsCut: z.literal(true).optional(),
          }),
        )
        .default({})
        .describe('By policy that is marked: its file, and who has written of it.'),
    }),
    answer: z.strictObject({
      created: names,
      changed: names,
      removed: names,
      unchanged: names,
      change: change.optional().describe('Absent where the target is what it was.'),
    }),
  },
  'policies.remove': { params: workloadInPath.extend({ policy: name }), answer: changed },
  'rollouts.list': {
    query: z.strictObject({ ...page, limit: page.limit.default(10_000) }),
    answer: z.strictObject({ rollouts: z.array(rollout), next }),
  },
  'rollouts.get': {
    params: workloadInPath,
    answer: rollout.extend({
      targetPolicies: z.array(policyDocument),
      enforcedPolicies: z.array(policyDocument).optional(),
      origins: z
        .array(origin.extend({ policy: z.string(), set: z.enum(['target', 'enforced']) }))
        .describe('Where the policies were synced from that were.'),
    }),
  },
  'rollouts.move': {
    params: workloadInPath,
    body: z.strictObject({
      to: stage,
      share: z.number().optional().describe('0 to 1, for a canary.'),
      why: reason.optional(),
      anyway: reason
        .optional()
        .describe(
          'Why it is moved though checks are not passed: it needs the role approver as well, and stands in the audit log.',
        ),
    }),
    answer: changed,
  },
  'rollouts.hold': {
    params: workloadInPath,
    body: z.strictObject({
      why: reason.nullable().describe('Why it is not to move forward by itself; null to let it again.'),
    }),
    answer: z.strictObject({ rollout }),
  },
  'rollouts.authenticate': {
    params: workloadInPath,
    body: z.strictObject({ stage: authentication }),
    answer: changed,
  },
  'gates.get': {
    answer: z.strictObject({
      gates: z.strictObject({ critical: tierGates, standard: tierGates, experimental: tierGates }),
      canary: z.strictObject({
        steps: z.array(z.number()).describe('Shares from 0 to 1, ascending; the last one is 1.'),
        stepMs: z.number().describe('How long a step lasts at least.'),
        requests: z.int().describe('That the points of the share must have judged in a step.'),
      }),
    }),
  },
  'preflight.get': {
    params: workloadInPath,
    answer: z.strictObject({
      now: time,
      tier: tier.describe('The tier that a promotion is judged by.'),
      tierReason: tierReason.exactOptional(),
      policies: z.int(),
      svids: z.strictObject({ live: z.int(), stale: z.int() }),
      agentsBehind: names,
      proxies: z.array(
        z.strictObject({
          key: z.string(),
          connected: z.boolean(),
          isUpToDate: z.boolean(),
          clockOffset: z.number().exactOptional(),
          fault: z.string().exactOptional(),
        }),
      ),
      plaintextCallers: z.array(z.strictObject({ from: z.string(), connections: z.int(), lastSeen: time })),
      wouldDeny: z.array(z.strictObject({ what: z.string(), count: z.int() })),
      widerLosses: names,
      lastDrill: time.exactOptional(),
      gates: gateChecks,
      strict: z.array(check).describe('Every check before plain text is refused.'),
    }),
  },
} as const satisfies Readonly<Record<string, RouteSchema>>;

export { authentication, canaryNext, rollout };
