import { hourOfWeek, principalText, type SpiffeId } from '../../access/index.ts';
import type { Answer } from '../../api/index.ts';
import { type Doubt, propose } from '../../learning/index.ts';
import { type AccessPolicy, compile, writePolicies } from '../../policy/index.ts';
import { replay } from '../../rollout/index.ts';
import type { JudgedAccess } from './judged.ts';
import type { EstateReader } from './reader.ts';
import { tierOf } from './tier.ts';

type Proposal = Answer<'proposals.get'>;

/** What the evidence of a workload proposes now, with the evidence of each rule. */
export function proposalOf(reader: EstateReader, workload: SpiffeId): Proposal {
  const { policies, doubts, remarks, covered } = propose(reader.graph, { to: workload, tierOf });
  const [policy] = policies;
  return {
    workload,
    ...(policy === undefined ? {} : { policy }),
    yaml: policy === undefined ? '' : writePolicies([policy]),
    rules: policy === undefined ? [] : rulesOf(policy, reader.to(workload), workload),
    doubts: doubts.map(doubtShown),
    remarks,
    covered,
  };
}

function doubtShown({ from, ...doubt }: Doubt): Proposal['doubts'][number] {
  return { ...doubt, from: principalText(from) };
}

/** Each rule with the accesses that it would allow: by the same verdict that a proxy would give. */
function rulesOf(
  policy: AccessPolicy,
  accesses: readonly JudgedAccess[],
  workload: SpiffeId,
): Proposal['rules'] {
  const set = compile([policy]);
  const byRule = new Map<string, JudgedAccess[]>(policy.spec.rules.map(({ name }) => [name, []]));
  for (const judged of accesses) {
    if (judged.access === undefined) continue;
    const { rule } = replay(set, judged.access, workload).verdict;
    if (rule !== undefined) byRule.get(rule)?.push(judged);
  }
  return policy.spec.rules.map(({ name }) => ruleEvidence(name, byRule.get(name) ?? []));
}

function ruleEvidence(rule: string, own: readonly JudgedAccess[]): Proposal['rules'][number] {
  const hours = Array.from({ length: 168 }, () => 0);
  const instances = new Set<string>();
  let first = Number.POSITIVE_INFINITY;
  let last = Number.NEGATIVE_INFINITY;
  for (const { access } of own) {
    if (access === undefined) continue;
    const { evidence } = access;
    // Outcomes 0 and 1 reached the callee.
    for (const [key, n] of evidence.counts)
      if ((key & 3) < 2) hours[hourOfWeek(key >> 2)] = n + (hours[hourOfWeek(key >> 2)] ?? 0);
    for (const instance of evidence.instances) instances.add(instance);
    first = Math.min(first, evidence.firstSeen);
    last = Math.max(last, evidence.lastSeen);
  }
  return {
    rule,
    isNew: own.length === 0 || own.some(({ target }) => target?.allowed !== true),
    accesses: own.length,
    count: own.reduce((sum, { count }) => sum + count, 0),
    hoursOfWeek: hours,
    instances: [...instances].sort(),
    ...(Number.isFinite(first) ? { firstSeen: first } : {}),
    ...(Number.isFinite(last) ? { lastSeen: last } : {}),
  };
}
