import {
  type Access,
  type AccessGraph,
  type Action,
  actionKey,
  callsThatReached,
  HOUR_MS,
  hoursOf,
  principalText,
  type SpiffeId,
} from '../../access/index.ts';
import type { Sighting } from './surprises.ts';

/** One access as a rule would name it: a caller and an action whose path is a template. */
export interface AccessUnit extends Sighting {
  /** The caller's text form. */
  readonly from: string;
  /** The action's key, its path replaced by the template. */
  readonly key: string;
  /** Calls that reached the callee. */
  readonly count: number;
  /** Caller instances known by name. */
  readonly instances: number;
}

/** Gives the path template that a recorded path falls under, for one action on one workload. */
export type TemplateOf = (action: Extract<Action, { kind: 'http' }>, to: SpiffeId) => string;

/**
 * The accesses to one workload as units, in order of caller and key. Failed and denied calls are not seen: they
 * never reached the callee. Without `templateOf` every recorded path is a unit of its own.
 */
export function unitsOf(graph: AccessGraph, to: SpiffeId, templateOf?: TemplateOf): AccessUnit[] {
  const groups = new Map<string, { from: string; key: string; accesses: Access[] }>();
  for (const access of graph.accesses) {
    if (access.to.kind !== 'workload' || access.to.id !== to) continue;
    if (callsThatReached(access.evidence) === 0) continue;
    const from = principalText(access.from);
    const { action } = access;
    const key = actionKey(
      action.kind === 'http' && templateOf !== undefined
        ? { ...action, path: templateOf(action, to) }
        : action,
    );
    const id = `${from}\n${key}`;
    const group = groups.get(id);
    if (group === undefined) groups.set(id, { from, key, accesses: [access] });
    else group.accesses.push(access);
  }
  return [...groups]
    .toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([, { from, key, accesses }]) => unitOf(from, key, accesses));
}

function unitOf(from: string, key: string, accesses: readonly Access[]): AccessUnit {
  const hours = new Set<number>();
  const instances = new Set<string>();
  let count = 0;
  let firstSeen = Number.POSITIVE_INFINITY;
  for (const { evidence } of accesses) {
    const reached = hoursOf(evidence);
    for (const hour of reached) hours.add(hour);
    for (const name of evidence.instances) instances.add(name);
    count += callsThatReached(evidence);
    // `firstSeen` may be that of a call that failed: the first hour with one that reached the callee counts.
    const first = Math.max(evidence.firstSeen, (reached[0] ?? 0) * HOUR_MS);
    if (first < firstSeen) firstSeen = first;
  }
  return {
    from,
    key,
    firstSeen,
    hours: [...hours].toSorted((a, b) => a - b),
    count,
    instances: instances.size,
  };
}
