import { bindingsOf, type Bindings, type Condition, FALSE, TRUE, UNKNOWN } from './condition.ts';
import type { AccessRequest } from './request.ts';

/** The order of no rule: later than every rule's. */
export const NEVER = 0x3fffffff;

/** A rule as the indexes hold it: its place in document order, its condition and its end. */
export interface IndexedRule {
  readonly order: number;
  readonly condition: Condition | undefined;
  /** When it ends, milliseconds since 1970 UTC; `Infinity` for never. */
  readonly ends: number;
}

/** One search for the first rule that matches a request. Kept and used again: a search allocates nothing. */
export class Probe {
  /** Whether the rules searched deny: then a condition that cannot be shown to be false counts as true. */
  denying = false;
  /** A TCP connection without requests to be seen. */
  opaque = false;
  port = 0;
  /** Number of the method in the set, 0 for one that no rule names. */
  method = 0;
  path = '';
  /** Lowest order found so far, and whether its condition is unknown. */
  best = NEVER;
  bestUnknown = false;
  /** A rule was passed over only because its condition is unknown. */
  passedUnknown = false;
  request: AccessRequest | undefined;
  /** Conditions to be taken as true, all others as false, instead of being evaluated. */
  assumed: ReadonlySet<string> | undefined;
  /** The time of the request: rules that have ended by then do not match. */
  at = Number.POSITIVE_INFINITY;
  #bindings: Bindings | undefined;

  /** Forgets the last request. */
  reset(request: AccessRequest, assumed: ReadonlySet<string> | undefined, at: number): void {
    this.request = request;
    this.assumed = assumed;
    this.at = at;
    this.#bindings = undefined;
    this.passedUnknown = false;
  }

  /** Starts a search among the rules of one side. */
  start(denying: boolean): void {
    this.denying = denying;
    this.best = NEVER;
    this.bestUnknown = false;
  }

  /** Makes a rule without a condition the best if it comes before it. */
  offer(order: number): void {
    if (order >= this.best) return;
    this.best = order;
    this.bestUnknown = false;
  }

  /** Whether a rule with a condition or an end holds; where it does it becomes the best. Its order is below the best's. */
  take(rule: IndexedRule): boolean {
    if (rule.ends !== Number.POSITIVE_INFINITY && !(rule.ends > this.at)) return false;
    const outcome = this.#outcome(rule.condition);
    if (outcome !== TRUE) {
      if (outcome === FALSE) return false;
      if (!this.denying) {
        if (outcome === UNKNOWN) this.passedUnknown = true;
        return false;
      }
    }
    this.best = rule.order;
    this.bestUnknown = outcome === UNKNOWN;
    return true;
  }

  #outcome(condition: Condition | undefined) {
    if (condition === undefined || this.request === undefined) return TRUE;
    if (this.assumed !== undefined) return this.assumed.has(condition.text) ? TRUE : FALSE;
    this.#bindings ??= bindingsOf(this.request);
    return condition.evaluate(this.#bindings);
  }
}
