import type { SpiffeId } from '../access/index.ts';
import {
  type AccessPolicy,
  type Caller,
  callerContains,
  compile,
  type From,
  parseCaller,
  type Rule,
  type Target,
  targetOf,
} from '../policy/index.ts';

/** One caller and one target of a rule: what engines render and subtract. */
export interface Grant {
  readonly policy: string;
  readonly rule: string;
  readonly caller: Caller;
  /** The caller as the policy writes it, for messages. */
  readonly callerText: string;
  readonly target: Target;
  /** Whether the rule holds only under a condition. */
  readonly conditional: boolean;
}

/** All that a set says about one workload. */
export interface ProtectedGrants {
  readonly id: SpiffeId;
  readonly policies: readonly AccessPolicy[];
  readonly allow: readonly Grant[];
  readonly deny: readonly Grant[];
  /** Ports that any rule names, ascending. */
  readonly ports: readonly number[];
}

/**
 * The policies by the workload that they protect, ordered by its ID, multiplied out. Throws `invalid_document`
 * and `limit` as compiling them does.
 */
export function protectedGrants(policies: readonly AccessPolicy[]): ProtectedGrants[] {
  const set = compile(policies);
  return [...set.workloads.values()]
    .map(({ policies: own, ports }) => ({
      // A protected workload has at least one policy.
      id: (own[0] as AccessPolicy).spec.protects.workload,
      policies: own,
      allow: own.flatMap(({ metadata, spec }) => spec.rules.flatMap((rule) => grantsOf(metadata.name, rule))),
      deny: own.flatMap(({ metadata, spec }) => spec.deny.flatMap((rule) => grantsOf(metadata.name, rule))),
      ports,
    }))
    .toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

function grantsOf(policy: string, rule: Rule): Grant[] {
  const conditional = rule.when !== undefined && rule.when.trim() !== '';
  const targets = rule.to.map(targetOf);
  return rule.from.flatMap((from) => {
    const parsed = parseCaller(from);
    // Compiling has checked it; a reason here would be a fault of ours.
    if (!parsed.ok) throw new TypeError(parsed.reason);
    const { caller } = parsed;
    const callerText = textOf(from);
    return targets.map((target) => ({ policy, rule: rule.name, caller, callerText, target, conditional }));
  });
}

function textOf(from: From): string {
  if ('workload' in from) return from.workload;
  if ('trustDomain' in from) return `trust domain ${from.trustDomain}`;
  if ('unauthenticated' in from) return from.unauthenticated.from;
  return 'group' in from ? `group ${from.group}` : `user ${from.user.subject}`;
}

/** Whether the grant is about this port; `undefined` stands for the ports that no rule names. */
export function onPort({ target: { ports } }: Grant, port: number | undefined): boolean {
  return ports === undefined || (port !== undefined && ports.includes(port));
}

/** Whether the grant covers all that can be done on its ports: `tcp`, or for a deny rule any request at all. */
export function isWhole({ target }: Grant, denying: boolean): boolean {
  if (target.kind === 'tcp') return true;
  // A deny rule about requests closes connections whose requests cannot be seen as well.
  return denying && target.methods === undefined && target.paths === undefined;
}

/** Whether some principal is meant by both. Callers of one kind contain each other or have nothing in common. */
export function callersMeet(a: Caller, b: Caller): boolean {
  return callerContains(a, b) || callerContains(b, a);
}
