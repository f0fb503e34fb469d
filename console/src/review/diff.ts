import type { AccessPolicy, Rule } from '../../../src/policy/types.ts';

/** One rule of a proposal against the target. */
export interface RuleChange {
  readonly change: 'new' | 'changed' | 'same' | 'gone';
  /** As it would be; as it was where it would be gone. */
  readonly rule: Rule;
}

/** What a rule says, whatever it rests on. */
export const textOf = ({ name, from, to, when }: Rule) => JSON.stringify([name, from, to, when ?? '']);

/** What applying a proposal would change: its rules in their order, then those that it no longer has. */
export function changesOf(target: AccessPolicy | undefined, proposed: AccessPolicy): RuleChange[] {
  const before = new Map((target?.spec.rules ?? []).map((rule) => [rule.name, rule]));
  const own = proposed.spec.rules.map((rule): RuleChange => {
    const old = before.get(rule.name);
    before.delete(rule.name);
    if (old === undefined) return { change: 'new', rule };
    return { change: textOf(old) === textOf(rule) ? 'same' : 'changed', rule };
  });
  return [...own, ...[...before.values()].map((rule): RuleChange => ({ change: 'gone', rule }))];
}

/**
 * The document that is applied: what was chosen of the proposal, and of the doubts. What stands in the target and is no
 * rule of the proposal (its deny rules, labels) stays. Names of doubts' rules are made their own.
 */
export function chosenPolicy(
  target: AccessPolicy | undefined,
  proposed: AccessPolicy,
  rules: readonly Rule[],
): AccessPolicy {
  const names = new Set<string>();
  const named = rules.map((rule) => {
    let { name } = rule;
    for (let n = 2; names.has(name); n++) name = `${rule.name}-${n}`;
    names.add(name);
    return { ...rule, name };
  });
  const base = target ?? proposed;
  return { ...base, spec: { ...base.spec, rules: named } };
}
