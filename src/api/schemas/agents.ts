import { z } from 'zod';
import { id, idInPath, json, page, type RouteSchema, syncSource, time } from './common.ts';

const versions = z.strictObject({ bundles: z.int(), rules: z.int(), revocations: z.int() });
const reason = z.string().max(200).default('unspecified');
const agentInPath = z.strictObject({ agent: idInPath });

export const agents = {
  'agents.list': {
    answer: z.strictObject({
      versions,
      agents: z.array(
        z.strictObject({
          id: z.string(),
          attestor: z.string(),
          attributes: json,
          serial: z.string(),
          notAfter: time,
          attestedAt: time,
          isEvicted: z.boolean(),
          isConnected: z.boolean(),
          address: z.string().optional(),
          version: z.string().optional(),
          since: time.optional(),
          confirmed: versions.optional(),
        }),
      ),
    }),
  },
  'agents.evict': {
    params: agentInPath,
    body: z.strictObject({ reason }),
    answer: z.strictObject({ revoked: z.int() }),
  },
  'agents.forget': { params: agentInPath, answer: z.strictObject({ forgotten: z.string() }) },
  'join-tokens.list': {
    answer: z.strictObject({
      tokens: z.array(z.strictObject({ agent: z.string(), createdAt: time, expiresAt: time })),
    }),
  },
  'join-tokens.make': {
    body: z.strictObject({
      agent: z.string().min(1).max(1024),
      ttlMs: z.int().default(600_000),
      attributes: z.record(z.string().max(256), json).default({}),
    }),
    answer: z.strictObject({ token: z.string(), expiresAt: time }),
  },
} as const satisfies Readonly<Record<string, RouteSchema>>;

/** An IdentityRule as we give it: its outer shape; docs/identity.md says the whole of it. */
export interface RuleShown {
  readonly apiVersion: string;
  readonly kind: 'IdentityRule';
  readonly metadata: { readonly name: string };
  readonly spec: { readonly spiffeId: string };
}
const rule = z.looseObject({
  apiVersion: z.string(),
  kind: z.literal('IdentityRule'),
  metadata: z.looseObject({ name: z.string() }),
  spec: z.looseObject({ spiffeId: z.string() }),
}) as z.ZodType as z.ZodType<RuleShown, RuleShown>; // A document: its fields have no index signature.
const ruleInPath = z.strictObject({ name: z.string().min(1).max(253) });
const version = z.int().describe('Of all rules: "If-Match" takes it.');

export const rules = {
  'rules.list': {
    query: z.strictObject({ ...page, limit: page.limit.default(10_000) }),
    answer: z.strictObject({ version, rules: z.array(rule), next: z.string().optional() }),
  },
  'rules.get': { params: ruleInPath, answer: rule },
  'rules.apply': {
    body: z.union([
      z.strictObject({ yaml: z.string(), file: z.string().max(4096).optional() }),
      z.strictObject({
        rules: z.array(z.unknown()).max(100_000),
        remove: z.array(z.string().min(1).max(253)).max(100_000).default([]),
        source: syncSource.optional(),
      }),
    ]),
    answer: z.strictObject({
      created: z.array(z.string()),
      changed: z.array(z.string()),
      unchanged: z.array(z.string()),
      removed: z.array(z.string()).exactOptional(),
      warnings: z.array(z.string()),
    }),
  },
  'rules.remove': { params: ruleInPath, answer: z.strictObject({ removed: z.string() }) },
  'rules.explain': {
    body: z.strictObject({
      attributes: z
        .record(z.string(), z.unknown())
        .describe("The workload's attributes, as the agent sees them."),
      agent: z
        .string()
        .max(2048)
        .optional()
        .describe('SPIFFE ID of a known agent; without it, rules that look at the agent see none.'),
      yaml: z.string().optional().describe('Rules to try in place of those in force.'),
    }),
    answer: z.strictObject({
      rules: z.array(
        z.strictObject({
          rule: z.string(),
          identity: z
            .strictObject({
              rule: z.string(),
              spiffeId: id,
              dnsNames: z.array(z.string()),
              ttl: z.number(),
              jwtTtl: z.number(),
              hint: z.string(),
              federatesWith: z.array(z.string()),
              authority: z.string().optional(),
            })
            .optional(),
          condition: z.string().optional(),
          reason: z.string().optional(),
        }),
      ),
    }),
  },
} as const satisfies Readonly<Record<string, RouteSchema>>;
