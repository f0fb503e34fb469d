import { grpcPath, InterlockError, type SpiffeId } from '../access/index.ts';
import { parseCaller } from './caller.ts';
import { checkPolicy } from './check.ts';
import { type Condition, parseCondition } from './condition.ts';
import type { IndexedRule } from './probe.ts';
import { Side } from './side.ts';
import { targetOf } from './target.ts';
import type { AccessPolicy, From, Rule } from './types.ts';
import { endOf, hasEnds } from './until.ts';

/**
 * Most entries of the indexes of one set. A rule is multiplied out over its callers, ports, methods and paths,
 * so that each can be looked up; an entry takes some 32 to 64 bytes.
 */
export const MAX_ENTRIES = 1_000_000;

/** One workload's rules, indexed. `policies` are in the order in which they decide. */
export interface ProtectedWorkload {
  readonly policies: readonly AccessPolicy[];
  readonly deny: Side;
  readonly allow: Side;
  /** Ports that any rule names, ascending. */
  readonly ports: readonly number[];
}

/** Policies made ready to decide. Immutable; made by {@link compile}. */
export class PolicySet {
  readonly workloads: ReadonlyMap<string, ProtectedWorkload>;
  /** Method name -> its number in the indexes. */
  readonly methods: ReadonlyMap<string, number>;
  /** Service -> method -> request path, for the gRPC methods that rules name: nothing is put together twice. */
  readonly grpcPaths: ReadonlyMap<string, ReadonlyMap<string, string>>;
  /** Some rule has an end: verdicts depend on the time that is asked about. */
  readonly hasEnds: boolean;

  constructor(parts: Pick<PolicySet, 'workloads' | 'methods' | 'grpcPaths' | 'hasEnds'>) {
    this.hasEnds = parts.hasEnds;
    this.workloads = parts.workloads;
    this.methods = parts.methods;
    this.grpcPaths = parts.grpcPaths;
  }

  /** The ports that rules about this workload name, ascending; empty where it is not protected. */
  portsOf(workload: SpiffeId): readonly number[] {
    return this.workloads.get(workload)?.ports ?? [];
  }

  /** The policies that protect this workload, in the order in which they decide. */
  policiesOf(workload: SpiffeId): readonly AccessPolicy[] {
    return this.workloads.get(workload)?.policies ?? [];
  }
}

/**
 * Indexes the policies, whatever their stage. Policies of one workload decide in the order of their names, as
 * Envoy orders them; deny rules before all others. Throws `invalid_document` for a policy that the checks
 * refuse or a name used twice for one workload, `limit` beyond {@link MAX_ENTRIES}.
 */
export function compile(policies: readonly AccessPolicy[]): PolicySet {
  const build = new Build();
  const byWorkload = new Map<string, AccessPolicy[]>();
  for (const policy of policies) {
    const checked = checkPolicy(policy);
    if (!checked.ok) {
      const { path, reason } = checked.problems[0] ?? { path: [], reason: 'it is not an AccessPolicy' };
      throw new InterlockError(
        'invalid_document',
        policy.metadata?.name ?? '?',
        `${path.join('.')}: ${reason}`,
      );
    }
    const { workload } = policy.spec.protects;
    const siblings = byWorkload.get(workload);
    if (siblings === undefined) byWorkload.set(workload, [policy]);
    else siblings.push(policy);
  }
  const workloads = new Map<string, ProtectedWorkload>();
  for (const [workload, own] of byWorkload) workloads.set(workload, build.workload(orderedByName(own)));
  const { methods, grpcPaths } = build;
  return new PolicySet({ workloads, methods, grpcPaths, hasEnds: hasEnds(policies) });
}

/** Order of UTF-16 units, which for names is that of bytes: the order of Envoy's policy map. */
function orderedByName(policies: readonly AccessPolicy[]): AccessPolicy[] {
  const ordered = policies.toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  for (const [i, { metadata, spec }] of ordered.entries()) {
    if (ordered[i + 1]?.metadata.name !== metadata.name) continue;
    const message = `two policies for ${spec.protects.workload} are named "${metadata.name}": give one another name`;
    throw new InterlockError('invalid_document', metadata.name, message);
  }
  return ordered;
}

class Build {
  readonly methods = new Map<string, number>();
  readonly grpcPaths = new Map<string, Map<string, string>>();
  #entries = 0;

  workload(policies: readonly AccessPolicy[]): ProtectedWorkload {
    const ports = new Set<number>();
    const named = policies.flatMap(({ spec }) => [...spec.rules, ...spec.deny]);
    for (const { to } of named)
      for (const target of to) for (const port of target.ports ?? []) ports.add(port);
    return {
      policies,
      deny: this.#side(policies, true),
      allow: this.#side(policies, false),
      ports: [...ports].sort((a, b) => a - b),
    };
  }

  #side(policies: readonly AccessPolicy[], denying: boolean): Side {
    const side = new Side(denying);
    for (const { metadata, spec } of policies) {
      for (const rule of denying ? spec.deny : spec.rules) {
        const verdict = {
          allowed: !denying,
          decidedBy: denying ? 'deny' : 'rule',
          policy: metadata.name,
          rule: rule.name,
        } as const;
        const indexed = side.rule(verdict, conditionOf(rule.when), endOf(rule));
        this.#add(side, indexed, rule, metadata.name);
      }
    }
    return side;
  }

  #add(side: Side, indexed: IndexedRule, rule: Rule, policy: string): void {
    const targets = rule.to.map(targetOf);
    for (const from of rule.from) {
      const caller = callerOf(from);
      for (const target of targets) {
        const { ports, methods, paths } = { methods: undefined, paths: undefined, ...target };
        this.#entries += (ports?.length ?? 1) * (methods?.length ?? 1) * (paths?.length ?? 1);
        if (this.#entries > MAX_ENTRIES) throw tooMany(policy, rule);
        side.add(indexed, caller, target, this.#method);
      }
    }
    for (const to of rule.to) if ('grpc' in to) this.#keepPaths(to.grpc.service, to.grpc.methods ?? []);
  }

  /** Methods are numbered from 1: 0 is any. */
  readonly #method = (name: string): number => {
    const known = this.methods.get(name);
    if (known !== undefined) return known;
    this.methods.set(name, this.methods.size + 1);
    return this.methods.size;
  };

  #keepPaths(service: string, methods: readonly string[]): void {
    let paths = this.grpcPaths.get(service);
    if (paths === undefined) {
      paths = new Map();
      this.grpcPaths.set(service, paths);
    }
    for (const method of methods) paths.set(method, grpcPath(service, method));
  }
}

function callerOf(from: From) {
  const parsed = parseCaller(from);
  // Checked before; a reason here would be a fault of ours.
  if (!parsed.ok) throw new TypeError(parsed.reason);
  return parsed.caller;
}

function conditionOf(when: string | undefined): Condition | undefined {
  if (when === undefined || when.trim() === '') return undefined;
  const parsed = parseCondition(when);
  if (!parsed.ok) throw new TypeError(parsed.reason);
  return parsed.condition;
}

function tooMany(policy: string, { name }: Rule): InterlockError {
  const message = `with rule "${name}" of policy "${policy}" the set has more than ${MAX_ENTRIES} combinations of caller, port, method and path: use a prefix or a template`;
  return new InterlockError('limit', policy, message);
}
