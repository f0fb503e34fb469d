import type { Action, Principal, SpiffeId } from '../access/index.ts';
import type { Rule, Verdict } from '../policy/index.ts';

/** What a change of the target set does: allow what it does not, allow more by a rule of it, or take a rule away. */
export const CHANGE_KINDS = ['added', 'widened', 'removed'] as const;
export type ChangeKind = (typeof CHANGE_KINDS)[number];

/** What was observed behind a change. Times are milliseconds since 1970 UTC. */
export interface ReviewEvidence {
  readonly accesses: number;
  /** Calls that reached the callee. */
  readonly count: number;
  readonly firstSeen?: number;
  readonly lastSeen?: number;
  readonly days: number;
  /** Calls in each of the 168 hours of the week; 0 is Monday 00:00 UTC. */
  readonly hoursOfWeek: readonly number[];
  readonly instances: readonly string[];
  readonly sources: readonly string[];
  readonly declared: readonly string[];
}

/** Why a change is not made by itself with the others: a doubt of the learning room. */
export interface ChangeDoubt {
  readonly id: string;
  readonly codes: readonly string[];
  readonly reasons: readonly string[];
}

/** One change of the target set that a person decides. */
export interface Change {
  /** Names its content: who approves an ID approves exactly this. */
  readonly id: string;
  readonly kind: ChangeKind;
  /** What it adds, and no more; of `removed` the rule that goes. */
  readonly rule: Rule;
  /** The rule of the target that is widened or removed, and the policy that it is in. */
  readonly of?: { readonly policy: string; readonly rule: string };
  /** What it is about, combination by combination, in words that stay the same: a rejection is of these. */
  readonly grants: readonly string[];
  readonly evidence: ReviewEvidence;
  readonly doubt?: ChangeDoubt;
  /** Of `removed`: why. */
  readonly why?: string;
}

/** An access that is allowed today and would be denied by the target in shadow: somebody has to say what is meant. */
export interface Question {
  readonly id: string;
  readonly from: Principal;
  readonly action: Action;
  /** What of the target denies it. */
  readonly after: Verdict;
  readonly count: number;
  readonly firstSeen: number;
  readonly lastSeen: number;
  /** The change that would allow it, where one is proposed. */
  readonly change?: string;
  /** The rule that would deny it on purpose; absent where no rule can name the caller. */
  readonly deny?: Rule;
}

/** What somebody has said no to, and what it rested on then. */
export interface Rejection {
  /** A grant, a rule that is unused, or a question. */
  readonly key: string;
  readonly by: string;
  readonly at: number;
  readonly reason: string;
  readonly count: number;
  readonly days: number;
  readonly instances: number;
}

/** Somebody has approved exactly one target set. */
export interface Approval {
  readonly who: string;
  /** Milliseconds since 1970 UTC. */
  readonly at: number;
}

/** Gives a text of fixed length that names another one: SHA-256, since rules come from what callers choose. */
export type Digest = (text: string) => string;

/** A flip, as far as a question needs it. */
export interface FlipSeen {
  readonly from: Principal;
  readonly to: SpiffeId;
  readonly action: Action;
  readonly before: Verdict;
  readonly after: Verdict;
  readonly count: number;
  readonly firstSeen: number;
  readonly lastSeen: number;
}
