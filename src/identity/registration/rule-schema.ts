import { z } from 'zod';
import { durationOf, formatDuration, InterlockError, parseTrustDomain } from '../../access/index.ts';
import { MAX_EXPRESSION_LENGTH, parseExpression, type Vocabulary } from '../cel.ts';
import { NODE_VOCABULARY, WORKLOAD_VOCABULARY } from './attributes.ts';
import { nodeSelectorFault, selectorFault } from './selectors.ts';
import { isReservedPath, prefixFault } from '../prefixes.ts';
import { isOfWorkload, parsePieces, type Piece, pieceFault } from './template.ts';
import {
  IDENTITY_API_VERSION,
  IDENTITY_RULE_KIND,
  MAX_DOWNSTREAM_TTL,
  MAX_JWT_TTL,
  MAX_X509_TTL,
  MIN_DOWNSTREAM_TTL,
  MIN_TTL,
} from './types.ts';

/** Text that fulfils a rule of ours; the rule gives the reason why it does not. */
function text(reasonOf: (value: string) => string | undefined, description: string, longest = 4096) {
  return z
    .string()
    .max(longest)
    .superRefine((value, context) => {
      const reason = reasonOf(value);
      if (reason !== undefined) context.addIssue({ code: 'custom', message: reason });
    })
    .describe(description);
}

/** Names stand in log lines and on the wire: no spaces, no separators. Kubernetes' limit is 253. */
const name = z.string().regex(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$/, {
  error: ({ input }) =>
    `"${String(input).slice(0, 60)}" is not a name: letters, digits, ".", "-", "_", at most 253`,
});

const spiffeId = text(
  (value) => spiffeIdFault(value),
  'A path below the trust domain, or a whole SPIFFE ID; {k8s.namespace} stands for an attribute.',
);

/** Why a text is no template of a SPIFFE ID that a rule may give, or undefined. */
function spiffeIdFault(value: string): string | undefined {
  const whole = value.startsWith('spiffe://');
  if (!whole && !value.startsWith('/')) return 'write a path that begins with "/", or a whole "spiffe://" ID';
  const parsed = parsePieces(value.slice(whole ? 'spiffe://'.length : 0), '/');
  if (!parsed.ok) return parsed.reason;
  const [domain, first, ...rest] = parsed.pieces;
  if (domain?.variable !== undefined) return 'its trust domain cannot be a variable';
  const domainFault = whole ? trustDomainFault(domain?.before ?? '') : undefined;
  if (domainFault !== undefined) return domainFault;
  if (first === undefined) return 'a workload needs a path: the ID of the trust domain is for authorities';
  if (isReservedPath(`/${parsed.pieces.slice(1).map(literalOf).join('/')}`))
    return "paths below /interlock/ are the program's own: choose another path";
  for (const piece of [first, ...rest]) {
    const fault = pieceFault(piece, '/');
    if (fault !== undefined) return fault;
  }
  return undefined;
}

/** The piece where it has no variable, else what is no segment and so equals none. */
function literalOf(piece: Piece): string {
  return piece.variable === undefined ? piece.before : '*';
}

function trustDomainFault(value: string): string | undefined {
  try {
    parseTrustDomain(value);
    return undefined;
  } catch (error) {
    if (error instanceof InterlockError) return error.message;
    throw error;
  }
}

const dnsName = text(
  (value) => {
    const parsed = parsePieces(value, '.');
    if (!parsed.ok) return parsed.reason;
    for (const piece of parsed.pieces) {
      const fault = pieceFault(piece, '.');
      if (fault !== undefined) return `"${value.slice(0, 80)}" is not a DNS name: ${fault}`;
    }
    const last = parsed.pieces.at(-1);
    return last?.variable === undefined && /^\d+$/.test(last?.before ?? '')
      ? `"${value.slice(0, 80)}" is not a DNS name: its last label is a number, as in an address`
      : undefined;
  },
  'A DNS name for the certificate; {k8s.service_account} stands for an attribute.',
  253,
);

const when = (vocabulary: Vocabulary) =>
  text(
    (value) => {
      if (value.trim() === '') return undefined;
      const parsed = parseExpression(value, vocabulary);
      return parsed.ok ? undefined : `condition: ${parsed.reason}`;
    },
    `CEL over the attributes, at most ${MAX_EXPRESSION_LENGTH} characters; "" means always.`,
    MAX_EXPRESSION_LENGTH + 1,
  ).optional();

const selectors = (faultOf: (selector: string) => string | undefined) =>
  z
    .array(
      text((value) => {
        const fault = faultOf(value);
        return fault === undefined ? undefined : `selector "${value.slice(0, 80)}": ${fault}`;
      }, 'A selector in its text form, as in k8s:ns:shop.'),
    )
    .max(64)
    .optional();

const duration = (description: string) =>
  text(
    (value) => (durationOf(value) === undefined ? 'write a duration as in 30m, 1h, 1h30m, 7d' : undefined),
    description,
    24,
  ).optional();

const trustDomain = text(trustDomainFault, 'The name of a trust domain.');

