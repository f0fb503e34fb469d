import { z } from 'zod';
import { VIEWS } from '../../access/index.ts';
import type { Rule, RuleEvidence } from '../../policy/index.ts';
import { GATES } from '../../rollout/index.ts';
import { ACCESS_AUTHENTICATION, ACCESS_STATES } from '../words.ts';
import { authentication, canaryNext, gateChecks, rollout } from './enforcement.ts';
import { point, verdict } from './points.ts';
import {
  action,
  id,
  idInPath,
  next,
  page,
  policyDocument,
  principalText,
  type RouteSchema,
  stage,
  tier,
  time,
  timeInQuery,
} from './common.ts';

const view = z.enum(VIEWS);
const state = z.enum(ACCESS_STATES);
const accessAuthentication = z.enum(ACCESS_AUTHENTICATION);
const views = z.strictObject({
  possible: z.int(),
  declared: z.int(),
  observed: z.int(),
  authorized: z.int(),
});
const outcomes = z.strictObject({ ok: z.int(), error: z.int(), failed: z.int(), denied: z.int() });

const access = z.strictObject({
  id: z.string().describe('Stable: the same caller, callee and action have the same.'),
  from: principalText,
  to: principalText,
  action,
  text: z.string().describe('The action as people read it.'),
  views: z.array(view),
  state,
  authentication: accessAuthentication,
  count: z.int().describe('Calls that reached the callee.'),
  firstSeen: time.optional(),
  lastSeen: time.optional(),
  days: z.int(),
  hoursOfWeek: z.array(z.int()).describe('0 is Monday 00:00 UTC.'),
  instances: z.array(z.string()),
  sources: z.array(z.string()),
  outcomes,
  mutual: z.int(),
  plaintext: z.int(),
  today: verdict.optional().describe('By the set in force; absent where nothing protects the callee.'),
  target: verdict.optional(),
  approximate: z.array(z.string()).optional().describe('Why the verdicts are not exact.'),
  declared: z.array(z.string()).optional(),
  isCollapsed: z.literal(true).optional(),
});
/** An access as the API shows it. */
export type AccessShown = z.output<typeof access>;

const workload = z.strictObject({
  id,
  namespace: z.string(),
  name: z.string(),
  tier,
  stage: stage.optional().describe('Absent where no policy protects it.'),
  share: z.number().optional(),
  hasOlderSet: z.boolean().describe('A set before the target stays in force.'),
  authentication: authentication.optional(),
  since: time.optional(),
  by: z.string().optional(),
  released: z.string().optional().describe('The release that concerns all of it.'),
  callers: z.int(),
  callees: z.int(),
  accesses: z.int(),
  points: z.int(),
  connected: z.int(),
  behind: z.int(),
  flips: z.int(),
  doubts: z
    .int()
    .optional()
    .describe('Accesses that a proposal leaves to a person; absent until they were counted.'),
  plaintext: z.int().describe('Accesses to it that are not mutually authenticated.'),
  lastSeen: time.optional(),
});
/** A workload as lists show it. */
export type WorkloadShown = z.output<typeof workload>;

const neighbour = z.strictObject({
  principal: principalText,
  accesses: z.int(),
  calls: z.int(),
  wouldDeny: z.int(),
  denied: z.int().describe('Accesses that the set in force denies.'),
  plaintext: z.int(),
  views: z.array(view),
  lastSeen: time.optional(),
});

const node = z.strictObject({
  id: z.string().describe('A SPIFFE ID, a namespace, or "unauthenticated:" and where it came from.'),
  kind: z.enum(['workload', 'namespace', 'unauthenticated']),
  name: z.string(),
  namespace: z.string().optional(),
  workloads: z.int(),
  stages: z.record(z.string(), z.int()).describe('Workloads by stage; "none" where no policy protects them.'),
  released: z.int(),
});
const edge = z.strictObject({
  from: z.string(),
  to: z.string(),
  accesses: z.int(),
  calls: z.int(),
  views,
  wouldDeny: z.int(),
  denied: z.int(),
  unused: z.int(),
  plaintext: z.int(),
  fresh: z
    .int()
    .describe(
      'Accesses first seen in the last 24 hours, and in the newer half of the time that was watched.',
    ),
  lastSeen: time.optional(),
});

