import {
  type Access,
  type Action,
  actionKey,
  callsThatReached,
  type Evidence,
  emptyEvidence,
  mergeEvidence,
  type Principal,
  principalText,
  type SpiffeId,
} from '../../access/index.ts';
import { nameless } from '../templates/index.ts';
import type { Routes } from './routes.ts';

/**
 * The smallest thing that is proposed or doubted: one caller, one action (a path as its template), one callee,
 * with all that was observed of it.
 */
export interface Unit {
  readonly from: Principal;
  readonly to: SpiffeId;
  readonly action: Action;
  /** Calls that reached the callee. */
  readonly reached: number;
  readonly evidence: Evidence;
  /** Where it is declared, sorted. */
  readonly declared: readonly string[];
  readonly collapsed: boolean;
}

/** One text for what a rule would allow, whatever a path's parameters are called. */
export function unitKey({ from, to, action }: Pick<Unit, 'from' | 'to' | 'action'>): string {
  const plain = action.kind === 'http' ? { ...action, path: nameless(action.path) } : action;
  return `${principalText(from)}\n${to}\n${actionKey(plain)}`;
}

/** Text of the place of an access: who, and on which port. */
export function placeKey(from: Principal, port: number): string {
  return `${principalText(from)}\n${port}`;
}

/** The units of all accesses that reached `to`, and of declared ones that nothing observed stands for. */
export function unitsOf(to: SpiffeId, accesses: readonly Access[], routes: Routes): Unit[] {
  const units = new Map<string, Unit>();
  const reachedPorts = new Map<string, Set<number>>();
  for (const access of accesses) {
    if (callsThatReached(access.evidence) === 0) continue;
    const from = principalText(access.from);
    const ports = reachedPorts.get(from) ?? new Set();
    reachedPorts.set(from, ports.add(access.action.port));
    const action = routes.actionOf(access.action);
    if (action !== undefined) addUnit(units, to, access, action);
  }
  for (const access of accesses) {
    if (!access.views.includes('declared') || callsThatReached(access.evidence) > 0) continue;
    const { port } = access.action;
    const ports = reachedPorts.get(principalText(access.from));
    if (ports !== undefined && (port === 0 || ports.has(0) || ports.has(port))) continue;
    addUnit(units, to, { ...access, evidence: emptyEvidence(), collapsed: false }, { kind: 'tcp', port });
  }
  return [...units].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, unit]) => unit);
}

function addUnit(units: Map<string, Unit>, to: SpiffeId, access: Access, action: Action): void {
  const key = unitKey({ from: access.from, to, action });
  const known = units.get(key);
  const evidence = mergeEvidence(known?.evidence ?? emptyEvidence(), access.evidence);
  units.set(key, {
    from: access.from,
    to,
    action,
    reached: (known?.reached ?? 0) + callsThatReached(access.evidence),
    evidence,
    declared: [...new Set([...(known?.declared ?? []), ...access.declared])].sort(),
    collapsed: (known?.collapsed ?? false) || (action.kind === 'http' && action.path.endsWith('=**}')),
  });
}
