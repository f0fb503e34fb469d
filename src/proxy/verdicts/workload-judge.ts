import type { Action, Principal, SpiffeId } from '../../access/index.ts';
import {
  type AccessPolicy,
  compile,
  decide,
  type PolicySet,
  type RequestAttributes,
  type Verdict,
} from '../../policy/index.ts';
import type { AuthenticationStage, Enforcement } from '../../rollout/index.ts';
import type { Judgement } from '../types.ts';

const NO_POLICY: Verdict = Object.freeze({ allowed: true, decidedBy: 'no-policy' });
/** What a fault inside judging comes to where the set is enforced: closed when in doubt. */
const IN_DOUBT: Verdict = Object.freeze({ allowed: false, decidedBy: 'no-rule', conditionUnknown: true });

/** Nothing is enforced and nothing is shipped: what a workload is judged by that no state names. */
export const UNGOVERNED: Judgement = Object.freeze({ allowed: true, before: NO_POLICY });

/** The sets of one workload, made ready to judge. Immutable: a change is another judge. */
export class WorkloadJudge {
  readonly workload: SpiffeId;
  readonly authentication: AuthenticationStage;
  readonly enforcement: Enforcement;
  readonly #enforced: PolicySet | undefined;
  readonly #target: PolicySet | undefined;
  readonly #onFault: (error: unknown) => void;
  readonly #now: () => number;

  /** Throws what `compile` throws: a state that cannot be judged by is never taken in part. */
  constructor(enforcement: Enforcement, onFault: (error: unknown) => void, now: () => number) {
    this.workload = enforcement.workload;
    this.authentication = enforcement.authentication;
    this.enforcement = enforcement;
    this.#enforced = compiled(enforcement.enforced);
    // Once fully promoted both are the same documents: one index serves for both.
    this.#target = isSame(enforcement.enforced, enforcement.target)
      ? this.#enforced
      : compiled(enforcement.target);
    this.#onFault = onFault;
    this.#now = now;
  }

  /** Never throws: in doubt, what is enforced denies, and a shadow says nothing and blocks nothing. */
  judge(from: Principal, action: Action, attributes?: RequestAttributes): Judgement {
    const enforced = this.#enforced;
    const target = this.#target;
    if (enforced === undefined && target === undefined) return UNGOVERNED;
    const to = this.workload;
    const request = attributes === undefined ? { from, to, action } : { from, to, action, attributes };
    const before = enforced === undefined ? NO_POLICY : (this.#decide(enforced, request) ?? IN_DOUBT);
    if (target === undefined) return { allowed: before.allowed, before };
    const after = target === enforced ? before : this.#decide(target, request);
    if (after === undefined) return { allowed: before.allowed, before };
    const { targetVersion } = this.enforcement;
    return targetVersion === undefined
      ? { allowed: before.allowed, before, after }
      : { allowed: before.allowed, before, after, targetVersion };
  }

  #decide(set: PolicySet, request: Parameters<typeof decide>[1]): Verdict | undefined {
    try {
      // The clock is asked only where it matters: rules end at this proxy by its own, whoever else is away.
      return set.hasEnds ? decide(set, request, this.#now()) : decide(set, request);
    } catch (error) {
      this.#onFault(error);
      return undefined;
    }
  }
}

/**
 * An empty list is a set as well, and it is not the same as none: the workload is under enforcement and nothing
 * protects it, which `decide` allows.
 */
function compiled(policies: readonly AccessPolicy[] | undefined): PolicySet | undefined {
  return policies === undefined ? undefined : compile(policies);
}

function isSame(a: readonly AccessPolicy[] | undefined, b: readonly AccessPolicy[] | undefined): boolean {
  if (a === undefined || b === undefined || a.length !== b.length) return false;
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}