// Documents: their inner shape is that of the policy room.
const policyRule = z.looseObject({ name: z.string() }) as z.ZodType as z.ZodType<Rule, Rule>;
const doubt = z.strictObject({
  id: z.string(),
  from: principalText,
  to: id,
  action: z.string(),
  codes: z.array(z.string()),
  reasons: z.array(z.string()),
  evidence: z.looseObject({ count: z.int() }) as z.ZodType as z.ZodType<RuleEvidence, RuleEvidence>,
  rule: policyRule.optional(),
});

const ruleEvidence = z.strictObject({
  rule: z.string(),
  isNew: z.boolean().describe('The present target does not allow all of it.'),
  accesses: z.int(),
  count: z.int(),
  hoursOfWeek: z.array(z.int()).length(168).describe('Calls by hour of the week; 0 is Monday 00:00 UTC.'),
  instances: z.array(z.string()),
  firstSeen: time.optional(),
  lastSeen: time.optional(),
});

/** A number that is null where it has no bound. */
const bound = z.number().nullable();
const gated = { gate: z.enum(GATES), tier, have: z.string(), need: z.string() };
const gate = z.discriminatedUnion('state', [
  z.strictObject({ ...gated, state: z.literal('passed') }),
  z.strictObject({ ...gated, state: z.enum(['missing', 'later']), what: z.string() }),
]);

