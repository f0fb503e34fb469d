import type { SpiffeId } from '../access/index.ts';
import {
  type AccessPolicy,
  type Caller,
  compile,
  endOf,
  parseCaller,
  type Rule,
  type Target,
  targetOf,
} from '../policy/index.ts';

/** One rule, read, with its place among all rules of its side. */
export interface ReadRule {
  readonly policy: string;
  readonly rule: string;
  /** Place in the order in which rules of this side decide, from 1. */
  readonly order: number;
  readonly callers: readonly Caller[];
  readonly targets: readonly Target[];
  /** The condition, absent where there is none. */
  readonly when?: string;
  /** When it ends, milliseconds since 1970 UTC; absent where it does not. */
  readonly ends?: number;
}

/** The rules about one workload in the order in which they decide. */
export interface ProtectedRules {
  readonly id: SpiffeId;
  readonly policies: readonly AccessPolicy[];
  readonly deny: readonly ReadRule[];
  readonly allow: readonly ReadRule[];
  /** Ports that any rule names, ascending. */
  readonly ports: readonly number[];
}

/**
 * The policies by the workload that they protect, ordered by its ID, each rule kept whole. Throws
 * `invalid_document` and `limit` as compiling them does.
 */
export function protectedRules(policies: readonly AccessPolicy[]): ProtectedRules[] {
  return [...compile(policies).workloads.values()]
    .map(({ policies: own, ports }) => ({
      // A protected workload has at least one policy.
      id: (own[0] as AccessPolicy).spec.protects.workload,
      policies: own,
      deny: readRules(own, ({ spec }) => spec.deny),
      allow: readRules(own, ({ spec }) => spec.rules),
      ports,
    }))
    .toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

function readRules(
  policies: readonly AccessPolicy[],
  side: (policy: AccessPolicy) => readonly Rule[],
): ReadRule[] {
  return policies
    .flatMap((policy) => side(policy).map((rule) => ({ policy: policy.metadata.name, rule })))
    .map(({ policy, rule }, i) => ({
      policy,
      rule: rule.name,
      order: i + 1,
      callers: rule.from.map(readCaller),
      targets: rule.to.map(targetOf),
      ...(rule.when === undefined || rule.when.trim() === '' ? {} : { when: rule.when }),
      ...(rule.until === undefined ? {} : { ends: endOf(rule) }),
    }));
}

function readCaller(from: Rule['from'][number]): Caller {
  const parsed = parseCaller(from);
  // Compiling has checked it; a reason here would be a fault of ours.
  if (!parsed.ok) throw new TypeError(parsed.reason);
  return parsed.caller;
}
