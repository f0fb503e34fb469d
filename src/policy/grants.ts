import type { SpiffeId } from '../access/index.ts';
import type { AccessPolicy, From, Rule, To } from './types.ts';

/**
 * One combination that a rule allows: a caller, a workload, and one port, method and path of one protocol. What
 * is absent is any.
 */
export interface Grant {
  readonly from: From;
  readonly to: SpiffeId;
  readonly port?: number;
  readonly protocol: 'tcp' | 'http' | 'grpc';
  /** HTTP method, or method of the gRPC service. */
  readonly method?: string;
  /** Path or template; HTTP only. */
  readonly path?: string;
  /** gRPC only. */
  readonly service?: string;
  readonly policy: string;
  readonly rule: string;
  readonly when?: string;
  /** When the rule ends; absent where it does not. */
  readonly until?: string;
}

/** What the rules of the policies allow, one by one; deny rules and stages are not considered. */
export function authorizedAccesses(policies: readonly AccessPolicy[]): Grant[] {
  return policies.flatMap((policy) => policy.spec.rules.flatMap((rule) => grantsOf(policy, rule)));
}

/** The combinations of one rule, of `rules` or of `deny`. */
export function grantsOf({ metadata, spec }: AccessPolicy, rule: Rule): Grant[] {
  const tail = {
    policy: metadata.name,
    rule: rule.name,
    ...(rule.when === undefined || rule.when.trim() === '' ? {} : { when: rule.when }),
    ...(rule.until === undefined ? {} : { until: rule.until }),
  };
  const to = spec.protects.workload;
  const actions = rule.to.flatMap(actionsOf);
  return rule.from.flatMap((from) => actions.map((action) => ({ from, to, ...action, ...tail })));
}

type GrantAction = Pick<Grant, 'port' | 'protocol' | 'method' | 'path' | 'service'>;

function actionsOf(to: To): GrantAction[] {
  const ports = each('port', to.ports);
  if ('tcp' in to) return ports.map((port) => ({ ...port, protocol: 'tcp' }));
  if ('grpc' in to) {
    const { service, methods } = to.grpc;
    return ports.flatMap((port) =>
      each('method', methods).map((method) => ({ ...port, protocol: 'grpc' as const, service, ...method })),
    );
  }
  const { methods, paths } = to.http;
  return ports.flatMap((port) =>
    each('method', methods).flatMap((method) =>
      each('path', paths).map((path) => ({ ...port, protocol: 'http' as const, ...method, ...path })),
    ),
  );
}

/** One object for each value, or one without the field where any is meant. */
function each<K extends string, T>(key: K, values: readonly T[] | undefined): { [P in K]?: T }[] {
  // A computed key loses its name in the type that is inferred.
  return values === undefined ? [{}] : values.map((value) => ({ [key]: value }) as { [P in K]?: T });
}
