import { z } from 'zod';
import { durationOf, InterlockError } from '../access/index.ts';
import { TIERS, type Tier } from '../policy/index.ts';
import { type CanaryPlan, DEFAULT_CANARY } from './canary.ts';
import { ANY_SURPRISES, BLIND_SPOT_RULES, DEFAULT_GATES, DOUBT_RULES, type TierGates } from './tier-gates.ts';

export * from './tier-gates.ts';

/** Most steps of a canary, and how long one of them may last at least, in milliseconds. */
const MAX_STEPS = 100;
const MAX_STEP_MS = 30 * 86_400_000;

const tierGatesSchema = z.strictObject({
  surprises: z.union([z.number().min(0), z.literal('any').transform(() => ANY_SURPRISES)]),
  days: z.number().min(0).max(366),
  hoursOfWeek: z.int().min(0).max(168),
  monthEnd: z.boolean(),
  blindSpots: z.enum(BLIND_SPOT_RULES),
  doubts: z.enum(DOUBT_RULES),
  lostShare: z.number().min(0).max(1),
  shadowHours: z.number().min(0),
  approvals: z.int().min(0).max(10),
  drillDays: z.number().min(0),
  unusedDays: z.number().min(1).max(3660),
});
const share = z.union([z.number(), z.string()]).transform((value, context) => {
  const percent = typeof value === 'string' ? /^(\d{1,3}(?:\.\d{1,4})?) ?%$/.exec(value)?.[1] : undefined;
  const found = percent === undefined ? value : Number(percent) / 100;
  if (typeof found === 'number' && found > 0 && found <= 1) return found;
  context.addIssue('a share is written like 10% or 0.1: more than 0, at most 1');
  return z.NEVER;
});
const duration = z.string().transform((text, context) => {
  const ms = durationOf(text);
  if (ms !== undefined && ms <= MAX_STEP_MS) return ms;
  context.addIssue('a duration is written like 30s, 10m or 1h30m: at most 30d');
  return z.NEVER;
});
const canarySchema = z.strictObject({
  steps: z
    .array(share)
    .min(1)
    .max(MAX_STEPS)
    .refine((steps) => steps.every((step, i) => i === 0 || step > (steps[i - 1] ?? 0)), {
      error: 'steps ascend',
    })
    .refine((steps) => steps.at(-1) === 1, { error: 'the last step is 100%' }),
  leastTime: duration,
  leastRequests: z.int().min(0).max(1_000_000_000),
});
const fileSchema = z.strictObject({
  critical: tierGatesSchema.partial().optional(),
  standard: tierGatesSchema.partial().optional(),
  experimental: tierGatesSchema.partial().optional(),
  canary: canarySchema.partial().optional(),
});

/** What promotions need, by tier. */
export type Gates = Readonly<Record<Tier, TierGates>>;

/** What a file of gates says, with the defaults where it says nothing. */
export interface GatesFile {
  readonly gates: Gates;
  readonly canary: CanaryPlan;
}

/**
 * Reads a document `{ standard: { surprises: 5 }, canary: { steps: [10%, 100%], leastTime: 30m, leastRequests: 1000 } }` from
 * `name`; what it does not say is as in the defaults. Throws `invalid_document` for a tier, a gate or a value that is not
 * known.
 */
export function gatesFileFrom(document: unknown, name: string): GatesFile {
  // An empty file, or one of comments.
  const parsed = fileSchema.safeParse(document ?? {});
  if (!parsed.success) throw notGates(name, parsed.error.issues[0]);
  const { canary = {}, ...tiers } = parsed.data;
  const of = (tier: Tier): TierGates => ({ ...DEFAULT_GATES[tier], ...defined(tiers[tier] ?? {}) });
  const { steps, stepMs, requests } = DEFAULT_CANARY;
  return {
    gates: { critical: of('critical'), standard: of('standard'), experimental: of('experimental') },
    canary: {
      steps: canary.steps ?? steps,
      stepMs: canary.leastTime ?? stepMs,
      requests: canary.leastRequests ?? requests,
    },
  };
}

/** The gates of {@link gatesFileFrom} alone. */
export function gatesFrom(document: unknown, name: string): Gates {
  return gatesFileFrom(document, name).gates;
}

function notGates(name: string, issue: z.core.$ZodIssue | undefined): InterlockError {
  const where = issue === undefined || issue.path.length === 0 ? '' : `${issue.path.join('.')}: `;
  return new InterlockError(
    'invalid_document',
    name,
    `${name} does not hold gates by tier (${TIERS.join(', ')}) or a canary: ${where}${issue?.message ?? 'unreadable'}`,
  );
}

/** Only the keys that have a value, so that an absent one does not hide a default. */
function defined(gates: Partial<Record<keyof TierGates, unknown>>): Partial<TierGates> {
  return Object.fromEntries(Object.entries(gates).filter(([, value]) => value !== undefined));
}
