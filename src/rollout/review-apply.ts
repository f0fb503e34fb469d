import { kubernetesNameOf, shortNameOf, type SpiffeId } from '../access/index.ts';
import {
  type AccessPolicy,
  API_VERSION,
  compile,
  POLICY_KIND,
  type Rule,
  type Tier,
} from '../policy/index.ts';
import { widened } from './review-changes.ts';
import type { Change } from './review-types.ts';

/** The target set with some changes made. Throws `invalid_document` where what comes of it is no set of policies. */
export function targetWith(
  workload: SpiffeId,
  target: readonly AccessPolicy[],
  changes: readonly Change[],
  tier: Tier,
): AccessPolicy[] {
  let policies = target.length === 0 ? [emptyPolicy(workload, tier)] : [...target];
  for (const change of changes) {
    const { kind, of, rule } = change;
    if (kind === 'added') policies = withRule(policies, 'rules', rule, change);
    else if (of !== undefined) {
      policies = onRules(policies, of.policy, (rules) =>
        kind === 'removed'
          ? rules.filter(({ name }) => name !== of.rule)
          : rules.map((each) => (each.name === of.rule ? widened(each, rule) : each)),
      );
    }
  }
  compile(policies);
  return policies;
}

/** The target set with rules that deny on purpose. Throws `invalid_document`. */
export function targetDenying(
  workload: SpiffeId,
  target: readonly AccessPolicy[],
  deny: readonly Rule[],
  tier: Tier,
): AccessPolicy[] {
  let policies = target.length === 0 ? [emptyPolicy(workload, tier)] : [...target];
  for (const rule of deny) policies = withRule(policies, 'deny', rule);
  compile(policies);
  return policies;
}

function onRules(
  policies: readonly AccessPolicy[],
  name: string,
  change: (rules: readonly Rule[]) => readonly Rule[],
): AccessPolicy[] {
  return policies.map((policy) =>
    policy.metadata.name === name
      ? { ...policy, spec: { ...policy.spec, rules: change(policy.spec.rules) } }
      : policy,
  );
}

/** New rules go into the first policy of the workload, under a name that none of its rules has. */
function withRule(
  policies: readonly AccessPolicy[],
  side: 'rules' | 'deny',
  rule: Rule,
  change?: Change,
): AccessPolicy[] {
  const [first, ...rest] = policies;
  if (first === undefined) return [];
  const taken = new Set([...first.spec.rules, ...first.spec.deny].map(({ name }) => name));
  let name = rule.name;
  for (let n = 2; taken.has(name); n++) name = `${rule.name}-${n}`;
  const evidence = change === undefined ? {} : { evidence: ruleEvidence(change) };
  const rules = [...first.spec[side], { ...rule, name, ...evidence }];
  return [{ ...first, spec: { ...first.spec, [side]: rules } }, ...rest];
}

/** What an added rule rests on, as documents say it: for who reads the policy later. */
function ruleEvidence({ evidence }: Change): NonNullable<Rule['evidence']> {
  const { count, days, hoursOfWeek, instances, sources, declared, firstSeen, lastSeen } = evidence;
  return {
    views: [
      ...(count > 0 ? (['observed'] as const) : []),
      ...(declared.length > 0 ? (['declared'] as const) : []),
    ],
    count,
    ...(count > 0 && firstSeen !== undefined && lastSeen !== undefined
      ? { firstSeen: new Date(firstSeen).toISOString(), lastSeen: new Date(lastSeen).toISOString() }
      : {}),
    days,
    hoursOfWeek: hoursOfWeek.filter((n) => n > 0).length,
    instances: instances.length,
    sources,
    ...(declared.length > 0 ? { declared } : {}),
  };
}

/** The policy that the first rules of a workload go into. */
function emptyPolicy(workload: SpiffeId, tier: Tier): AccessPolicy {
  const asName = (text: string) => text.replaceAll(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, '');
  const namespace = asName(kubernetesNameOf(workload)?.namespace ?? '');
  return {
    apiVersion: API_VERSION,
    kind: POLICY_KIND,
    metadata: {
      name: asName(shortNameOf(workload)) || 'workload',
      ...(namespace === '' ? {} : { namespace }),
    },
    spec: { protects: { workload }, tier, stage: 'draft', rules: [], deny: [] },
  };
}
