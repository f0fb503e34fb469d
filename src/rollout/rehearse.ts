import {
  type Access,
  type AccessGraph,
  type Action,
  callsThatReached,
  type Principal,
  type SpiffeId,
} from '../access/index.ts';
import { decide, type PolicySet, type Verdict } from '../policy/index.ts';

/** Why the result for one access is not exact. */
export const APPROXIMATIONS = {
  'collapsed-paths': 'its paths were collapsed past the stored limit',
  'unknown-port': 'the recording does not state its port',
  condition: 'a rule has a condition on something that was not recorded',
} as const;
export type Approximation = keyof typeof APPROXIMATIONS;

/** A recorded access whose verdict differs between today's effective set and the complete target set. */
export interface Flip {
  readonly from: Principal;
  readonly to: SpiffeId;
  readonly action: Action;
  readonly before: Verdict;
  readonly after: Verdict;
  /** Calls that reached the callee. */
  readonly count: number;
  /** Milliseconds since 1970 UTC. */
  readonly lastSeen: number;
  /** Empty where the result is exact. */
  readonly approximate: readonly Approximation[];
}

/** The result of a rehearsal. `accesses` and `calls` were replayed; the rest says what was not, and why. */
export interface Rehearsal {
  readonly flips: readonly Flip[];
  readonly accesses: number;
  readonly calls: number;
  /** Replayed accesses whose result is approximate, flips or not. */
  readonly approximate: number;
  /** Accesses that never reached their callee (failed, or denied already), and accesses to no workload. */
  readonly leftOut: { readonly neverReached: number; readonly outside: number };
  /** Workloads with recorded accesses that the target set does not protect. */
  readonly unprotected: readonly SpiffeId[];
}

/**
 * Replays every recorded access against the current and the complete target set. Without a current set nothing
 * is enforced today, so every access is allowed today.
 */
export function rehearse(graph: AccessGraph, target: PolicySet, current?: PolicySet): Rehearsal {
  const flips: Flip[] = [];
  const unprotected = new Set<SpiffeId>();
  const leftOut = { neverReached: 0, outside: 0 };
  let accesses = 0;
  let calls = 0;
  let approximate = 0;
  for (const access of graph.accesses) {
    if (!access.views.includes('observed')) continue;
    if (access.to.kind !== 'workload') {
      leftOut.outside++;
      continue;
    }
    const count = callsThatReached(access.evidence);
    if (count === 0) {
      leftOut.neverReached++;
      continue;
    }
    accesses++;
    calls += count;
    const to = access.to.id;
    const after = replay(target, access, to);
    if (after.verdict.decidedBy === 'no-policy') unprotected.add(to);
    const before = current === undefined ? NOTHING_ENFORCED : replay(current, access, to);
    const why = [...new Set([...before.approximate, ...after.approximate])];
    if (why.length > 0) approximate++;
    if (before.verdict.allowed === after.verdict.allowed) continue;
    flips.push({
      from: access.from,
      to,
      action: access.action,
      before: before.verdict,
      after: after.verdict,
      count,
      lastSeen: access.evidence.lastSeen,
      approximate: why,
    });
  }
  flips.sort((a, b) => b.count - a.count);
  return { flips, accesses, calls, approximate, leftOut, unprotected: [...unprotected] };
}

/** What a set says of a recorded access. */
export interface Replayed {
  readonly verdict: Verdict;
  readonly approximate: readonly Approximation[];
}

const NOTHING_ENFORCED: Replayed = { verdict: { allowed: true, decidedBy: 'no-policy' }, approximate: [] };

/** One access against one set. A port that was not recorded is tried as each port that the set's rules name. */
export function replay(
  set: PolicySet,
  { from, action, collapsed }: Pick<Access, 'from' | 'action' | 'collapsed'>,
  to: SpiffeId,
): Replayed {
  const approximate: Approximation[] = collapsed ? ['collapsed-paths'] : [];
  let verdict = decide(set, { from, to, action });
  if (action.port === 0) {
    for (const port of set.portsOf(to)) {
      const other = decide(set, { from, to, action: { ...action, port } });
      if (other.allowed === verdict.allowed) continue;
      if (!approximate.includes('unknown-port')) approximate.push('unknown-port');
      // Some port is allowed: the recorded call is taken to have used it.
      if (other.allowed) verdict = other;
    }
  }
  if (verdict.conditionUnknown === true) approximate.push('condition');
  return { verdict, approximate };
}
