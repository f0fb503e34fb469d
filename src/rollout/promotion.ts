import type { Stage, Tier } from '../policy/index.ts';
import type { WorkloadRollout } from './enforcement.ts';
import { GATES, type GateFacts, type GateName, type GateResult, judge } from './judge.ts';
import { type CheckResult, preflight, type PreflightCheck, type PreflightFacts } from './preflight.ts';
import { DEFAULT_GATES, type TierGates } from './tier-gates.ts';

/** Of the preflight those that no gate says in more detail. */
const OWN_CHECKS = [
  'policy',
  'identities',
  'bundles',
  'clocks',
  'proxies',
  'plaintext',
  'flips',
  'losses',
] as const satisfies readonly PreflightCheck[];

/** Every check of a promotion in the order in which they are shown. */
export const PROMOTION_CHECKS = [...OWN_CHECKS, ...GATES] as const;
export type PromotionCheckName = (typeof PROMOTION_CHECKS)[number];

/** One named check of a promotion, in words that a person can act on. */
export interface PromotionCheck {
  readonly name: PromotionCheckName;
  readonly passed: boolean;
  /** What there is, and where it is not enough, what is needed. */
  readonly reason: string;
  /** Absent where it is passed. */
  readonly whatToDo?: string;
}

/** What a promotion is judged on: `tier` is that of `promotionTier`. */
export type CheckedFacts = Omit<PreflightFacts, 'readiness' | 'lastDrill'> & {
  /** Why that is stricter than what the target says, where it is. */
  readonly tierReason?: string;
  /** Absent where nothing was recorded of the workload. */
  readonly evidence?: Omit<GateFacts, 'promotion'>;
  readonly promotion: NonNullable<GateFacts['promotion']>;
};

const UNSEEN: ReadonlySet<GateName> = new Set([
  'surprises',
  'calendar',
  'blind-spots',
  'doubts',
  'events-lost',
]);
/** Where nothing was recorded none of the gates of the evidence is passed, whatever this says. */
const NO_EVIDENCE: GateFacts = {
  surprises: { bound: Number.POSITIVE_INFINITY },
  calendar: { days: 0, hoursOfWeek: 0, missing: '', monthEnd: false },
  blindSpots: [],
  doubts: [],
  events: { lostShare: 0 },
};

/** Every check of a promotion to `canary` or `enforced`, by the gates of its tier. All of them passed, it may be made. */
export function promotionChecks(
  facts: CheckedFacts,
  gates: Readonly<Record<Tier, TierGates>> = DEFAULT_GATES,
): PromotionCheck[] {
  const { evidence, promotion, tier } = facts;
  const judged = judge({ ...(evidence ?? NO_EVIDENCE), promotion }, tier, gates).gates;
  const checks = [
    ...preflight(facts, 'enforce', gates).flatMap(asCheck),
    ...judged.map((gate) =>
      evidence === undefined && UNSEEN.has(gate.gate) ? unseen(gate.gate) : gateCheck(gate),
    ),
  ];
  return facts.tierReason === undefined ? checks : checks.map((each) => explained(each, facts.tierReason));
}

/** Who reads the policies, or is asked for approvals, is told why they are judged by another tier than they say. */
function explained(check: PromotionCheck, reason: string | undefined): PromotionCheck {
  const isTold = check.name === 'policy' || (check.name === 'approvals' && !check.passed);
  return isTold ? { ...check, reason: `${check.reason} (${reason})` } : check;
}

/** Every check before plain text is refused, in the same form. */
export function strictChecks(facts: Omit<PreflightFacts, 'readiness' | 'lastDrill'>): PromotionCheck[] {
  return preflight(facts, 'strict').flatMap(asCheck);
}

/** None where a gate says it in more detail. */
function asCheck(result: CheckResult): PromotionCheck[] {
  const name = OWN_CHECKS.find((own) => own === result.check);
  if (name === undefined) return [];
  return result.state === 'passed'
    ? [{ name, passed: true, reason: result.have }]
    : [{ name, passed: false, reason: result.have, whatToDo: result.what }];
}

function gateCheck(result: GateResult): PromotionCheck {
  const { gate: name, have, need } = result;
  if (result.state === 'passed') return { name, passed: true, reason: have };
  return { name, passed: false, reason: `${have}; needs ${need}`, whatToDo: result.what };
}

function unseen(name: GateName): PromotionCheck {
  return {
    name,
    passed: false,
    reason: 'no evidence',
    whatToDo: 'let its proxies report, or record: "interlock readiness" says what is missing',
  };
}

/** Those that are not passed. */
export function missingOf(checks: readonly PromotionCheck[]): PromotionCheck[] {
  return checks.filter(({ passed }) => !passed);
}

/** Whether a step enforces more than before: these are what promotions need gates for. Steps down have none. */
export function isPromotion(
  { stage, share }: Pick<WorkloadRollout, 'stage' | 'share'>,
  to: Stage,
  wanted = 1,
): boolean {
  if (to !== 'canary' && to !== 'enforced') return false;
  return stage !== 'canary' || to === 'enforced' || wanted > share;
}
