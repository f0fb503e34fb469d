import { InterlockError, parseSpiffeId, pathOf, type SpiffeId } from '../../access/index.ts';
import { type Bindings, celOf, type Expression } from '../cel.ts';
import type { CompiledRule } from './compile.ts';
import { isReservedPath } from '../prefixes.ts';
import { selectorsOf } from './selectors.ts';
import { fill } from './template.ts';
import type { AgentAttributes, GivenAuthority, GivenIdentity, WorkloadAttributes } from './types.ts';

/** The conditions of a rule, in the order in which they are checked. */
export const CONDITIONS = [
  'kind',
  'node selectors',
  'node condition',
  'selectors',
  'condition',
  'ID',
  'DNS names',
] as const;
export type ConditionName = (typeof CONDITIONS)[number];

/** The first condition that failed, with the value it met. */
export interface NoMatch {
  readonly matched: false;
  readonly condition: ConditionName;
  readonly reason: string;
}
export type Match = { readonly matched: true; readonly identity: GivenIdentity } | NoMatch;

/** A workload that asks through an agent; what rules look at is prepared once, when it is first needed. */
export class Asker {
  readonly workload: WorkloadAttributes;
  readonly agent: AgentAttributes;
  #selectors: ReadonlySet<string> | undefined;
  #nodeSelectors: ReadonlySet<string> | undefined;
  #bindings: Bindings | undefined;

  constructor(workload: WorkloadAttributes, agent: AgentAttributes) {
    this.workload = workload;
    this.agent = agent;
  }

  get selectors(): ReadonlySet<string> {
    this.#selectors ??= selectorsOf(this.workload);
    return this.#selectors;
  }

  get nodeSelectors(): ReadonlySet<string> {
    this.#nodeSelectors ??= new Set(this.agent.selectors);
    return this.#nodeSelectors;
  }

  get bindings(): Bindings {
    if (this.#bindings === undefined) {
      const { agent, claims } = this.agent;
      const roots = Object.entries({ ...this.workload, agent, claims });
      this.#bindings = Object.fromEntries(
        roots.filter(([, value]) => value !== undefined).map(([name, value]) => [name, celOf(value)]),
      );
    }
    return this.#bindings;
  }
}

/** Whether a rule gives the workload an identity, and which; or the first condition that fails. */
export function matchRule(rule: CompiledRule, workload: WorkloadAttributes, agent: AgentAttributes): Match {
  return matchAsker(rule, new Asker(workload, agent));
}

/** {@link matchRule} for a prepared asker. */
export function matchAsker(rule: CompiledRule, asker: Asker): Match {
  if (rule.downstream !== undefined)
    return no('kind', 'it is for a child authority: workloads get nothing from it');
  const fault =
    nodeFault(rule, asker) ??
    missing('selectors', rule.selectors, asker.selectors, 'the workload') ??
    conditionFault('condition', rule.when, asker);
  if (fault !== undefined) return fault;
  const id = idFor(rule, asker);
  if (typeof id !== 'string') return id;
  const dnsNames = dnsNamesFor(rule, asker);
  if ('matched' in dnsNames) return dnsNames;
  const { name, ttl, jwtTtl, hint, federatesWith, authority } = rule;
  return {
    matched: true,
    identity: { rule: name, spiffeId: id, dnsNames, ttl, jwtTtl, hint, federatesWith, authority },
  };
}

/** What a `downstream` rule gives to an agent that wants to be a child authority; or what fails. */
export function matchAuthority(
  rule: CompiledRule,
  agent: AgentAttributes,
): { readonly matched: true; readonly authority: GivenAuthority } | NoMatch {
  const { name, downstream, ttl, jwtTtl, authority } = rule;
  if (downstream === undefined) return no('kind', 'it is for workloads: it has no "downstream"');
  const asker = new Asker({}, agent);
  const fault = nodeFault(rule, asker);
  if (fault !== undefined) return fault;
  const spiffeId = idFor(rule, asker);
  if (typeof spiffeId !== 'string') return spiffeId;
  const { prefixes, unlimited, trustDomains = [], pathLength = 0 } = downstream;
  return {
    matched: true,
    authority: {
      rule: name,
      spiffeId,
      prefixes: unlimited === true ? undefined : (prefixes ?? []),
      trustDomains,
      pathLength,
      ttl,
      jwtTtl,
      authority,
    },
  };
}

