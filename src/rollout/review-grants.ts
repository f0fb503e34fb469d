import { type Action, isEntity, type Principal } from '../access/index.ts';
import {
  type AccessPolicy,
  API_VERSION,
  type From,
  type Grant,
  parseCidr,
  POLICY_KIND,
  type Rule,
  type To,
} from '../policy/index.ts';
import type { SpiffeId } from '../access/index.ts';

/** A policy of some rules, to be judged by and never shown. */
export function judgingPolicy(workload: SpiffeId, rules: readonly Rule[]): AccessPolicy {
  return {
    apiVersion: API_VERSION,
    kind: POLICY_KIND,
    metadata: { name: 'judging' },
    spec: { protects: { workload }, tier: 'standard', stage: 'draft', rules, deny: [] },
  };
}

/** One text for one combination, whatever a path's parameters are called. */
export function grantKey({ from, protocol, port, method, path, service }: Grant): string {
  const what =
    protocol === 'grpc' ? (service ?? '') : (path ?? '*').replaceAll(/\{[^}=]*(=\*\*)?\}/g, '{$1}');
  return `${JSON.stringify(from)} ${protocol} ${port ?? '*'} ${method ?? '*'} ${what}`;
}

/** What a grant is about, as a rule says it. */
export function toOfGrant({ protocol, port, method, path, service = '' }: Grant): To {
  const ports = port === undefined ? {} : { ports: [port] };
  if (protocol === 'tcp') return { tcp: {}, ...ports };
  const methods = method === undefined ? {} : { methods: [method] };
  if (protocol === 'grpc') return { grpc: { service, ...methods }, ...ports };
  return { http: { ...methods, ...(path === undefined ? {} : { paths: [path] }) }, ...ports };
}

/** What exactly one action is about, as a rule says it. */
export function toOfAction(action: Action): To {
  const ports = action.port === 0 ? {} : { ports: [action.port] };
  switch (action.kind) {
    case 'tcp':
      return { tcp: {}, ...ports };
    case 'http':
      return { http: { methods: [action.method], paths: [action.path] }, ...ports };
    case 'grpc':
      return { grpc: { service: action.service, methods: [action.method] }, ...ports };
  }
}

/** Whom a rule would name; undefined where it can name nobody: a host name is no address. */
export function fromOfPrincipal(principal: Principal): From | undefined {
  if (principal.kind === 'workload') return { workload: principal.id };
  const { from } = principal;
  if (isEntity(from)) return { unauthenticated: { from } };
  const cidr = `${from}/${from.includes(':') ? 128 : 32}`;
  return parseCidr(cidr).ok ? { unauthenticated: { from: cidr } } : undefined;
}

/** The combinations that differ in nothing but the method are one target. Gives undefined where they differ otherwise. */
export function toOfGrants(grants: readonly Grant[]): To[] {
  const groups = Map.groupBy(grants, ({ protocol, port, path, service }) =>
    JSON.stringify([protocol, port, path, service]),
  );
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    const to = toOfGrant(first);
    const methods = group.flatMap(({ method }) => method ?? []).sort();
    if (group.length === 1 || methods.length < group.length) return [to];
    if ('grpc' in to) return [{ ...to, grpc: { ...to.grpc, methods } }];
    return 'http' in to ? [{ ...to, http: { ...to.http, methods } }] : [to];
  });
}
