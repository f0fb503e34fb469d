import { InterlockError } from '../../access/index.ts';
import { type CompiledRule, compileRule } from './compile.ts';
import { Asker, type ConditionName, matchAsker, matchAuthority, nodeFault } from './match.ts';
import type {
  AgentAttributes,
  GivenAuthority,
  GivenIdentity,
  IdentityRule,
  WorkloadAttributes,
} from './types.ts';

/** Most identities of one workload: more than any message of the Workload API should carry. */
export const MAX_IDENTITIES = 256;

/** Rules by the rarest of the selectors that each wants; those that want none stand apart. */
class SelectorIndex {
  readonly #bySelector = new Map<string, CompiledRule[]>();
  readonly #always: CompiledRule[] = [];

  constructor(rules: readonly CompiledRule[], wanted: (rule: CompiledRule) => readonly string[]) {
    const counts = new Map<string, number>();
    for (const rule of rules)
      for (const selector of wanted(rule)) counts.set(selector, (counts.get(selector) ?? 0) + 1);
    for (const rule of rules) {
      const key = rarest(wanted(rule), counts);
      const bucket = key === undefined ? this.#always : this.#bySelector.get(key);
      if (bucket !== undefined) bucket.push(rule);
      else if (key !== undefined) this.#bySelector.set(key, [rule]);
    }
  }

  /** The rules that can match where these selectors are, by name. */
  candidates(selectors: ReadonlySet<string>): CompiledRule[] {
    const found = [...this.#always];
    for (const selector of selectors) {
      const bucket = this.#bySelector.get(selector);
      if (bucket !== undefined) for (const rule of bucket) found.push(rule);
    }
    return found.sort(byName);
  }
}

/**
 * Compiled rules, indexed: a rule with selectors is looked at only for workloads, or agents, that have the rarest of
 * them. Rules without selectors are looked at for every one. A set never changes; `with` gives a new one.
 */
export class RuleSet {
  /** By name, in the order of UTF-16 units. */
  readonly rules: readonly CompiledRule[];
  readonly #byName: ReadonlyMap<string, CompiledRule>;
  // Made when first looked into: an agent never asks the one, and a control plane has a new set with every change.
  #forWorkloads: SelectorIndex | undefined;
  #forAgents: SelectorIndex | undefined;

  constructor(rules: Iterable<CompiledRule>) {
    this.rules = [...rules].sort(byName);
    this.#byName = new Map(this.rules.map((rule) => [rule.name, rule]));
  }

  get(name: string): CompiledRule | undefined {
    return this.#byName.get(name);
  }

  /** The set with rules added or replaced by name, and others gone. */
  with(changed: Iterable<CompiledRule>, removed: Iterable<string> = []): RuleSet {
    const rules = new Map(this.#byName);
    for (const name of removed) rules.delete(name);
    for (const rule of changed) rules.set(rule.name, rule);
    return new RuleSet(rules.values());
  }

  /** The rules by which an agent may ask at all: what it needs to know. */
  forAgent(agent: AgentAttributes): CompiledRule[] {
    const asker = new Asker({}, agent);
    this.#forAgents ??= this.#index((rule) => rule.nodeSelectors);
    return this.#forAgents
      .candidates(asker.nodeSelectors)
      .filter((rule) => nodeFault(rule, asker) === undefined);
  }

  /** The rules that could match a workload with these selectors, by name. */
  candidates(selectors: ReadonlySet<string>): CompiledRule[] {
    this.#forWorkloads ??= this.#index((rule) => rule.selectors);
    return this.#forWorkloads.candidates(selectors);
  }

  #index(wanted: (rule: CompiledRule) => readonly string[]): SelectorIndex {
    const own = this.rules.filter((rule) => rule.downstream === undefined);
    return new SelectorIndex(own, wanted);
  }
}

function byName(a: CompiledRule, b: CompiledRule): number {
  return a.name < b.name ? -1 : Number(a.name > b.name);
}

function rarest(selectors: readonly string[], counts: ReadonlyMap<string, number>): string | undefined {
  let best: string | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const selector of selectors) {
    const count = counts.get(selector) ?? 0;
    if (count < least) [best, least] = [selector, count];
  }
  return best;
}

/** The rules of a trust domain, ready to be matched. Throws `invalid_document`, also for a name given twice. */
export function compileRules(rules: Iterable<IdentityRule>, trustDomain: string): RuleSet {
  const compiled = new Map<string, CompiledRule>();
  for (const rule of rules) {
    const { name } = rule.metadata;
    if (compiled.has(name))
      throw new InterlockError('invalid_document', name, `two rules are named "${name}"`);
    compiled.set(name, compileRule(rule, trustDomain));
  }
  return new RuleSet(compiled.values());
}

/**
 * Every identity of a workload, by rule name. Of rules that give the same SPIFFE ID the first one counts; of
 * identities with the same hint the first one keeps it (the Workload API wants hints unique in an answer).
 */
export function identitiesOf(
  rules: RuleSet,
  workload: WorkloadAttributes,
  agent: AgentAttributes,
): GivenIdentity[] {
  const asker = new Asker(workload, agent);
  const given = new Map<string, GivenIdentity>();
  const hints = new Set<string>();
  for (const rule of rules.candidates(asker.selectors)) {
    const match = matchAsker(rule, asker);
    if (!match.matched || given.has(match.identity.spiffeId)) continue;
    const { identity } = match;
    const hint = hints.has(identity.hint) ? '' : identity.hint;
    hints.add(hint);
    given.set(identity.spiffeId, hint === identity.hint ? identity : { ...identity, hint });
    if (given.size === MAX_IDENTITIES) break;
  }
  return [...given.values()];
}

/** The right to be a child authority that the rules give to an agent: of several, the first by name. */
export function authorityOf(rules: RuleSet, agent: AgentAttributes): GivenAuthority | undefined {
  for (const rule of rules.rules) {
    if (rule.downstream === undefined) continue;
    const match = matchAuthority(rule, agent);
    if (match.matched) return match.authority;
  }
  return undefined;
}

/** How one rule turned out for one workload. */
export interface Explained {
  readonly rule: string;
  /** What it gives, or would give were it not for another rule. */
  readonly identity: GivenIdentity | undefined;
  /** The first condition that failed; undefined where all held. */
  readonly condition: ConditionName | undefined;
  /** Why it gives nothing, with the value it met; undefined where the workload gets the identity. */
  readonly reason: string | undefined;
}

/** For every rule whether it gives the workload an identity, and if not, why not. */
export function explain(rules: RuleSet, workload: WorkloadAttributes, agent: AgentAttributes): Explained[] {
  const asker = new Asker(workload, agent);
  const givenBy = new Map<string, string>();
  return rules.rules.map((rule) => {
    const match = matchAsker(rule, asker);
    if (!match.matched) {
      const { condition, reason } = match;
      return { rule: rule.name, identity: undefined, condition, reason };
    }
    const { identity } = match;
    const first = givenBy.get(identity.spiffeId);
    const full = givenBy.size >= MAX_IDENTITIES;
    if (first === undefined && !full) givenBy.set(identity.spiffeId, rule.name);
    const reason =
      first === undefined
        ? full
          ? `the workload has ${MAX_IDENTITIES} identities already`
          : undefined
        : `rule "${first}" comes first and gives the same ID`;
    return { rule: rule.name, identity, condition: undefined, reason };
  });
}
