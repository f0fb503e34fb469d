import { z } from 'zod';
import { MAX_WAIT_MS } from '../words.ts';
import {
  action,
  change,
  count,
  id,
  idInPath,
  ids,
  next,
  origin,
  page,
  principal,
  reason,
  type RouteSchema,
  spiffeId,
  syncSource,
  time,
  timeInQuery,
  yamlBody,
} from './common.ts';

const fault = z.strictObject({ code: z.string(), message: z.string(), at: time });
const pointNamed = z.strictObject({
  key: z.string(),
  identity: id,
  instance: z.string(),
  connected: z.boolean(),
  fault: fault.optional(),
});
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

export const verdict = z.strictObject({
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

/** What the points of enforcement are told, and what they report. */
export const points = {
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
  'envoy-proxies.remove': {
    params: z.strictObject({ workload: idInPath }),
    answer: z.strictObject({ removed: id }),
  },
} as const satisfies Readonly<Record<string, RouteSchema>>;
