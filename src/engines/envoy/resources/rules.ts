import { InterlockError } from '../../../access/index.ts';
import type { AccessPolicy } from '../../../policy/index.ts';
import { Losses } from '../../losses.ts';
import { protectedRules } from '../../rule-targets.ts';
import { ruleSetsOf, type RuleSets, TYPES } from '../filters.ts';
import { servingLosses } from '../serving.ts';
import { RBAC_FILTERS, type RbacFilter } from './names.ts';
import type { EnvoyInbound, EnvoyWorkload, Json } from './types.ts';

/** The rules of one port; a set is absent where it is not shipped, or protects nothing. */
export type PortRules = Partial<Record<RbacFilter['set'], RuleSets>>;

/** The rules of the workload's ports, in the order of the ports given, and what each set loses. */
export function rulesOfPorts({ workload, enforcement, inbound }: EnvoyWorkload) {
  if (enforcement.workload !== workload)
    throw new InterlockError(
      'invalid_document',
      workload,
      `the enforcement is that of ${enforcement.workload}, not of ${workload}`,
    );
  const enforced = rulesOf(workload, enforcement.enforced, inbound);
  const target = rulesOf(workload, enforcement.target, inbound);
  return {
    ports: inbound.map((_, index): PortRules => {
      const [now, later] = [enforced.sets[index], target.sets[index]];
      return {
        ...(now === undefined ? {} : { enforced: now }),
        ...(later === undefined ? {} : { target: later }),
      };
    }),
    losses: { enforced: enforced.losses.list(), target: target.losses.list() },
  };
}

/** A set of no policies for the workload protects nothing, as it does for `decide`. */
function rulesOf(
  workload: string,
  policies: readonly AccessPolicy[] | undefined,
  inbound: readonly EnvoyInbound[],
): { readonly sets: readonly RuleSets[]; readonly losses: Losses } {
  const losses = new Losses();
  const rules = protectedRules(policies ?? []).find(({ id }) => id === workload);
  if (rules === undefined) return { sets: [], losses };
  const sets = inbound.map(({ port, protocol, trustProxyHeader }) =>
    ruleSetsOf(rules, protocol, {
      losses,
      port,
      addressOf: trustProxyHeader === undefined ? 'direct_remote_ip' : 'remote_ip',
    }),
  );
  const portsAs = (kind: string) =>
    inbound.filter(({ protocol }) => protocol === kind).map(({ port }) => port);
  servingLosses(rules, { http: portsAs('http'), tcp: portsAs('tcp') }, losses);
  const [policy = ''] = rules.policies.map(({ metadata }) => metadata.name);
  for (const { port, protocol, serverFirst = false, trustProxyHeader } of inbound) {
    if (protocol === 'tcp' && serverFirst) {
      const what = `The program on port ${port} speaks first: what it says before the caller's first bytes reaches callers that are denied.`;
      losses.add('wider', 'server-first', { policy }, what);
    } else if (protocol === 'tcp') {
      const what = `Port ${port} is connected to its program at the caller's first bytes: one that speaks first (MySQL, SMTP, SSH) has to be declared as such.`;
      losses.add('narrower', 'server-first-on-tcp-port', { policy }, what);
    }
    if (trustProxyHeader === undefined) continue;
    const what = `Port ${port} takes connections only from the addresses that are trusted with a PROXY header, each with one.`;
    losses.add('narrower', 'proxy-header-required', { policy }, what);
    if ((trustProxyHeader.workloads ?? []).length === 0) continue;
    const why = `Envoy reads the PROXY header of port ${port} before TLS: workloads are not trusted with it.`;
    losses.add('narrower', 'proxy-header-before-tls', { policy }, why);
  }
  return { sets, losses };
}

/**
 * The RBAC filters of an HTTP chain. They hold no rules: those come with the routes ({@link routeRules}), so that a
 * new policy, a promotion or a release changes no listener and closes no connection.
 */
export function httpRbacFilters(): Json[] {
  return RBAC_FILTERS.map(({ name, set, prefix }) => ({
    name,
    typed_config: { '@type': TYPES.http.type, ...httpPrefix(set, prefix) },
  }));
}

/** The rules of a port as `typed_per_filter_config`: for each filter that has any. */
export function routeRules(rules: PortRules): Json {
  return Object.fromEntries(
    RBAC_FILTERS.flatMap(({ name, set, action, prefix }) => {
      const own = rules[set]?.[action];
      if (own === undefined) return [];
      const rbac = { [fieldOf(set)]: own, ...httpPrefix(set, prefix) };
      return [[name, { '@type': `${TYPES.http.type}PerRoute`, rbac }]];
    }),
  );
}

/** The RBAC filters of a TCP chain, those that have rules. Each is asked once, at the first bytes of a connection. */
export function tcpRbacFilters(rules: PortRules): Json[] {
  return RBAC_FILTERS.flatMap(({ name, set, action, prefix }) => {
    const own = rules[set]?.[action];
    if (own === undefined) return [];
    const shadow = set === 'target' ? { shadow_rules_stat_prefix: prefix } : {};
    const config = { '@type': TYPES.tcp.type, stat_prefix: prefix, [fieldOf(set)]: own, ...shadow };
    return [{ name, typed_config: config }];
  });
}

function fieldOf(set: RbacFilter['set']): string {
  return set === 'target' ? 'shadow_rules' : 'rules';
}

function httpPrefix(set: RbacFilter['set'], prefix: string): Json {
  const field = set === 'target' ? 'shadow_rules_stat_prefix' : 'rules_stat_prefix';
  return { [field]: prefix, track_per_rule_stats: true };
}
