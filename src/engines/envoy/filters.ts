import type { Losses } from '../losses.ts';
import type { ProtectedRules, ReadRule } from '../rule-targets.ts';
import { carryCondition, type Expr } from './condition.ts';
import { GUARD_ID, PATH_GUARD } from './path-guard.ts';
import { connectionPermission, requestPermission } from './permissions.ts';
import { principalsOf } from './principals.ts';
import type { Filter, Permission, Policy, Rules } from './rbac.ts';
import { type Protocol, servingOf, serves } from './serving.ts';

/** Statistics and dynamic metadata of the two filters of one chain must not overwrite each other. */
const STAT_PREFIX = { DENY: 'interlock_deny_', ALLOW: 'interlock_allow_' } as const;
type Action = keyof typeof STAT_PREFIX;

const TYPES = {
  http: {
    name: 'envoy.filters.http.rbac',
    type: 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC',
  },
  tcp: {
    name: 'envoy.filters.network.rbac',
    type: 'type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC',
  },
} as const;

/**
 * The filters of one kind of chain: what denies, then what allows. Both hold the rules for all ports, so that
 * they can stand in every chain of that kind.
 */
function filtersOf(
  rules: ProtectedRules,
  protocol: Protocol,
  options: { readonly shadow: boolean; readonly losses: Losses },
): Filter[] {
  const width = Math.max(4, String(Math.max(rules.deny.length, rules.allow.length)).length);
  const render = (action: Action, own: readonly ReadRule[]): [string, Policy][] =>
    own.flatMap((rule) => {
      const policy = policyOf(rule, action, protocol, options.losses);
      return policy === undefined ? [] : [[policyId(rule, width), policy] as [string, Policy]];
    });
  const deny = render('DENY', rules.deny);
  if (protocol === 'http') deny.unshift([GUARD_ID, PATH_GUARD]);
  // ALLOW with no policies is not "no rules": Envoy then denies everything, as the policy does.
  const allow = filter('ALLOW', render('ALLOW', rules.allow), protocol, options.shadow);
  return deny.length === 0 ? [allow] : [filter('DENY', deny, protocol, options.shadow), allow];
}

/**
 * Envoy asks policies in the order of their names and reports the first that matches: the number makes that the
 * rule that `decide` names.
 */
function policyId({ order, policy, rule }: ReadRule, width: number): string {
  return `${String(order).padStart(width, '0')}/${policy}/${rule}`;
}

/** The rule as a policy, or undefined where nothing of it can match here. */
function policyOf(rule: ReadRule, action: Action, protocol: Protocol, losses: Losses): Policy | undefined {
  const denying = action === 'DENY';
  const permissions = permissionsOf(rule, denying, protocol);
  if (permissions.length === 0) return undefined;
  const principals = principalsOf(rule, denying, losses);
  if (principals.length === 0) return undefined;
  if (rule.when === undefined) return { permissions, principals };
  const condition = conditionOf(rule, rule.when, denying, protocol, losses);
  if (condition === 'always') return { permissions, principals };
  return condition === 'never' ? undefined : { permissions, principals, condition };
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
  losses: Losses,
): Expr | 'always' | 'never' {
  const carried = carryCondition(when);
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

function filter(
  action: Action,
  policies: readonly (readonly [string, Policy])[],
  protocol: Protocol,
  shadow: boolean,
): Filter {
  const rules: Rules = { action, policies: Object.fromEntries(policies) };
  const prefix = STAT_PREFIX[action];
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
