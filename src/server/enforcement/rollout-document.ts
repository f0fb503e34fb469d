import { z } from 'zod';
import { InterlockError, isInterlockError, parseSpiffeId, type SpiffeId } from '../../access/index.ts';
import { type AccessPolicy, compile, STAGES, TIERS } from '../../policy/index.ts';
import { AUTHENTICATION_STAGES, type WorkloadRollout } from '../../rollout/index.ts';
import type { IdentityStore, StoredDocument } from '../../store/index.ts';

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

/** Characters of a reason, and names that are told at the start. */
const MOST_REASON = 200;
const MOST_NAMED = 3;

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

function unreadable(name: string, fault: string, cause?: unknown): InterlockError {
  return new InterlockError('state', name, fault.slice(0, MOST_REASON), { cause });
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
  const all = new Map<SpiffeId, WorkloadRollout>();
  const faults = new Map<string, string>();
  for (const document of documents) {
    try {
      const rollout = rolloutOf(document);
      all.set(rollout.workload, rollout);
    } catch (error) {
      faults.set(document.name, error instanceof Error ? error.message : String(error));
    }
  }
  if (faults.size > 0) throw cannotStart(faults);
  return { all, versions: new Map(documents.map(({ name, version }) => [name, version])) };
}

/** Throws as {@link rolloutsOf} does, for who only looks whether a control plane could start on a state. */
export async function checkRollouts(store: Pick<IdentityStore, 'documents'>): Promise<void> {
  rolloutsOf(await store.documents('rollout'));
}

/**
 * Why a control plane does not start: it would enforce nothing for these workloads, and their proxies would take that for what
 * somebody wants.
 */
function cannotStart(faults: ReadonlyMap<string, string>): InterlockError {
  const told = [...faults]
    .slice(0, MOST_NAMED)
    .map(([name, fault]) => `rollout ${name.slice(0, 400)} (${fault})`);
  const more = faults.size > MOST_NAMED ? ` and ${faults.size - MOST_NAMED} more` : '';
  return new InterlockError(
    'state',
    [...faults.keys()][0] ?? '',
    `the state holds what this version cannot read, and without it less would be enforced than before: ${told.join(', ')}${more}. Start the version that wrote it, or a newer one; or restore the state from a copy. Until then proxies go on with what they have`,
  );
}

/** What another replica has written and this one cannot read: it goes on by what it has understood last. */
export function notFollowed(name: string, cause: unknown): InterlockError {
  const fault = cause instanceof Error ? cause.message : String(cause);
  return new InterlockError(
    'unavailable',
    name,
    `this control plane cannot read what is in force for ${name.slice(0, 400)}: ${fault}. Connected proxies keep what they have, others are sent to another control plane; start the version here that the others have`,
    { cause },
  );
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
