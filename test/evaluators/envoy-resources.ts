import type { EnvoyResource } from '../../src/engines/envoy/resources/index.ts';
import type { AccessRequest } from '../../src/policy/index.ts';
import { callerOf, isRefused, trafficOf } from './envoy-document.ts';
import { type Outcome, runFilters } from './envoy-rbac.ts';

type Json = Readonly<Record<string, unknown>>;

/** One listener of the rendered resources with its routes: what Envoy reads to judge a request. */
export interface EnvoySite {
  readonly port: number;
  readonly chains: readonly Json[];
  /** The route configurations, by name. */
  readonly routes: ReadonlyMap<string, Json>;
}

/** The listener of that name, with the routes that it asks for. */
export function siteOf(resources: readonly EnvoyResource[], name: string): EnvoySite {
  const listener = resources.find((resource) => resource.type === 'listener' && resource.name === name)?.json;
  if (listener === undefined) throw new Error(`there is no listener ${name}`);
  const { socket_address: address } = listener['address'] as { socket_address: { port_value: number } };
  const routes = resources
    .filter(({ type }) => type === 'route')
    .map(({ name: own, json }) => [own, json] as const);
  return { port: address.port_value, chains: listener['filter_chains'] as Json[], routes: new Map(routes) };
}

/** What one of the two sets says; undefined where it is not there, `refused` where no chain takes the connection. */
export type SiteAnswer = Outcome | 'refused' | undefined;

/** What Envoy answers at this listener, asking the enforced rules or those of the target. */
export function askSite(
  site: EnvoySite,
  request: AccessRequest,
  set: 'enforced' | 'target',
  at?: number,
): SiteAnswer {
  const time = at === undefined ? {} : { at };
  const chain = chainFor(site, request);
  if (chain === undefined) return 'refused';
  const filters = chain['filters'] as Json[];
  const manager = filters
    .map(configOf)
    .find((config) => String(config['@type']).endsWith('.HttpConnectionManager'));
  const judges = manager === undefined ? rbacOf(filters) : routed(manager, site);
  const field = set === 'enforced' ? 'rules' : 'shadow_rules';
  if (!judges.some((filter) => configOf(filter)[field] !== undefined)) return undefined;
  const isShadow = set === 'target';
  if (manager === undefined)
    return runFilters(judges, { ...callerOf(request.from), port: site.port, ...time }, isShadow);
  // Bytes that are no HTTP are refused by the codec.
  if (request.action.kind === 'tcp' || isRefused(request.action)) return { allowed: false };
  return runFilters(judges, { ...trafficOf(request), port: site.port, ...time }, isShadow);
}

/** Callers with an identity come with TLS, others in plain text: a server that wants a certificate refuses them. */
function chainFor({ chains }: EnvoySite, { from }: AccessRequest): Json | undefined {
  const wantsTls = from.kind === 'workload';
  return chains.find((chain) => {
    const { transport_protocol: protocol } = (chain['filter_chain_match'] ?? {}) as {
      transport_protocol?: string;
    };
    if (protocol !== undefined) return protocol === (wantsTls ? 'tls' : 'raw_buffer');
    return (chain['transport_socket'] !== undefined) === wantsTls;
  });
}

/** The manager's RBAC filters with what the routes put in their place: all routes of one virtual host share it. */
function routed(manager: Json, { routes }: EnvoySite): Json[] {
  const { route_config_name: name } = manager['rds'] as { route_config_name: string };
  const [host] = (routes.get(name)?.['virtual_hosts'] ?? []) as Json[];
  if (host === undefined) throw new Error(`there are no routes ${name}`);
  const own = (host['typed_per_filter_config'] ?? {}) as Readonly<Record<string, { rbac: Json }>>;
  const filters = rbacOf(manager['http_filters'] as Json[]);
  const unused = Object.keys(own).filter((key) => !filters.some((filter) => filter['name'] === key));
  if (unused.length > 0) throw new Error(`no filter is called ${unused.join(', ')}`);
  return filters.map((filter) => {
    const replaced = own[String(filter['name'])]?.rbac;
    return replaced === undefined ? filter : { ...filter, typed_config: replaced };
  });
}

function rbacOf(filters: readonly Json[]): Json[] {
  return filters.filter((filter) => String(configOf(filter)['@type']).endsWith('.RBAC'));
}

function configOf(filter: Json): Json {
  return filter['typed_config'] as Json;
}
