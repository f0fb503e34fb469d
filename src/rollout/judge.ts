import type { Tier } from '../policy/index.ts';
import { PROMOTION_GATES, type PromotionFacts } from './promotion-gates.ts';
import { count } from './promotion-words.ts';
import { ANY_SURPRISES, DEFAULT_GATES, type TierGates } from './tier-gates.ts';

/** The gates in the order in which they are shown. */
export const GATES = [
  'surprises',
  'calendar',
  'blind-spots',
  'doubts',
  'events-lost',
  'shadow',
  'approvals',
  'drill',
] as const;
export type GateName = (typeof GATES)[number];

/** What the gates are judged on. A `Readiness` of the learning room is one. */
export interface GateFacts {
  readonly surprises: { readonly bound: number };
  readonly calendar: {
    readonly days: number;
    readonly hoursOfWeek: number;
    readonly missing: string;
    readonly monthEnd: boolean;
  };
  readonly blindSpots: readonly { readonly acknowledged: boolean }[];
  readonly doubts: readonly { readonly decidedBy?: 'owner' | 'other' }[];
  readonly events: { readonly lostShare: number };
  /** Accesses that only an exception allows which ends within the first week: surprises that are known. */
  readonly ending?: readonly { readonly policy: string; readonly rule: string; readonly until: string }[];
  /** What the control plane knows of the promotion; absent where none is asked. */
  readonly promotion?: PromotionFacts;
}

interface Checked {
  readonly gate: GateName;
  readonly tier: Tier;
  /** What there is and what is needed, in a few words each. */
  readonly have: string;
  readonly need: string;
}

/** A gate that is passed: nothing is left to do. */
export interface PassedGate extends Checked {
  readonly state: 'passed';
}
/** A gate that is not passed, with what to do in words that a person can act on. */
export interface MissingGate extends Checked {
  readonly state: 'missing';
  readonly what: string;
}
/** A gate of which nothing is known yet: the policy is not in shadow, or no control plane was asked. It is not passed. */
export interface LaterGate extends Checked {
  readonly state: 'later';
  readonly what: string;
}
export type GateResult = PassedGate | MissingGate | LaterGate;

/** The gates of one tier. `ready`: no gate is missing, though some may come later. */
export interface TierVerdict {
  readonly tier: Tier;
  readonly ready: boolean;
  readonly gates: readonly GateResult[];
}

type Check = (facts: GateFacts, need: TierGates) => { have: string; need: string; missing?: string };

/** The evidence gates: each says what there is, what is needed, and what to do where that is not the same. */
const EVIDENCE_CHECKS: Readonly<Record<Exclude<GateName, 'shadow' | 'approvals' | 'drill'>, Check>> = {
  surprises: ({ surprises: { bound }, ending = [] }, need) => {
    // What ends is no guess: each is denied within the week, whatever the bound on the unseen says.
    const all = bound + ending.length;
    const isAny = need.surprises === ANY_SURPRISES;
    const known = ending.length === 0 ? '' : `, ${ending.length} of them by exceptions that end`;
    return {
      have: Number.isFinite(all) ? `at most ${boundText(all)}${known}` : 'no bound',
      need: isAny ? 'any number' : `at most ${need.surprises}`,
      ...unless(
        isAny || all <= need.surprises,
        bound <= need.surprises ? renew(ending) : whenQuiet(need.surprises),
      ),
    };
  },
  calendar: ({ calendar }, need) => ({
    have: calendarText(calendar.days, calendar.hoursOfWeek, calendar.monthEnd),
    need: calendarText(need.days, need.hoursOfWeek, need.monthEnd),
    ...unless(
      calendar.days >= need.days &&
        calendar.hoursOfWeek >= need.hoursOfWeek &&
        (calendar.monthEnd || !need.monthEnd),
      whatToRecord(calendar, need),
    ),
  }),
  'blind-spots': ({ blindSpots }, need) => {
    const open = blindSpots.length;
    const unknown = blindSpots.filter(({ acknowledged }) => !acknowledged).length;
    return {
      have: open === 0 ? 'none open' : `${open} open, ${open - unknown} acknowledged`,
      need: { listed: 'listed', acknowledged: 'each acknowledged', none: 'none open' }[need.blindSpots],
      ...(need.blindSpots === 'none'
        ? unless(open === 0, `close ${count(open, 'blind spot')}: each says how`)
        : unless(
            need.blindSpots === 'listed' || unknown === 0,
            `close or acknowledge ${count(unknown, 'blind spot')}: each says how`,
          )),
    };
  },
  doubts: ({ doubts }, need) => {
    const decided = doubts.filter(({ decidedBy }) => decidedBy !== undefined).length;
    const byOwner = doubts.filter(({ decidedBy }) => decidedBy === 'owner').length;
    const done = { any: doubts.length, decided, 'decided-by-owner': byOwner }[need.doubts];
    const left = doubts.length - done;
    const owner = need.doubts === 'decided-by-owner' ? ' by the owner' : '';
    return {
      have: doubts.length === 0 ? 'none' : `${doubts.length}, ${decided} decided`,
      need: need.doubts === 'any' ? 'may go in' : `each decided${owner}`,
      ...unless(left === 0, `have ${count(left, 'doubt')} accepted or refused${owner}`),
    };
  },
  'events-lost': ({ events: { lostShare } }, need) => ({
    have: percent(lostShare),
    need: `at most ${percent(need.lostShare)}`,
    ...unless(
      lostShare <= need.lostShare,
      'find where events are lost (buffers, sampling, rate limits), mend it, and record anew',
    ),
  }),
};