export const estate = {
  'workloads.list': {
    query: z.strictObject({
      ...page,
      limit: page.limit.default(1000),
      namespace: z.string().max(253).optional(),
      stage: z.enum([...stage.options, 'none', 'released']).optional(),
      search: z.string().max(200).optional().describe('Part of its ID.'),
    }),
    answer: z.strictObject({ workloads: z.array(workload), total: z.int(), next }),
  },
  'workloads.get': {
    params: z.strictObject({ workload: idInPath }),
    answer: workload.extend({
      identifiedBy: z.enum(['spiffe', 'service-account', 'workload-name']).optional(),
      kind: z.string().optional(),
      serviceAccount: z.string().optional(),
      labels: z.record(z.string(), z.string()),
      marks: z.record(z.string(), z.string()),
      ports: z.array(z.strictObject({ name: z.string().optional(), port: z.int() })),
      hostNetwork: z.boolean(),
      schedule: z.string().optional(),
      timeZone: z.string().optional(),
      deployedAt: time.optional(),
      calledBy: z.array(neighbour),
      calls: z.array(neighbour),
      rollout: rollout.optional(),
      canary: canaryNext.optional().describe('What a canary waits for, or would do now.'),
      proxies: z.array(point),
      plaintextCallers: z.array(
        z.strictObject({
          from: z.string(),
          port: z.int(),
          workload: id.optional(),
          connections: z.int(),
          firstSeen: time,
          lastSeen: time,
        }),
      ),
      blindSpots: z.array(
        z.strictObject({
          kind: z.string(),
          from: principalText,
          to: principalText,
          what: z.string(),
          count: z.int(),
        }),
      ),
    }),
  },
  'accesses.list': {
    query: z.strictObject({
      ...page,
      from: principalText
        .max(2200)
        .optional()
        .describe('A principal, or all that begin so where it ends in "*".'),
      to: principalText.max(2200).optional().describe('The same for the callee.'),
      view: view.optional(),
      state: state.optional(),
      authentication: accessAuthentication.optional(),
      firstSince: timeInQuery.optional().describe('Only those first seen since.'),
    }),
    answer: z.strictObject({ accesses: z.array(access), total: z.int(), next }),
  },
  'graph.get': {
    query: z.strictObject({
      by: z.enum(['namespace', 'workload']).default('namespace'),
      namespace: z.string().max(253).optional().describe('Only what has an end in this namespace.'),
      since: z
        .string()
        .max(100)
        .optional()
        .describe('The "version" of an answer to the same question: only what has changed in it since.'),
    }),
    answer: z.strictObject({
      version: z.string().describe('Give it as "since" to be told only what has changed.'),
      since: z
        .string()
        .optional()
        .describe(
          'Nodes and edges are those that are new or say something else since this version, and all others are as they were. Absent where they are all that there are, as where that version is not known here.',
        ),
      gone: z
        .strictObject({
          nodes: z.array(z.string()),
          edges: z.array(z.strictObject({ from: z.string(), to: z.string() })),
        })
        .optional()
        .describe('What is not there any more, nodes by their IDs.'),
      trustDomain: z.string(),
      nodes: z.array(node),
      edges: z.array(edge),
      isCut: z.boolean().describe('There is more than one answer holds: ask by namespace.'),
    }),
  },
  'proposals.get': {
    params: z.strictObject({ workload: idInPath }),
    answer: z.strictObject({
      workload: id,
      policy: policyDocument.optional().describe('Absent where no rule can be proposed.'),
      yaml: z.string(),
      rules: z.array(ruleEvidence),
      doubts: z.array(doubt),
      remarks: z.array(z.strictObject({ workload: id.optional(), what: z.string() })),
      covered: z.strictObject({
        accesses: z.int(),
        calls: z.int(),
        observed: z.int(),
        declared: z.int(),
        doubts: z.int(),
        neverReached: z.int(),
        outside: z.int(),
      }),
    }),
  },
  'readiness.get': {
    params: z.strictObject({ workload: idInPath }),
    answer: z.strictObject({
      tier: tier.describe('That of the workload; "tiers" has all three.'),
      gates: gateChecks,
      readiness: z.strictObject({
        workload: id,
        judgedAt: time,
        accesses: z.int(),
        callers: z.int(),
        lastDeployment: z.strictObject({ at: time, of: id }).optional(),
        surprises: z.strictObject({
          bound,
          weekLimit: bound,
          seen: z.int(),
          windowHours: z.number(),
          windowStart: bound,
          windowEnd: bound,
          since: z.enum(['window', 'deployment']),
          unrecordedHours: z.int(),
          unrecordedMonthEndHours: z.int(),
          allowance: bound,
          unseenShare: z.number(),
        }),
        calendar: z.strictObject({
          days: z.number(),
          hoursOfWeek: z.int(),
          recorded: z.array(z.boolean()),
          missing: z.string(),
          monthEnd: z.boolean(),
          monthEndHours: z.int(),
          monthEndRecorded: z.array(z.boolean()),
        }),
        blindSpots: z.array(
          z.strictObject({
            id: z.string(),
            kind: z.string(),
            what: z.string(),
            toDo: z.string(),
            certain: z.boolean(),
            acknowledged: z.boolean(),
          }),
        ),
        doubts: z.array(
          z.strictObject({
            id: z.string(),
            reasons: z.array(z.string()),
            decidedBy: z.enum(['owner', 'other']).optional(),
          }),
        ),
        events: z.strictObject({ taken: z.int(), lost: z.int(), lostShare: z.number() }),
        ending: z
          .array(
            z.strictObject({
              from: z.string(),
              action: z.string(),
              policy: z.string(),
              rule: z.string(),
              until: z.string(),
              count: z.int(),
            }),
          )
          .optional()
          .describe('Accesses that only an exception allows which ends within a week.'),
      }),
      tiers: z.array(z.strictObject({ tier, ready: z.boolean(), gates: z.array(gate) })),
    }),
  },
} as const satisfies Readonly<Record<string, RouteSchema>>;