const downstream = z
  .strictObject({
    prefixes: z
      .array(text(prefixFault, 'A path that begins and ends with "/".', 1024))
      .min(1)
      .max(64)
      .optional(),
    unlimited: z.literal(true).optional(),
    trustDomains: z.array(trustDomain).min(1).max(64).optional(),
    pathLength: z.int().min(0).max(6).optional(),
  })
  .superRefine(({ prefixes, unlimited, trustDomains }, context) => {
    if (prefixes === undefined && unlimited === undefined && trustDomains === undefined)
      context.addIssue({
        code: 'custom',
        message:
          'a child authority without prefixes may speak for every path: give prefixes, or trustDomains of its own, or write unlimited: true',
      });
    if (prefixes !== undefined && unlimited !== undefined)
      context.addIssue({ code: 'custom', message: 'prefixes and unlimited say opposite things' });
  });

const spec = z
  .strictObject({
    spiffeId,
    selectors: selectors(selectorFault),
    when: when(WORKLOAD_VOCABULARY),
    nodes: z
      .strictObject({ selectors: selectors(nodeSelectorFault), when: when(NODE_VOCABULARY) })
      .optional(),
    ttl: duration('Life of an X509-SVID.'),
    jwtTtl: duration('Life of a JWT-SVID.'),
    dnsNames: z.array(dnsName).max(32).optional(),
    hint: z
      .string()
      .regex(/^[\x20-\x7e]{0,256}$/, { error: 'a hint is at most 256 printable ASCII characters' })
      .optional(),
    federatesWith: z.array(trustDomain).max(256).optional(),
    authority: name.optional(),
    downstream: downstream.optional(),
  })
  .superRefine((value, context) => {
    const refuse = (path: string, message: string) =>
      context.addIssue({ code: 'custom', message, path: [path] });
    const ttl = ttlFault(value);
    if (ttl !== undefined) refuse(ttl.path, ttl.message);
    const wide = widthFault(value);
    if (wide !== undefined) refuse(wide.path, wide.message);
  });

interface Fault {
  readonly path: string;
  readonly message: string;
}
type Spec = {
  readonly [K in 'ttl' | 'jwtTtl' | 'spiffeId' | 'when']?: string | undefined;
} & {
  readonly selectors?: readonly string[] | undefined;
  readonly nodes?: { selectors?: readonly string[] | undefined; when?: string | undefined } | undefined;
  readonly dnsNames?: readonly string[] | undefined;
  readonly downstream?: object | undefined;
};

function ttlFault(value: Spec): Fault | undefined {
  const [least, most] =
    value.downstream === undefined ? [MIN_TTL, MAX_X509_TTL] : [MIN_DOWNSTREAM_TTL, MAX_DOWNSTREAM_TTL];
  for (const [path, low, high] of [
    ['ttl', least, most],
    ['jwtTtl', MIN_TTL, MAX_JWT_TTL],
  ] as const) {
    const ms = value[path] === undefined ? undefined : durationOf(value[path]);
    if (ms !== undefined && (ms < low || ms > high))
      return { path, message: `"${path}" is from ${formatDuration(low)} to ${formatDuration(high)}` };
  }
  return undefined;
}

/** What would be given to more than anybody who reads the document expects. */
function widthFault({ spiffeId, selectors, when, nodes, dnsNames, downstream }: Spec): Fault | undefined {
  const onWorkloads = (selectors?.length ?? 0) > 0 || (when ?? '').trim() !== '';
  const onNodes = (nodes?.selectors?.length ?? 0) > 0 || (nodes?.when ?? '').trim() !== '';
  if (downstream !== undefined) {
    if (!onNodes)
      return {
        path: 'nodes',
        message: 'every agent could become this authority: say in "nodes" which one may',
      };
    if (onWorkloads || (dnsNames?.length ?? 0) > 0)
      return {
        path: 'downstream',
        message: 'a child authority is no workload: leave out selectors, when and dnsNames',
      };
    const parsed = parsePieces(spiffeId ?? '', '/');
    const foreign = parsed.ok
      ? parsed.pieces.find(({ variable }) => variable !== undefined && isOfWorkload(variable))
      : undefined;
    return foreign === undefined
      ? undefined
      : { path: 'spiffeId', message: 'a child authority is no workload: use only agent and claims' };
  }
  if (onWorkloads || onNodes || spiffeId?.includes('{') === true) return undefined;
  return {
    path: 'spiffeId',
    message:
      'every workload on every node would get this ID: give selectors, a condition, or write when: "true"',
  };
}

const marks = z.record(z.string().max(317), z.string().max(65_536));

/** The shape of one IdentityRule document, with what shape alone cannot say as checks. */
export const identityRuleSchema = z.strictObject({
  apiVersion: z.literal(IDENTITY_API_VERSION),
  kind: z.literal(IDENTITY_RULE_KIND),
  metadata: z.strictObject({ name, labels: marks.optional(), annotations: marks.optional() }),
  spec,
});

/** The JSON Schema (2020-12) of an IdentityRule document, for editors. It knows the shape, not the checks. */
export function identityRuleJsonSchema(): Record<string, unknown> {
  return { ...z.toJSONSchema(identityRuleSchema, { target: 'draft-2020-12', io: 'input' }) };
}
