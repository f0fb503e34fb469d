import type { Action, Principal, SpiffeId } from '../access/index.ts';

/**
 * What a condition may read beyond the action. A field that is absent was not recorded: a condition that needs
 * it is unknown.
 */
export interface RequestAttributes {
  /** The request's path as it was sent, with its query. */
  readonly path?: string;
  readonly host?: string;
  /** By lower-case name; given means complete: a header that is not in it was not sent. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The caller's address, `ADDRESS:PORT`, as Envoy has it in `source.address`. */
  readonly sourceAddress?: string;
}

/** One access to be judged: who, to whom, what. */
export interface AccessRequest {
  readonly from: Principal;
  readonly to: SpiffeId;
  /** A path from the wire goes through `recordedPath` first: a brace in it would be taken for a template. */
  readonly action: Action;
  readonly attributes?: RequestAttributes;
}

/** What decided, in the order in which it is asked. */
export const DECIDED_BY = ['no-policy', 'unsafe-path', 'deny', 'rule', 'no-rule'] as const;
export type DecidedBy = (typeof DECIDED_BY)[number];

/**
 * Allow or deny, and what decided: nothing protects the workload (`no-policy`, allowed), the path cannot be
 * normalised safely (`unsafe-path`), a rule of `deny`, a `rule`, or `no-rule` at all.
 */
export interface Verdict {
  readonly allowed: boolean;
  readonly decidedBy: DecidedBy;
  /** Policy and rule that decided; present for `rule` and `deny`. */
  readonly policy?: string;
  readonly rule?: string;
  /** A condition needed an attribute that the request does not carry; with it the verdict could differ. */
  readonly conditionUnknown?: true;
}