/** Why an agent may not ask by this rule, or undefined where it may. */
export function nodeFault(rule: CompiledRule, asker: Asker): NoMatch | undefined {
  return (
    missing('node selectors', rule.nodeSelectors, asker.nodeSelectors, 'the agent') ??
    conditionFault('node condition', rule.nodeWhen, asker)
  );
}

function missing(
  condition: ConditionName,
  wanted: readonly string[],
  found: ReadonlySet<string>,
  who: string,
): NoMatch | undefined {
  for (const selector of wanted) {
    if (found.has(selector)) continue;
    // What stands in its place: k8s:ns:pay for k8s:ns:shop.
    const kind = selector.slice(0, selector.indexOf(':', selector.indexOf(':') + 1) + 1);
    // Values of environment variables may be secrets.
    const others = kind === 'docker:env:' ? [] : [...found].filter((other) => other.startsWith(kind));
    const instead = others.length === 0 ? `no ${kind.slice(0, -1)}` : others.slice(0, 4).join(', ');
    return no(condition, `${selector} is missing: ${who} has ${instead}`);
  }
  return undefined;
}

function conditionFault(
  condition: ConditionName,
  expression: Expression | undefined,
  asker: Asker,
): NoMatch | undefined {
  if (expression === undefined) return undefined;
  const { bindings } = asker;
  const result = expression.test(bindings);
  if (result === true) return undefined;
  const met = expression.names.map((name) => `${name} is ${shown(name, bindings)}`).join(', ');
  const where = met === '' ? '' : `: ${met}`;
  if (result === false) return no(condition, `${expression.text} is false${where}`);
  const value = expression.value(bindings);
  const why = value.ok ? 'its value is neither true nor false' : value.reason;
  return no(condition, `${expression.text} has no answer (${why})${where}`);
}

function shown(name: string, bindings: Bindings): string {
  const dot = name.indexOf('.');
  const root = Object.hasOwn(bindings, name.slice(0, dot)) ? bindings[name.slice(0, dot)] : undefined;
  if (!(root instanceof Map) || !root.has(name.slice(dot + 1))) return 'not known';
  return name === 'docker.env' ? 'not shown' : clip(jsonOf(root.get(name.slice(dot + 1))));
}

function jsonOf(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item === 'bigint') return Number(item);
    return item instanceof Map ? Object.fromEntries(item) : item;
  });
}

function idFor(rule: CompiledRule, asker: Asker): SpiffeId | NoMatch {
  if (rule.spiffeId !== undefined) return rule.spiffeId;
  const filled = fill(rule.path, '/', asker);
  if (!filled.ok) return no('ID', filled.reason);
  try {
    const id = parseSpiffeId(`spiffe://${rule.trustDomain}/${filled.text}`);
    return isReservedPath(pathOf(id)) ? no('ID', `${pathOf(id)} is one of the program's own paths`) : id;
  } catch (error) {
    if (error instanceof InterlockError) return no('ID', error.message);
    throw error;
  }
}

/** RFC 1035 section 2.3.4 allows 255 octets on the wire, which is 253 characters of text. */
const MAX_DNS_NAME = 253;

function dnsNamesFor(rule: CompiledRule, asker: Asker): readonly string[] | NoMatch {
  const names = new Set<string>();
  for (const pieces of rule.dnsNames) {
    const filled = fill(pieces, '.', asker);
    if (!filled.ok) return no('DNS names', filled.reason);
    if (filled.text.length > MAX_DNS_NAME) return no('DNS names', `${clip(filled.text)} is too long`);
    // A label that is a number at the end would make the name look like an address.
    if (/(^|\.)\d+$/.test(filled.text)) return no('DNS names', `${filled.text} would read as an address`);
    names.add(filled.text);
  }
  return [...names];
}

function clip(text: string): string {
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}

function no(condition: ConditionName, reason: string): NoMatch {
  return { matched: false, condition, reason };
}
