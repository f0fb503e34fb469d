import { count, elapsedText, hoursText } from './promotion-words.ts';
import type { People } from './people.ts';
import { approvalState } from './review-approval.ts';
import type { Approval } from './review-types.ts';
import type { TierGates } from './tier-gates.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** What the control plane knows of a promotion beside the evidence. Times are milliseconds since 1970 UTC. */
export interface PromotionFacts {
  readonly now: number;
  /** Since when the target is judged in shadow; absent where it is not. */
  readonly shadowSince?: number;
  /** When an access was last seen that the target would deny, and that nobody has decided. */
  readonly lastFlip?: number;
  /** Who has approved exactly this target, and who has written of it. */
  readonly approvals: readonly Approval[];
  readonly authors: readonly string[];
  /** Who promotes, where somebody does: nobody approves their own promotion where two are needed. */
  readonly mover?: string;
  /** Which names are of one person, as far as that is known. */
  readonly people?: People;
  /** When the last drill was that every proxy confirmed. */
  readonly lastDrill?: number;
}

/** What one of these gates comes to; `later` where nothing is known of it yet. */
export type PromotionGate =
  | { readonly state: 'passed'; readonly have: string; readonly need: string }
  | {
      readonly state: 'missing' | 'later';
      readonly have: string;
      readonly need: string;
      readonly what: string;
    };

type Check = (needs: TierGates, facts: PromotionFacts | undefined) => PromotionGate;

const NOT_NEEDED: PromotionGate = { state: 'passed', have: 'none', need: 'none' };

/** The gates that only a control plane can open, each with what there is, what is needed, and what to do. */
export const PROMOTION_GATES: Readonly<Record<'shadow' | 'approvals' | 'drill', Check>> = {
  shadow({ shadowHours }, facts) {
    if (shadowHours === 0) return NOT_NEEDED;
    const need = `${hoursText(shadowHours)} without a flip`;
    if (facts?.shadowSince === undefined)
      return { state: 'later', have: 'not started', need, what: 'begins once the policy is in shadow' };
    const { now, shadowSince, lastFlip = Number.NEGATIVE_INFINITY } = facts;
    const quiet = (now - Math.max(shadowSince, lastFlip)) / HOUR_MS;
    // A clock that was set back proves nothing.
    const have = quiet < 0 ? 'the clock was set back' : elapsedText(quiet);
    return quiet >= shadowHours
      ? { state: 'passed', have, need }
      : { state: 'missing', have, need, what: `wait ${waitText(shadowHours - quiet)}, deciding what flips` };
  },
  approvals(needs, facts) {
    const { approvals } = needs;
    if (approvals === 0) return NOT_NEEDED;
    const need = approvals === 1 ? 'one' : `${approvals} people, none the author`;
    if (facts === undefined)
      return { state: 'later', have: 'not started', need, what: 'asked for when the promotion is requested' };
    const { by, notes, need: all } = approvalState(facts.approvals, facts, needs);
    const aside = notes.length === 0 ? '' : ` (${notes.join('; ')})`;
    const names = by.length === 0 ? '' : `: ${by.map(({ who }) => who).join(', ')}`;
    const have = `${by.length} of ${all}${names}${aside}`;
    const missing = all - by.length;
    return missing <= 0
      ? { state: 'passed', have, need }
      : {
          state: 'missing',
          have,
          need,
          what: `have ${count(missing, 'more person', 'more people')} approve this very target: interlock review approve ID`,
        };
  },
  drill({ drillDays }, facts) {
    if (drillDays === 0) return NOT_NEEDED;
    const need = `passed within ${count(drillDays, 'day')}`;
    if (facts === undefined)
      return {
        state: 'later',
        have: 'not started',
        need,
        what: 'a drill proves the release button; it needs a control plane',
      };
    const { now, lastDrill } = facts;
    // One in the future was before the clock was set back.
    const days = lastDrill === undefined ? undefined : Math.max(0, Math.floor((now - lastDrill) / DAY_MS));
    const have = days === undefined ? 'never passed' : days === 0 ? 'today' : `${count(days, 'day')} ago`;
    return days !== undefined && days < drillDays
      ? { state: 'passed', have, need }
      : { state: 'missing', have, need, what: 'prove the button: interlock release --drill' };
  },
};

/** Rounded up: nobody comes back too early. */
function waitText(hours: number): string {
  return hours >= 2 ? count(Math.ceil(hours), 'more hour') : count(Math.ceil(hours * 60), 'more minute');
}
