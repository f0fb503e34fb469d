import type { SpiffeId } from '../../access/index.ts';
import type { AccessPolicy } from '../../policy/index.ts';
import type { Judged, WorkloadRollout } from '../../rollout/index.ts';
import type { Change, Json } from '../../store/index.ts';

/** Fields of an audit entry. */
export type Details = { readonly [key: string]: Json };

/** What applying policies has changed: the workloads whose target is another one now, and policies by name. */
export interface AppliedPolicies {
  readonly workloads: readonly SpiffeId[];
  readonly created: readonly string[];
  readonly changed: readonly string[];
  readonly unchanged: readonly string[];
}

/** What a move rests on. */
export interface Guarded {
  /** For the audit log. */
  readonly note: Details;
  /** By which gates it was judged, where it was. */
  readonly judged?: Judged;
}

export interface DecidedOn {
  /** The rollout that the decision was made on: where it is another one now, nothing is changed. */
  readonly decidedOn?: WorkloadRollout | undefined;
}

export interface MoveOrder extends DecidedOn {
  /** 0 to 1, for a canary. */
  readonly share?: number | undefined;
  /** For the audit log. */
  readonly why?: string | undefined;
  /**
   * Judges whether the rollout of now may be moved, in the turn of the move: throws what is missing, or gives what the
   * move rests on. It does not wait.
   */
  readonly guard?: ((rollout: WorkloadRollout) => Guarded) | undefined;
  /** For the audit log: what a move by the control plane itself rests on. */
  readonly note?: Details | undefined;
}

/** Another target set, decided on by a person who has looked at what there was. */
export interface RetargetOrder {
  readonly target: readonly AccessPolicy[];
  /** As `Move` says. */
  readonly isLearned?: true | undefined;
  /** As `Move` says. */
  readonly alsoBy?: readonly string[] | undefined;
  /** The rollout that was looked at; undefined where there was none. */
  readonly decidedOn: WorkloadRollout | undefined;
  /** For the audit log. */
  readonly act: string;
  readonly details: Details;
  /** Made together with it, or neither is. */
  readonly also: readonly Change[];
  /** Called once all of it is durable. */
  readonly onKept: () => void;
}
