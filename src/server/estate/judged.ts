import {
  type Access,
  type Action,
  actionKey,
  callsThatReached,
  principalText,
  type SpiffeId,
  type View,
} from '../../access/index.ts';
import type { AccessState } from '../../api/index.ts';
import { compile, decide, type PolicySet, type Verdict } from '../../policy/index.ts';
import { replay, type WorkloadRollout } from '../../rollout/index.ts';
import type { EstateState } from './estate.ts';
import { actionOf, fromText, type GrantBook, grantBook, grantIndex } from './grants.ts';

/** An access, and how it stands. */
export interface JudgedAccess {
  /** Caller, callee and action in one text: the order of the list. */
  readonly key: string;
  readonly from: string;
  readonly to: string;
  readonly action: Action;
  readonly views: readonly View[];
  readonly state: AccessState;
  readonly authentication: 'mutual' | 'plaintext' | 'unknown';
  /** Calls that reached the callee. */
  readonly count: number;
  readonly today?: Verdict;
  readonly target?: Verdict;
  readonly approximate: readonly string[];
  /** Absent of an access that is only authorized. */
  readonly access?: Access;
  /** What it was judged by; absent where nothing protects the callee. */
  readonly rollout?: WorkloadRollout;
  /** The grants of the target set that its calls have used, by index. */
  readonly uses: readonly number[];
}

/** The accesses to one callee with their verdicts, and what its rules allow and nobody has used; in the order of their keys. */
interface JudgedCallee {
  readonly accesses: readonly JudgedAccess[];
  /** What they were made of. */
  readonly of: readonly Access[];
  readonly rollout: WorkloadRollout | undefined;
}

/** The estate's accesses with their verdicts, at one moment. */
export interface Judged {
  readonly estate: EstateState;
  /** In the order of their keys. */
  readonly accesses: readonly JudgedAccess[];
  /** The same by callee, in the same order: of one about which nothing has changed it is the same object as before. */
  readonly byCallee: ReadonlyMap<string, JudgedCallee>;
}

/** The policies of one workload, ready to judge. */
interface JudgingSets {
  readonly today: PolicySet;
  readonly target: PolicySet;
  readonly grants: GrantBook | undefined;
}

/** A rollout is never changed, only replaced: its sets are made once, and those of the others stay. */
const made = new WeakMap<WorkloadRollout, JudgingSets>();

function setsOf(rollout: WorkloadRollout): JudgingSets {
  let sets = made.get(rollout);
  if (sets === undefined) {
    const { enforced = [], target } = rollout;
    sets = { today: compile(enforced), target: compile(target), grants: grantBook(target) };
    made.set(rollout, sets);
  }
  return sets;
}

const NOBODY: readonly Access[] = [];

const order = (a: string, b: string) => (a < b ? -1 : Number(a > b));

/**
 * Judges every access of the graph by today's set and the target set, and lists what rules allow and nobody has used. What
 * has not changed since `before` is the same object as there; what has is done in steps of an access each.
 */
export function* judge(
  estate: EstateState,
  rollouts: ReadonlyMap<SpiffeId, WorkloadRollout>,
  before?: Judged,
): Generator<void, Judged> {
  const found = new Map<string, JudgedCallee>();
  let isInOrder = true;
  for (const [to, of] of estate.byCallee) {
    const rollout = rolloutOf(rollouts, of);
    const known = before?.byCallee.get(to);
    if (known !== undefined && known.of === of && known.rollout === rollout) found.set(to, known);
    else found.set(to, yield* judgeCallee(to, of, rollout, known));
  }
  for (const [to, rollout] of rollouts) {
    if (found.has(to)) continue;
    isInOrder = false;
    const known = before?.byCallee.get(to);
    const isSame = known !== undefined && known.of.length === 0 && known.rollout === rollout;
    found.set(to, isSame ? known : yield* judgeCallee(to, NOBODY, rollout, known));
  }
  const byCallee = isInOrder ? found : new Map([...found].sort(([a], [b]) => order(`${a}\n`, `${b}\n`)));
  const accesses: JudgedAccess[] = [];
  for (const callee of byCallee.values()) for (const access of callee.accesses) accesses.push(access);
  return { estate, accesses, byCallee };
}

/** The rollout of the callee that these are accesses to. */
function rolloutOf(
  rollouts: ReadonlyMap<SpiffeId, WorkloadRollout>,
  [first]: readonly Access[],
): WorkloadRollout | undefined {
  return first?.to.kind === 'workload' ? rollouts.get(first.to.id) : undefined;
}

