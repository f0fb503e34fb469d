import { z } from 'zod';
import { InterlockError, parseSpiffeId } from '../../access/index.ts';
import { type AccessPolicy, compile, STAGES, TIERS } from '../../policy/index.ts';
import { AUTHENTICATION_STAGES, type WorkloadRollout } from '../../rollout/index.ts';
import type { Json } from '../../store/index.ts';

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
});

/** A rollout as the store has it. Throws for what is none. */
export function rolloutOf(data: Json): WorkloadRollout {
  const { enforced, ...rest } = schema.parse(data);
  compile(rest.target);
  if (enforced !== undefined) compile(enforced);
  return { ...rest, ...(enforced === undefined ? {} : { enforced }) };
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
