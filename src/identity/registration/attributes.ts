import { z } from 'zod';
import { InterlockError, parseSpiffeId, spiffeIdOf } from '../../access/index.ts';
import type { Vocabulary } from '../cel.ts';
import type { AgentAttributes, Claim, WorkloadAttributes } from './types.ts';

/** Largest attributes on the wire, in bytes: labels and environment of one container fit many times. */
export const MAX_ATTRIBUTES_BYTES = 256 * 1024;

/** What the expressions of a rule may name. */
export const NODE_VOCABULARY: Vocabulary = { agent: ['id', 'attestor'], claims: 'any' };
export const WORKLOAD_VOCABULARY: Vocabulary = {
  unix: ['uid', 'gid', 'user', 'group', 'groups', 'path', 'sha256'],
  k8s: [
    'namespace',
    'service_account',
    'pod_name',
    'pod_uid',
    'node_name',
    'container_name',
    'image',
    'image_id',
    'labels',
    'owners',
  ],
  systemd: ['unit', 'fragment_path'],
  docker: ['container_id', 'image', 'labels', 'env'],
  ...NODE_VOCABULARY,
};

const text = z.string().max(4096);
const id = z.int().min(0).max(0xffff_ffff);
const texts = z.record(text, z.string().max(65_536));

const workloadSchema = z.strictObject({
  unix: z
    .strictObject({
      uid: id,
      gid: id,
      user: text.optional(),
      group: text.optional(),
      groups: z.array(id).max(65_536),
      path: text.optional(),
      sha256: z
        .string()
        .regex(/^[0-9a-f]{64}$/)
        .optional(),
    })
    .optional(),
  k8s: z
    .strictObject({
      namespace: text,
      service_account: text,
      pod_name: text,
      pod_uid: text,
      node_name: text,
      container_name: text,
      image: text,
      image_id: text.optional(),
      labels: texts,
      owners: z.array(text).max(64).optional(),
    })
    .optional(),
  systemd: z.strictObject({ unit: text, fragment_path: text.optional() }).optional(),
  docker: z
    .strictObject({ container_id: text, image: text, labels: texts, env: texts.optional() })
    .optional(),
});

/**
 * A workload's attributes from their JSON form. Throws `limit` above {@link MAX_ATTRIBUTES_BYTES}, else
 * `invalid_document` for anything that is no such object or names what is not known.
 */
export function readWorkloadAttributes(json: Uint8Array): WorkloadAttributes {
  const result = workloadSchema.safeParse(jsonOf(json, 'the attributes of a workload'));
  // zod writes optional fields as "or undefined"; parsed from JSON, no field has that value.
  if (result.success) return result.data as WorkloadAttributes;
  const issue = result.error.issues[0];
  throw new InterlockError(
    'invalid_document',
    'attributes',
    `the attributes of a workload are not valid at "${(issue?.path ?? []).map(String).join('.')}": ${issue?.message ?? 'unreadable'}`,
  );
}

/** The JSON form that {@link readWorkloadAttributes} takes. */
export function writeWorkloadAttributes(attributes: WorkloadAttributes): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(attributes));
}

// Not strict: the control plane may be newer than the agent that reads this, and say more.
const agentSchema = z.object({
  agent: z.object({
    id: text.refine((value) => spiffeIdOf(value) !== undefined, 'it is not a SPIFFE ID'),
    attestor: z.string().min(1).max(64),
  }),
  selectors: z.array(text).max(1024),
  claims: z.record(text, z.unknown()),
  endsAt: z.int().min(0).optional(),
});

/**
 * An agent's attributes from their stored JSON form. Throws like {@link readWorkloadAttributes}, but for names that are
 * not known: those are left out.
 */
export function readAgentAttributes(json: Uint8Array): AgentAttributes {
  const result = agentSchema.safeParse(jsonOf(json, 'the attributes of an agent'));
  if (!result.success) {
    const issue = result.error.issues[0];
    throw new InterlockError(
      'invalid_document',
      'attributes',
      `the attributes of an agent are not valid at "${(issue?.path ?? []).map(String).join('.')}": ${issue?.message ?? 'unreadable'}`,
    );
  }
  const { agent, selectors, claims, endsAt } = result.data;
  return {
    agent: { ...agent, id: parseSpiffeId(agent.id) },
    selectors,
    claims: claimsOf(claims),
    ...(endsAt === undefined ? {} : { endsAt }),
  };
}

function jsonOf(json: Uint8Array, what: string): unknown {
  if (json.byteLength > MAX_ATTRIBUTES_BYTES) {
    throw new InterlockError(
      'limit',
      'attributes',
      `${what} have ${json.byteLength} bytes; at most ${MAX_ATTRIBUTES_BYTES} are taken`,
    );
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json));
  } catch (cause) {
    throw new InterlockError('invalid_document', 'attributes', `${what} are not JSON`, { cause });
  }
}

/** Deepest nesting and longest list of claims that rules get to see. */
const MAX_CLAIM_DEPTH = 6;
const MAX_CLAIM_ITEMS = 1024;

/** JSON data as claims: null, what nests too deep and the end of very long lists are left out. */
export function claimsOf(data: Readonly<Record<string, unknown>>): Readonly<Record<string, Claim>> {
  const map = claimOf(data, 0);
  return typeof map === 'object' && !Array.isArray(map) ? (map as Record<string, Claim>) : {};
}

function claimOf(value: unknown, depth: number): Claim | undefined {
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  if (typeof value !== 'object' || value === null || depth > MAX_CLAIM_DEPTH) return undefined;
  if (Array.isArray(value)) {
    return value
      .slice(0, MAX_CLAIM_ITEMS)
      .map((item) => claimOf(item, depth + 1))
      .filter((item) => item !== undefined);
  }
  const entries: [string, Claim][] = [];
  for (const [key, item] of Object.entries(value).slice(0, MAX_CLAIM_ITEMS)) {
    const claim = claimOf(item, depth + 1);
    if (claim !== undefined) entries.push([key, claim]);
  }
  // fromEntries defines own properties: a key "__proto__" stays a key.
  return Object.fromEntries(entries);
}