/** Judges one workload's evidence against the gates of one tier; every gate is listed, in the order of {@link GATES}. */
export function judge(
  facts: GateFacts,
  tier: Tier,
  gates: Readonly<Record<Tier, TierGates>> = DEFAULT_GATES,
): TierVerdict {
  const results = GATES.map((gate) => resultOf(gate, facts, tier, gates[tier]));
  return { tier, ready: !results.some(({ state }) => state === 'missing'), gates: results };
}

function resultOf(gate: GateName, facts: GateFacts, tier: Tier, needs: TierGates): GateResult {
  if (gate === 'shadow' || gate === 'approvals' || gate === 'drill')
    return { gate, tier, ...PROMOTION_GATES[gate](needs, facts.promotion) };
  const { missing, ...checked } = EVIDENCE_CHECKS[gate](facts, needs);
  return missing === undefined
    ? { gate, tier, state: 'passed', ...checked }
    : { gate, tier, state: 'missing', ...checked, what: missing };
}

function unless(passed: boolean, what: string): { missing?: string } {
  return passed ? {} : { missing: what };
}

/** Names the first few exceptions that end. */
function renew(ending: NonNullable<GateFacts['ending']>): string {
  const names = [...new Set(ending.map(({ policy, rule, until }) => `${policy}/${rule} (${until})`))];
  const more = names.length > 3 ? ` and ${names.length - 3} more` : '';
  return `renew or replace what ends within a week: ${names.slice(0, 3).join(', ')}${more}`;
}

/**
 * How much recording without a new access meets the limit: in a window of W days the bound is -ln(0.05) * 7 / W,
 * and the window leaves out the first week, but never more than half of what was recorded (docs/readiness.md).
 */
function whenQuiet(limit: number): string {
  const window = (-Math.log(0.05) * 7) / limit;
  const days = Math.ceil(Math.min(2 * window, window + 7));
  return limit > 0 && window <= 28
    ? `keep recording: ${count(days, 'day')} of which the last ${Math.ceil(window)} bring no new access meet it`
    : 'raise the limit: the longest window, 28 days without a new access, gives 0.75';
}

function whatToRecord(calendar: GateFacts['calendar'], need: TierGates): string {
  const parts: string[] = [];
  if (calendar.days < need.days) parts.push(count(need.days - calendar.days, 'more day'));
  if (calendar.hoursOfWeek < need.hoursOfWeek) parts.push(`the hours ${calendar.missing} (UTC)`);
  if (need.monthEnd && !calendar.monthEnd) parts.push("a month's end (its last day and the next one)");
  return `record ${parts.join(', and ')}`;
}

function calendarText(days: number, hoursOfWeek: number, monthEnd: boolean): string {
  const hours = hoursOfWeek === 0 ? '' : `, ${hoursOfWeek} of 168 hours of the week`;
  return `${count(days, 'day')}${hours}${monthEnd ? ", a month's end" : ''}`;
}

/** Rounded up, so that what is shown never looks better than what is compared. */
function boundText(bound: number): string {
  const digits = bound < 10 ? 2 : bound < 100 ? 1 : 0;
  const unit = 10 ** digits;
  return String(Math.ceil(bound * unit - 1e-9) / unit);
}

/** Two figures, rounded up for the reason that {@link boundText} gives. */
function percent(share: number): string {
  if (share <= 0) return '0 %';
  const unit = 10 ** (Math.floor(Math.log10(share * 100)) - 1);
  return `${Number((Math.ceil((share * 100) / unit - 1e-9) * unit).toPrecision(2))} %`;
}
