import { z } from 'zod';
import { durationOf, InterlockError, parseSpiffeId } from '../access/index.ts';
import { parseCaller } from './caller.ts';
import { MAX_CONDITION_LENGTH, parseCondition } from './condition.ts';
import { parseTemplate } from './template.ts';
import { API_VERSION, type From, POLICY_KIND, STAGES, TIERS } from './types.ts';
import { parseUntil } from './until.ts';

/** Text that fulfils a rule of ours; the rule gives the reason why it does not. */
function text(reasonOf: (value: string) => string | undefined, description: string) {
  return z
    .string()
    .max(8192)
    .superRefine((value, context) => {
      const reason = reasonOf(value);
      if (reason !== undefined) context.addIssue({ code: 'custom', message: reason });
    })
    .describe(description);
}

/** Names stand in file names, statistics and log lines: no spaces, no separators. Kubernetes' limit is 253. */
const name = z.string().regex(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/, {
  error: ({ input }) =>
    `"${String(input).slice(0, 60)}" is not a name: letters, digits, ".", "-", "_", at most 253`,
});

const noFrom = (from: From) => {
  const parsed = parseCaller(from);
  return parsed.ok ? undefined : parsed.reason;
};

const from = z.union([
  z.strictObject({
    workload: text(
      (workload) => noFrom({ workload }),
      'A SPIFFE ID, or one ending in /* for everything below it.',
    ),
  }),
  z.strictObject({
    trustDomain: text((trustDomain) => noFrom({ trustDomain }), 'Everyone of a trust domain.'),
  }),
  z.strictObject({
    user: z.strictObject({ issuer: z.string().min(1).max(2048), subject: z.string().min(1).max(2048) }),
  }),
  z.strictObject({ group: z.string().min(1).max(2048) }),
  z.strictObject({
    unauthenticated: z.strictObject({
      from: text((cidr) => noFrom({ unauthenticated: { from: cidr } }), 'A CIDR, or world, host, ...'),
    }),
  }),
]);

const ports = z.array(z.int().min(1).max(65535)).min(1).optional();

const method = z.string().regex(/^[A-Z][A-Z0-9-]{0,31}$/, {
  error: ({ input }) => `"${String(input).slice(0, 40)}" is not a method: write it in upper case, as in GET`,
});

const path = text((value) => {
  const parsed = parseTemplate(value);
  if (!parsed.ok) return `path "${clip(value)}": ${parsed.reason}`;
  const { names } = parsed.template;
  return new Set(names).size === names.length
    ? undefined
    : `path "${clip(value)}": a parameter name is used twice`;
}, 'A path; {name} stands for one segment, a last {name=**} for the rest.');

/** One path segment, literal: what a gRPC service or method name is on the wire. */
const segment = text((value) => {
  const parsed = value.includes('/') ? undefined : parseTemplate(`/${value}`);
  const literal = parsed?.ok === true && value !== '' && parsed.template.names.length === 0;
  return literal ? undefined : `"${clip(value)}" is not a gRPC name as it stands in a path`;
}, 'package.Service, or a method of it.');

const to = z.union([
  z.strictObject({ tcp: z.strictObject({}), ports }),
  z.strictObject({
    http: z.strictObject({
      methods: z.array(method).min(1).optional(),
      paths: z.array(path).min(1).optional(),
    }),
    ports,
  }),
  z.strictObject({
    grpc: z.strictObject({ service: segment, methods: z.array(segment).min(1).optional() }),
    ports,
  }),
]);

const when = text((value) => {
  if (value.trim() === '') return undefined;
  const parsed = parseCondition(value);
  return parsed.ok ? undefined : `condition: ${parsed.reason}`;
}, `CEL over the request, at most ${MAX_CONDITION_LENGTH} characters; "" means always.`);

const until = text((value) => {
  const parsed = parseUntil(value);
  return parsed.ok ? undefined : `until: ${parsed.reason}`;
}, 'When the rule ends by itself: RFC 3339 with a zone, as in 2026-12-31T00:00:00Z. Only of rules, not of deny.');

/** Shown in tables and log lines: nothing that a terminal acts on, or that hides or reorders text. */
const reason = z
  .string()
  .min(1)
  .max(500)
  .regex(/^[^\p{Cc}\p{Cf}\p{Zl}\p{Zp}]*$/u, { error: 'a reason is one line of visible text' })
  .describe('Why there is an exception, in one line.');

const count = z.int().min(0);
const line = z.string().max(2048);

const evidence = z.strictObject({
  views: z.array(z.enum(['observed', 'declared'])),
  count,
  firstSeen: line.optional(),
  lastSeen: line.optional(),
  days: count,
  hoursOfWeek: count,
  instances: count,
  sources: z.array(line),
  declared: z.array(line).optional(),
});

const rule = z.strictObject({
  name,
  from: z.array(from).min(1),
  to: z.array(to).min(1),
  when: when.optional(),
  until: until.optional(),
  reason: reason.optional(),
  evidence: evidence.optional(),
});

const workload = text((value) => {
  try {
    return parseSpiffeId(value).indexOf('/', 9) < 0
      ? `"${clip(value)}" is a trust domain, not a workload`
      : undefined;
  } catch (error) {
    if (error instanceof InterlockError) return error.message;
    throw error;
  }
}, 'The SPIFFE ID of the workload that is protected.');

const spec = z
  .strictObject({
    protects: z.strictObject({ workload }),
    tier: z.enum(TIERS).default('standard'),
    stage: z.enum(STAGES).default('draft'),
    rules: z.array(rule).default([]),
    deny: z.array(rule).default([]).describe('The same shape as rules; wins over them.'),
    connectionGrace: text(
      (value) =>
        durationOf(value) === undefined ? `"${clip(value)}" is no duration: 30s, 10m, 1h` : undefined,
      'How long an open connection stays that the policy, once it changes, no longer allows; 30s where absent.',
    ).optional(),
  })
  .superRefine(({ rules, deny }, context) => {
    for (const [i, { name, until }] of deny.entries()) {
      if (until === undefined) continue;
      const message = `deny rule "${name}" has an end: at its end it would allow what nobody has approved then; take the rule away by hand`;
      context.addIssue({ code: 'custom', message, path: ['deny', i, 'until'] });
    }
    const seen = new Set<string>();
    for (const [list, key] of [
      [rules, 'rules'],
      [deny, 'deny'],
    ] as const) {
      for (const [i, { name }] of list.entries()) {
        if (seen.has(name)) {
          context.addIssue({
            code: 'custom',
            message: `two rules are named "${name}"`,
            path: [key, i, 'name'],
          });
        }
        seen.add(name);
      }
    }
  });

const marks = z.record(z.string().max(317), z.string().max(65_536));

/** The shape of one AccessPolicy document, with what shape alone cannot say as checks. */
export const policySchema = z.strictObject({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal(POLICY_KIND),
  metadata: z.strictObject({
    name,
    namespace: name.optional(),
    labels: marks.optional(),
    annotations: marks.optional(),
  }),
  spec,
});

/** The JSON Schema (2020-12) of an AccessPolicy document, for editors. It knows the shape, not the checks. */
export function policyJsonSchema(): Record<string, unknown> {
  return { ...z.toJSONSchema(policySchema, { target: 'draft-2020-12', io: 'input' }) };
}

function clip(value: string): string {
  return value.length > 80 ? `${value.slice(0, 77)}...` : value;
}
