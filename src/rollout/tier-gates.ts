// Without the schema of their file: the console judges by them too.
import type { Tier } from '../policy/index.ts';

/** How blind spots are dealt with before enforcement, from lax to strict. */
export const BLIND_SPOT_RULES = ['listed', 'acknowledged', 'none'] as const;
/** How doubts are dealt with before enforcement, from lax to strict. */
export const DOUBT_RULES = ['any', 'decided', 'decided-by-owner'] as const;

/** As `surprises`: however many, also where the recording is too short for a bound. A number, since JSON has no infinity. */
export const ANY_SURPRISES = Number.MAX_SAFE_INTEGER;

/** What a promotion to `enforced` needs for one tier. */
export interface TierGates {
  /** Highest upper 95 % bound on first-week surprises, in accesses; or {@link ANY_SURPRISES}. */
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
  /** Days without a use after which a rule is unused: a tightening takes it away. */
  readonly unusedDays: number;
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
    unusedDays: 7,
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
    unusedDays: 30,
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
    unusedDays: 90,
  },
};
