import { z } from 'zod';
import { InterlockError, isInterlockError, parseSpiffeId, type SpiffeId } from '../../access/index.ts';
import { type AccessPolicy, compile, STAGES, TIERS } from '../../policy/index.ts';
import { AUTHENTICATION_STAGES, type WorkloadRollout } from '../../rollout/index.ts';
import type { IdentityStore, StoredDocument } from '../../store/index.ts';
import { type DocumentKind, readAll, unreadable } from './unreadable.ts';

// Of the policies only the outer shape: `compile` checks them as it checks every document.
const policies = z.array(z.custom<AccessPolicy>((value) => typeof value === 'object' && value !== null));
const schema = z.strictObject({
  workload: z.string().transform((id) => parseSpiffeId(id)),
  tier: z.enum(TIERS),
  stage: z.enum(STAGES),
  target: policies,
  targetVersion: z.number().exactOptional(),
  authors: z.array(z.string()).exactOptional(),
  enforced: policies.optional(),
  share: z.number().min(0).max(1),
  authentication: z.enum(AUTHENTICATION_STAGES),
  since: z.number(),
  by: z.string(),
  shadowSince: z.number().exactOptional(),
  held: z.strictObject({ by: z.string(), at: z.number(), why: z.string() }).exactOptional(),
  canarySince: z.number().exactOptional(),
  floor: z.enum(TIERS).exactOptional(),
  judged: z
    .strictObject({ tier: z.enum(TIERS), missing: z.array(z.string()).exactOptional() })
    .exactOptional(),
});

/** What is in force and on trial for workloads. */
export const ROLLOUTS: DocumentKind = {
  listed: (name) => `rollout ${name}`,
  one: (name) => `what is in force for ${name}`,
  // Their proxies would take that for what somebody wants.
  without: 'less would be enforced than before',
  users: 'proxies',
};

/** A rollout as the store has it. Throws `state` with what is wrong where it is none, or another one than its name says. */
export function rolloutOf({ name, data }: Pick<StoredDocument, 'name' | 'data'>): WorkloadRollout {
  const read = schema.safeParse(data);
  if (!read.success) throw unreadable(name, faultOf(read.error));
  const { enforced, ...rest } = read.data;
  if (rest.workload !== name) throw unreadable(name, `it is of ${rest.workload}`);
  try {
    compile(rest.target);
    if (enforced !== undefined) compile(enforced);
  } catch (error) {
    throw unreadable(name, isInterlockError(error) ? error.message : 'its policies are none', error);
  }
  return { ...rest, ...(enforced === undefined ? {} : { enforced }) };
}

function faultOf({ issues }: z.ZodError): string {
  const unknown = issues.flatMap((issue) => (issue.code === 'unrecognized_keys' ? issue.keys : []));
  if (unknown.length > 0) return `a newer version has written it (${unknown.join(', ')})`;
  const [first] = issues;
  return `${first?.path.map(String).join('.') || 'it'}: ${first?.message ?? 'unreadable'}`;
}

/**
 * All rollouts of a state, by workload, with the versions of their documents by name. Throws `state` where one cannot be read, with
 * what to do.
 */
export function rolloutsOf(documents: readonly StoredDocument[]): {
  readonly all: Map<SpiffeId, WorkloadRollout>;
  readonly versions: Map<string, number>;
} {
  const read = readAll(documents, rolloutOf, ROLLOUTS);
  return {
    all: new Map(read.map((rollout) => [rollout.workload, rollout])),
    versions: new Map(documents.map(({ name, version }) => [name, version])),
  };
}

/** Throws as {@link rolloutsOf} does, for who only looks whether a control plane could start on a state. */
export async function checkRollouts(store: Pick<IdentityStore, 'documents'>): Promise<void> {
  rolloutsOf(await store.documents('rollout'));
}

/** Throws `conflict` where a decision was made on another state of the rollout. */
export function checkSame(rollout: WorkloadRollout, decidedOn: WorkloadRollout | undefined): void {
  if (decidedOn === undefined || rollout === decidedOn) return;
  throw new InterlockError(
    'conflict',
    rollout.workload,
    `${rollout.workload} was moved meanwhile: look again`,
  );
}

export function tooMany(most: number): InterlockError {
  return new InterlockError('limit', 'policies', `policies protect at most ${most} workloads`);
}

export function isEqual(a: AccessPolicy, b: AccessPolicy): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
