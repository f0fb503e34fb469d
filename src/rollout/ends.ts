import {
  type Access,
  type Action,
  callsThatReached,
  type Principal,
  type SpiffeId,
} from '../access/index.ts';
import {
  type AccessPolicy,
  type AccessRequest,
  compile,
  decide,
  endOf,
  hasEnds,
  nextEnd,
  policiesAt,
  type PolicySet,
  rulesAt,
} from '../policy/index.ts';
import type { Enforcement, WorkloadRollout } from './enforcement.ts';
import { replay } from './rehearse.ts';

/** Longest time between two looks at the clock while some rule has an end: a clock that jumps is noticed by then. Milliseconds. */
const LOOK_MS = 30_000;

type Sets = Pick<Enforcement, 'enforced' | 'target'>;

const setsOf = ({ enforced = [], target = [] }: Sets) => [...enforced, ...target];

/** Whether a rule of some set ends between two looks at the clock, whichever way it went. */
export function endsBetween(sets: Sets, before: number, now: number): boolean {
  const next = nextEnd(setsOf(sets), Math.min(before, now));
  return next !== undefined && next <= Math.max(before, now);
}

/**
 * How long to wait until the next look at the clock for what these sets end, milliseconds; undefined where no rule has an
 * end. Never longer than half a minute: a timer runs on while a machine sleeps or its clock is set.
 */
export function untilNextLook(sets: Iterable<Sets>, now: number): number | undefined {
  let wait: number | undefined;
  for (const each of sets) {
    const policies = setsOf(each);
    if (!hasEnds(policies)) continue;
    const next = nextEnd(policies, now);
    wait = Math.min(wait ?? LOOK_MS, next === undefined ? LOOK_MS : next - now);
  }
  return wait;
}

/**
 * What a point enforces at a time: without the rules that are over. The same object where none is, and otherwise the same for
 * as long as no other one ends.
 */
export function enforcementNow(enforcement: Enforcement, now: number): Enforcement {
  const known = keptEnforcements.get(enforcement);
  if (known !== undefined && known.from <= now && now < known.to) return known.value;
  const value = withoutEnded(enforcement, now);
  if (value !== enforcement) {
    const to = nextEnd(setsOf(enforcement), now) ?? Number.POSITIVE_INFINITY;
    keptEnforcements.set(enforcement, { from: now, to, value });
  }
  return value;
}

function withoutEnded(enforcement: Enforcement, now: number): Enforcement {
  const { enforced, target } = enforcement;
  const [bites, aims] = [enforced && rulesAt(enforced, now), target && rulesAt(target, now)];
  if (bites === enforced && aims === target) return enforcement;
  return {
    ...enforcement,
    ...(bites === undefined ? {} : { enforced: bites }),
    ...(aims === undefined ? {} : { target: aims }),
  };
}

/** What something came to, from one time up to another one. */
interface Kept<T> {
  readonly from: number;
  readonly to: number;
  readonly value: T;
}
const kept = new WeakMap<WorkloadRollout, Kept<WorkloadRollout>>();
const keptEnforcements = new WeakMap<Enforcement, Kept<Enforcement>>();

/**
 * A rollout as it is to be judged at a time: rules that are over are gone, the others have no end. The same object for as
 * long as nothing ends, and where no rule has an end the rollout itself.
 */
export function rolloutAt(rollout: WorkloadRollout, now: number): WorkloadRollout {
  const policies = setsOf(rollout);
  if (!hasEnds(policies)) return rollout;
  const known = kept.get(rollout);
  if (known !== undefined && known.from <= now && now < known.to) return known.value;
  const { enforced, target } = rollout;
  const value = {
    ...rollout,
    target: policiesAt(target, now),
    ...(enforced === undefined ? {} : { enforced: policiesAt(enforced, now) }),
  };
  kept.set(rollout, { from: now, to: nextEnd(policies, now) ?? Number.POSITIVE_INFINITY, value });
  return value;
}

/** A recorded access that is allowed only by an exception: it will be denied when that ends. */
export interface EndingAccess {
  readonly from: Principal;
  readonly to: SpiffeId;
  readonly action: Action;
  /** The exception. */
  readonly policy: string;
  readonly rule: string;
  /** As the document says it. */
  readonly until: string;
  /** Calls that reached the callee. */
  readonly count: number;
}

/**
 * The recorded accesses that these policies allow now and, because rules end, no longer `withinMs` from now, the most
 * called first: surprises to come.
 */
export function endingAccesses(
  accesses: Iterable<Access>,
  policies: readonly AccessPolicy[],
  now: number,
  withinMs: number,
): EndingAccess[] {
  const next = nextEnd(policies, now);
  if (next === undefined || next > now + withinMs) return [];
  const [today, later] = [now, now + withinMs].map((at) => compile(policiesAt(policies, at)));
  if (today === undefined || later === undefined) return [];
  const ends = new Map<string, string>();
  for (const { metadata, spec } of policies)
    for (const rule of spec.rules)
      if (rule.until !== undefined && endOf(rule) > now)
        ends.set(`${spec.protects.workload} ${metadata.name} ${rule.name}`, rule.until);
  const found: EndingAccess[] = [];
  for (const access of accesses) {
    const { from, to, action, evidence } = access;
    const count = callsThatReached(evidence);
    if (to.kind !== 'workload' || count === 0) continue;
    const { allowed, policy = '', rule = '' } = replay(today, access, to.id).verdict;
    const until = ends.get(`${to.id} ${policy} ${rule}`);
    if (!allowed || until === undefined || replay(later, access, to.id).verdict.allowed) continue;
    found.push({ from, to: to.id, action, policy, rule, until, count });
  }
  return found.toSorted((a, b) => b.count - a.count);
}

/**
 * Whether a request is denied at a time only because a rule has ended that allowed it at another one before: somebody has decided
 * so. A rule that was over by then has excused nothing since.
 */
export function isDeniedByEnd(
  set: PolicySet,
  request: AccessRequest,
  { since, now }: { readonly since: number; readonly now: number },
): boolean {
  if (!set.hasEnds || decide(set, request, now).allowed) return false;
  return decide(set, request, since).decidedBy === 'rule';
}
