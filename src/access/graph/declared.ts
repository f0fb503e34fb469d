import type { Directory, Resolved } from '../inventory/directory.ts';
import { type Principal, principalText } from '../principal.ts';
import type { Access } from './graph.ts';
import { AccessMerger } from './merge-accesses.ts';
import type { SpotMerger } from './spots.ts';

/** That one workload is said to call another one on a port, and where that is said. */
export interface DeclaredCall {
  readonly from: Principal;
  readonly to: Principal;
  readonly port: number;
  readonly where: readonly string[];
}

/** One end of a record with the identity that was decided for it. */
export interface Decided {
  readonly principal: Principal;
  /** Set where the record could mean several workloads: what it could mean. */
  readonly doubt?: string;
}

/** What an inventory declares, by the text of the callee. What it declares of nobody in particular is a blind spot. */
export function declaredCalls(
  directory: Directory,
  decide: (resolved: Resolved) => Decided,
  spots: SpotMerger,
): ReadonlyMap<string, readonly DeclaredCall[]> {
  const calls = new Map<string, DeclaredCall & { where: string[] }>();
  for (const { from, to, port, where, by } of directory.declared()) {
    // A probe's host is called by the kubelet, not by the workload that declares it.
    if (by === 'probe') continue;
    const caller = decide({ kind: 'workload', ...from }).principal;
    const { principal: callee, doubt } = decide(to);
    if (doubt !== undefined) {
      const times = { count: 1, firstSeen: Number.POSITIVE_INFINITY, lastSeen: Number.NEGATIVE_INFINITY };
      spots.add({ kind: 'ambiguous-callee', from: caller, to: callee, what: `${where}: ${doubt}`, ...times });
      continue;
    }
    const key = `${principalText(caller)}\n${principalText(callee)}\n${port}`;
    const known = calls.get(key);
    if (known === undefined) calls.set(key, { from: caller, to: callee, port, where: [where] });
    else if (!known.where.includes(where)) known.where.push(where);
  }
  return Map.groupBy(calls.values(), ({ to }) => principalText(to));
}

/** Adds the declared view: to the observed accesses that it names, or as accesses of its own. All are of one callee. */
export function layDeclared(observed: readonly Access[], calls: readonly DeclaredCall[]): readonly Access[] {
  if (calls.length === 0) return observed;
  const byCaller = Map.groupBy(observed, ({ from }) => principalText(from));
  const replaced = new Map<Access, Access>();
  const added: Access[] = [];
  for (const { from, to, port, where } of calls) {
    const same = (byCaller.get(principalText(from)) ?? []).filter(
      ({ action }) => port === 0 || action.port === 0 || action.port === port,
    );
    for (const access of same) {
      const now = replaced.get(access) ?? access;
      replaced.set(access, {
        ...now,
        views: ['declared', 'observed'],
        declared: [...now.declared, ...where],
      });
    }
    if (same.length === 0) added.push(AccessMerger.declaredOnly(from, to, { kind: 'tcp', port }, where));
  }
  return [...observed.map((access) => replaced.get(access) ?? access), ...added];
}