function* judgeCallee(
  to: string,
  of: readonly Access[],
  rollout: WorkloadRollout | undefined,
  before: JudgedCallee | undefined,
): Generator<void, JudgedCallee> {
  const known = new Map<string, JudgedAccess>();
  for (const judged of before?.accesses ?? []) if (judged.access !== undefined) known.set(judged.key, judged);
  const accesses: JudgedAccess[] = [];
  const used = new Set<number>();
  for (const access of of) {
    const key = `${to}\n${principalText(access.from)}\n${actionKey(access.action)}`;
    const judged = judgedAs(key, access, rollout, known.get(key));
    for (const index of judged.uses) used.add(index);
    accesses.push(judged);
    yield;
  }
  const seen = accesses.length;
  if (rollout !== undefined) for (const unused of unusedOf(rollout, used)) accesses.push(unused);
  if (accesses.length > seen) accesses.sort((a, b) => order(a.key, b.key));
  yield;
  return { accesses, of, rollout };
}

/** As it was judged before, where nothing of it has changed; of one whose calls alone have, the verdicts stay. */
function judgedAs(
  key: string,
  access: Access,
  rollout: WorkloadRollout | undefined,
  before: JudgedAccess | undefined,
): JudgedAccess {
  const { evidence, collapsed, views, declared, action } = access;
  const old = before?.access;
  const isObserved = evidence.counts.size > 0;
  if (before === undefined || old === undefined || before.rollout !== rollout || old.collapsed !== collapsed)
    return judgeOne(key, access, rollout);
  if (isObserved !== old.evidence.counts.size > 0) return judgeOne(key, access, rollout);
  if (
    old.evidence === evidence &&
    old.views.join() === views.join() &&
    old.declared.join() === declared.join()
  )
    return before;
  const isAuthorized = before.views.includes('authorized');
  return {
    ...before,
    action,
    views: isAuthorized ? [...views, 'authorized'] : views,
    authentication: authenticationOf(access),
    count: callsThatReached(evidence),
    access,
  };
}

function judgeOne(key: string, access: Access, rollout: WorkloadRollout | undefined): JudgedAccess {
  const { action, evidence } = access;
  const base = {
    key,
    from: principalText(access.from),
    to: principalText(access.to),
    action,
    authentication: authenticationOf(access),
    count: callsThatReached(evidence),
    access,
  };
  if (access.to.kind !== 'workload' || rollout === undefined)
    return { ...base, views: access.views, state: 'open', approximate: [], uses: [] };
  const sets = setsOf(rollout);
  const today = replay(sets.today, access, access.to.id);
  const target = replay(sets.target, access, access.to.id);
  const isProtected = target.verdict.decidedBy !== 'no-policy';
  const isAuthorized = isProtected && target.verdict.allowed;
  return {
    ...base,
    views: isAuthorized ? [...access.views, 'authorized'] : access.views,
    state: stateOf(today.verdict, target.verdict),
    ...(today.verdict.decidedBy === 'no-policy' ? {} : { today: today.verdict }),
    ...(isProtected ? { target: target.verdict } : {}),
    approximate: [...new Set([...today.approximate, ...target.approximate])],
    rollout,
    uses: sets.grants === undefined ? [] : usesOf(access, access.to.id, sets.grants),
  };
}

function stateOf(today: Verdict, target: Verdict): AccessState {
  if (today.decidedBy === 'no-policy' && target.decidedBy === 'no-policy') return 'open';
  if (today.allowed === target.allowed) return today.allowed ? 'allowed' : 'denied';
  return today.allowed ? 'would-deny' : 'would-allow';
}

function authenticationOf({ evidence }: Access): JudgedAccess['authentication'] {
  if (evidence.plaintext > 0) return 'plaintext';
  return evidence.mutual > 0 ? 'mutual' : 'unknown';
}

function usesOf({ from, action, evidence }: Access, to: SpiffeId, { byGrant }: GrantBook): number[] {
  if (evidence.counts.size === 0) return [];
  const ports = action.port === 0 ? byGrant.portsOf(to) : [];
  const tried = [action, ...ports.map((port) => ({ ...action, port }))];
  return tried.flatMap((each) => grantIndex(decide(byGrant, { from, to, action: each }).rule) ?? []);
}

function* unusedOf(rollout: WorkloadRollout, used: ReadonlySet<number>): Generator<JudgedAccess> {
  const to = rollout.workload;
  for (const [i, grant] of (setsOf(rollout).grants?.grants ?? []).entries()) {
    if (used.has(i)) continue;
    const from = fromText(grant.from);
    const action = actionOf(grant);
    yield {
      key: `${to}\n${from}\n${actionKey(action)}`,
      from,
      to,
      action,
      views: ['authorized'],
      state: 'unused',
      authentication: 'unknown',
      count: 0,
      target: { allowed: true, decidedBy: 'rule', policy: grant.policy, rule: grant.rule },
      approximate: grant.when === undefined ? [] : ['condition'],
      uses: [],
    };
  }
}
