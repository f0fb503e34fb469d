import { z } from 'zod';
import {
  AUTHENTICATION_STAGES,
  BLIND_SPOT_RULES,
  DOUBT_RULES,
  PROMOTION_CHECKS,
} from '../../rollout/index.ts';
import { MAX_WAIT_MS } from '../words.ts';
import {
  action,
  change,
  count,
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
  principal,
  reason,
  type RouteSchema,
  shownName,
  spiffeId,
  stage,
  syncSource,
  tier,
  tierReason,
  time,
  timeInQuery,
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

const fault = z.strictObject({ code: z.string(), message: z.string(), at: time });
const pointNamed = z.strictObject({
  key: z.string(),
  identity: id,
  instance: z.string(),
  connected: z.boolean(),
  fault: fault.optional(),
});
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

/** How far a change has come. */
const progress = z.strictObject({
  id: change,
  at: time,
  confirmed: z.array(pointNamed.extend({ ms: z.number() })),
  waiting: z.array(pointNamed),
});

const releasedHere = z.strictObject({
  workload: id.optional(),
  reason: z.string(),
  by: z.string().describe('uid:N on the machine of the proxy.'),
  at: time,
  until: time.optional(),
});

export const point = z.strictObject({
  key: z.string(),
  kind: z.enum(['proxy', 'envoy']),
  identity: id,
  instance: z.string(),
  cluster: z.string().optional(),
  workloads: ids,
  version: z.string(),
  since: time,
  connected: z.boolean(),
  unheard: z
    .literal(true)
    .optional()
    .describe('It was connected to another control plane, of which nothing is heard any more.'),
  clockOffset: z.number().optional(),
  wanted: z.number(),
  applied: z.number(),
  appliedAt: time.optional(),
  releasedHere: z.array(releasedHere).optional().describe('Released by hand at the proxy itself.'),
  fault: fault.optional(),
});

const verdict = z.strictObject({
  allowed: z.boolean(),
  decidedBy: z.enum(['no-policy', 'unsafe-path', 'deny', 'rule', 'no-rule']),
  policy: z.string().optional(),
  rule: z.string().optional(),
  conditionUnknown: z.literal(true).optional(),
});
const flip = z.strictObject({
  from: principal,
  to: id,
  action,
  before: verdict,
  after: verdict,
  refused: z.boolean(),
  targetVersion: z.number().optional(),
  count: z.int(),
  firstSeen: time,
  lastSeen: time,
});

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

const unreached = z.strictObject({
  from: id,
  peer: id,
  host: z.string(),
  port: z.int(),
  reason: z.enum(['owner', 'untrusted', 'unreachable']),
  detail: z.string(),
  count: z.int(),
  firstSeen: time,
  lastSeen: time,
});

const text = z.string().min(1).max(2048);
const scope = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('all') }),
  z.strictObject({ kind: z.literal('cluster'), cluster: text }),
  z.strictObject({ kind: z.literal('namespace'), namespace: text }),
  z.strictObject({ kind: z.literal('workload'), workload: spiffeId }),
  z.strictObject({ kind: z.literal('policy'), policy: text }),
]);
const scopeShown = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('all') }),
  z.strictObject({ kind: z.literal('cluster'), cluster: z.string() }),
  z.strictObject({ kind: z.literal('namespace'), namespace: z.string() }),
  z.strictObject({ kind: z.literal('workload'), workload: id }),
  z.strictObject({ kind: z.literal('policy'), policy: z.string() }),
]);
const release = z.strictObject({
  id: z.string(),
  scope: scopeShown,
  reason: z.string(),
  by: z.string(),
  at: time,
  until: time.exactOptional(),
  drill: z.literal(true).exactOptional(),
});
const drill = z.strictObject({ at: time, by: z.string(), points: z.int(), confirmed: z.int() });

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
  'changes.get': {
    params: z.strictObject({ id: z.string().max(64) }),
    query: z.strictObject({
      known: count(0, 1_000_000).default(0).describe('Confirmations that the caller knows of.'),
      waitMs: timeInQuery.default(0).describe('Wait so long at most for more; 30,000 at most.'),
    }),
    answer: progress,
  },
  'releases.list': {
    answer: z.strictObject({
      releases: z.array(release),
      drills: z.array(drill),
      local: z.array(releasedHere.extend({ proxy: z.string(), connected: z.boolean() })),
    }),
  },
  'releases.press': {
    body: z.strictObject({ scope, reason, forMs: z.number().min(1000).optional() }),
    answer: z.strictObject({ release, change }),
  },
  'releases.arm': {
    body: z.strictObject({ id: z.string().max(64).optional() }),
    answer: z.strictObject({ ended: z.array(release), change }),
  },
  'releases.drill': {
    body: z.strictObject({ waitMs: z.number().min(0).max(MAX_WAIT_MS).default(10_000) }),
    answer: progress,
  },
  'points.list': {
    query: z.strictObject({ ...page, limit: page.limit.default(10_000), workload: spiffeId.optional() }),
    answer: z.strictObject({ points: z.array(point), next }),
  },
  'points.forget': {
    body: z.strictObject({ key: z.string().min(1).max(4096) }),
    answer: z.strictObject({ forgotten: z.string() }),
  },
  'flips.list': {
    query: z.strictObject({
      ...page,
      limit: page.limit.default(10_000),
      to: spiffeId.optional(),
      since: timeInQuery.optional(),
    }),
    answer: z.strictObject({ flips: z.array(flip), next }),
  },
  'unreached.list': {
    query: z.strictObject({
      ...page,
      limit: page.limit.default(10_000),
      from: spiffeId.optional(),
      since: timeInQuery.optional(),
    }),
    answer: z.strictObject({ unreached: z.array(unreached), next }),
  },
  'envoy-proxies.list': {
    answer: z.strictObject({
      proxies: z.array(
        z.strictObject({
          workload: id,
          text: z.string(),
          origin: origin
            .omit({ authors: true, authorsCut: true, changedSince: true })
            .optional()
            .describe('Where it was synced from; absent of one that was given by hand.'),
        }),
      ),
    }),
  },
  'envoy-proxies.apply': {
    body: yamlBody.extend({
      source: syncSource.optional().describe('Where a sync has it from; "file" is the file from there.'),
      was: z
        .string()
        .nullable()
        .optional()
        .describe('The text that was looked at, null where there was none: of another one it is a conflict.'),
    }),
    answer: z.strictObject({ workload: id, change }),
  },
  'envoy-proxies.remove': { params: workloadInPath, answer: z.strictObject({ removed: id }) },
} as const satisfies Readonly<Record<string, RouteSchema>>;

export { authentication, canaryNext, rollout, verdict };
