import type { Losses } from '../losses.ts';
import type { ProtectedRules, ReadRule } from '../rule-targets.ts';
import { beforeEnd, carryCondition, type Expr } from './condition.ts';
import { GUARD_ID, PATH_GUARD } from './path-guard.ts';
import { connectionPermission, requestPermission } from './permissions.ts';
import { principalsOf } from './principals.ts';
import type { Filter, Permission, Policy, Rules } from './rbac.ts';
import { type Protocol, servingOf, serves } from './serving.ts';

/** The rules of one chain: what denies, absent where nothing does, then what allows. */
export interface RuleSets {
  readonly deny?: Rules;
  /** With no policies Envoy denies everything, as the policy does: never "no rules". */
  readonly allow: Rules;
}

export interface RuleSetOptions {
  readonly losses: Losses;
  /** The port that the chain serves: only the rules about it are rendered. All ports where absent. */
  readonly port?: number;
  /** Which address rules about callers without identity are about; the physical peer's by default. */
  readonly addressOf?: 'direct_remote_ip' | 'remote_ip';
}

/** Statistics and dynamic metadata of the two filters of one chain must not overwrite each other. */
const STAT_PREFIX = { DENY: 'interlock_deny_', ALLOW: 'interlock_allow_' } as const;
type Action = keyof typeof STAT_PREFIX;

/** The RBAC filters of Envoy. */
export const TYPES = {
  http: {
    name: 'envoy.filters.http.rbac',
    type: 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC',
  },
  tcp: {
    name: 'envoy.filters.network.rbac',
    type: 'type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC',
  },
} as const;

/** The rules of one kind of chain. */
export function ruleSetsOf(rules: ProtectedRules, protocol: Protocol, options: RuleSetOptions): RuleSets {
  const width = Math.max(4, String(Math.max(rules.deny.length, rules.allow.length)).length);
  const render = (action: Action, own: readonly ReadRule[]): [string, Policy][] =>
    own.flatMap((rule) => {
      const policy = policyOf(onPort(rule, options.port), action, protocol, options);
      return policy === undefined ? [] : [[policyId(rule, width), policy] as [string, Policy]];
    });
  const deny = render('DENY', rules.deny);
  if (protocol === 'http') deny.unshift([GUARD_ID, PATH_GUARD]);
  const allow = rulesOf('ALLOW', render('ALLOW', rules.allow));
  return deny.length === 0 ? { allow } : { deny: rulesOf('DENY', deny), allow };
}

function rulesOf(action: Action, policies: readonly (readonly [string, Policy])[]): Rules {
  return { action, policies: Object.fromEntries(policies) };
}

/** The rule with its targets on one port, which then says nothing of ports: the chain serves no other. */
function onPort(rule: ReadRule, port: number | undefined): ReadRule {
  if (port === undefined) return rule;
  const own = rule.targets.filter(({ ports }) => ports === undefined || ports.includes(port));
  return { ...rule, targets: own.map((target) => ({ ...target, ports: undefined })) };
}

/**
 * The filters of one kind of chain: what denies, then what allows. Both hold the rules for all ports, so that
 * they can stand in every chain of that kind.
 */
function filtersOf(
  rules: ProtectedRules,
  protocol: Protocol,
  options: { readonly shadow: boolean; readonly losses: Losses },
): Filter[] {
  const { deny, allow } = ruleSetsOf(rules, protocol, options);
  return [...(deny === undefined ? [] : [deny]), allow].map((set) => filter(set, protocol, options.shadow));
}

/**
 * Envoy asks policies in the order of their names and reports the first that matches: the number makes that the
 * rule that `decide` names.
 */
function policyId({ order, policy, rule }: ReadRule, width: number): string {
  return `${String(order).padStart(width, '0')}/${policy}/${rule}`;
}

/** The rule as a policy, or undefined where nothing of it can match here. */
function policyOf(
  rule: ReadRule,
  action: Action,
  protocol: Protocol,
  options: RuleSetOptions,
): Policy | undefined {
  const denying = action === 'DENY';
  const permissions = permissionsOf(rule, denying, protocol);
  if (permissions.length === 0) return undefined;
  const principals = principalsOf(rule, denying, options.losses, options.addressOf);
  if (principals.length === 0) return undefined;
  const condition =
    rule.when === undefined ? 'always' : conditionOf(rule, rule.when, denying, protocol, options);
  if (condition === 'never') return undefined;
  const own = condition === 'always' ? undefined : condition;
  // It really ends, also where nobody is left who could take it away.
  const whole = rule.ends === undefined ? own : beforeEnd(rule.ends, own);
  return whole === undefined ? { permissions, principals } : { permissions, principals, condition: whole };
}

/** A connection matches `tcp` rules, but is closed by any deny rule about its requests as well. */
function permissionsOf({ targets }: ReadRule, denying: boolean, protocol: Protocol): Permission[] {
  if (protocol === 'http') return targets.map(requestPermission);
  return targets.filter(({ kind }) => denying || kind === 'tcp').map(connectionPermission);
}

/**
 * A condition that fails counts as not met in Envoy. That is right for a rule that allows; one that denies would
 * let the request pass, so it keeps its condition only where no request can make it fail.
 */
function conditionOf(
  rule: ReadRule,
  when: string,
  denying: boolean,
  protocol: Protocol,
  { losses, port }: RuleSetOptions,
): Expr | 'always' | 'never' {
  const carried = carryCondition(when, port);
  if (!denying) {
    if (carried.ok) return carried.expr;
    losses.add(
      'narrower',
      'condition',
      rule,
      `Envoy cannot carry the condition (${carried.reason}): the rule is left out.`,
    );
    return 'never';
  }
  if (carried.ok && carried.total && protocol === 'http') return carried.expr;
  const why = carried.ok ? 'it may fail, or no request is seen' : carried.reason;
  losses.add('narrower', 'condition-in-deny', rule, `The condition is left off (${why}): more is denied.`);
  return 'always';
}

function filter(rules: Rules, protocol: Protocol, shadow: boolean): Filter {
  const prefix = STAT_PREFIX[rules.action];
  const { name, type } = TYPES[protocol];
  const config = {
    '@type': type,
    ...(shadow ? { shadow_rules: rules, shadow_rules_stat_prefix: prefix } : { rules }),
    ...(protocol === 'tcp'
      ? { stat_prefix: prefix }
      : { ...(shadow ? {} : { rules_stat_prefix: prefix }), track_per_rule_stats: true }),
  };
  return { name, typed_config: config };
}

/** Which chains a workload needs, and their filters. */
export function chainsOf(rules: ProtectedRules, options: Parameters<typeof filtersOf>[2]) {
  const serving = servingOf(rules);
  return {
    serving,
    http: serves(serving, 'http') ? filtersOf(rules, 'http', options) : undefined,
    tcp: serves(serving, 'tcp') ? filtersOf(rules, 'tcp', options) : undefined,
  };
}
