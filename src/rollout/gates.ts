import { z } from 'zod';
import { InterlockError } from '../access/index.ts';
import { TIERS, type Tier } from '../policy/index.ts';

/** How blind spots are dealt with before enforcement, from lax to strict. */
export const BLIND_SPOT_RULES = ['listed', 'acknowledged', 'none'] as const;
/** How doubts are dealt with before enforcement, from lax to strict. */
export const DOUBT_RULES = ['any', 'decided', 'decided-by-owner'] as const;

/** What a promotion to `enforced` needs for one tier. */
export interface TierGates {
  /** Highest upper 95 % bound on first-week surprises, in accesses. */
  readonly surprises: number;
  /** Least days recorded, least hours of the 168 of the week, and whether a month's end must be among them. */
  readonly days: number;
  readonly hoursOfWeek: number;
  readonly monthEnd: boolean;
  readonly blindSpots: (typeof BLIND_SPOT_RULES)[number];
  readonly doubts: (typeof DOUBT_RULES)[number];
  /** Highest share of events known lost, 0 to 1. */
  readonly lostShare: number;
  /** Hours in shadow without a flip. */
  readonly shadowHours: number;
  /** People who must approve; with two or more, none of them the author. */
  readonly approvals: number;
  /** Days within which a release drill must have passed; 0 asks for none. */
  readonly drillDays: number;
}

/** The design's table of gates. A file changes it through {@link gatesFrom}. */
export const DEFAULT_GATES: Readonly<Record<Tier, TierGates>> = {
  experimental: {
    surprises: 10,
    days: 1,
    hoursOfWeek: 0,
    monthEnd: false,
    blindSpots: 'listed',
    doubts: 'any',
    lostShare: 0.05,
    shadowHours: 1,
    approvals: 0,
    drillDays: 0,
  },
  standard: {
    surprises: 3,
    days: 7,
    hoursOfWeek: 0,
    monthEnd: false,
    blindSpots: 'acknowledged',
    doubts: 'decided',
    lostShare: 0.01,
    shadowHours: 24,
    approvals: 1,
    drillDays: 90,
  },
  critical: {
    surprises: 0.75,
    days: 28,
    hoursOfWeek: 168,
    monthEnd: true,
    blindSpots: 'none',
    doubts: 'decided-by-owner',
    lostShare: 0.001,
    shadowHours: 168,
    approvals: 2,
    drillDays: 30,
  },
};

const tierGatesSchema = z.strictObject({
  surprises: z.number().min(0),
  days: z.number().min(0).max(366),
  hoursOfWeek: z.int().min(0).max(168),
  monthEnd: z.boolean(),
  blindSpots: z.enum(BLIND_SPOT_RULES),
  doubts: z.enum(DOUBT_RULES),
  lostShare: z.number().min(0).max(1),
  shadowHours: z.number().min(0),
  approvals: z.int().min(0).max(10),
  drillDays: z.number().min(0),
});
const overridesSchema = z.strictObject({
  critical: tierGatesSchema.partial().optional(),
  standard: tierGatesSchema.partial().optional(),
  experimental: tierGatesSchema.partial().optional(),
});

/**
 * The default gates with the changes of a document `{ standard: { surprises: 5 }, ... }` read from `name`. Throws
 * `invalid_document` for a tier, a gate or a value that is not known.
 */
export function gatesFrom(overrides: unknown, name: string): Readonly<Record<Tier, TierGates>> {
  const parsed = overridesSchema.safeParse(overrides);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const where = issue === undefined || issue.path.length === 0 ? '' : `${issue.path.join('.')}: `;
    throw new InterlockError(
      'invalid_document',
      name,
      `${name} does not hold gates by tier (${TIERS.join(', ')}): ${where}${issue?.message ?? 'unreadable'}`,
    );
  }
  const of = (tier: Tier): TierGates => ({ ...DEFAULT_GATES[tier], ...defined(parsed.data[tier] ?? {}) });
  return { critical: of('critical'), standard: of('standard'), experimental: of('experimental') };
}

/** Only the keys that have a value, so that an absent one does not hide a default. */
function defined(gates: Partial<Record<keyof TierGates, unknown>>): Partial<TierGates> {
  return Object.fromEntries(Object.entries(gates).filter(([, value]) => value !== undefined));
}
