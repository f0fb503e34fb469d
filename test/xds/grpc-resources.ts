import type { SpiffeId } from '../../src/access/index.ts';
import { envoyResources, messageOf, RBAC_FILTERS } from '../../src/engines/envoy/resources/index.ts';
import type { AccessPolicy } from '../../src/policy/index.ts';
import { type Resource, resourceOf } from '../../src/xds/index.ts';

type Json = Readonly<Record<string, unknown>>;

const TYPE = 'type.googleapis.com/';
const HTTP = `${TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`;
const TLS = `${TYPE}envoy.extensions.transport_sockets.tls.v3`;
export const RBAC = `${TYPE}envoy.extensions.filters.http.rbac.v3.RBAC`;
const ROUTER = {
  name: 'router',
  typed_config: { '@type': `${TYPE}envoy.extensions.filters.http.router.v3.Router` },
};
const ads = { ads: {}, resource_api_version: 'V3' };

/** The certificate provider that has the authorities of every trust domain. */
export const AUTHORITIES = 'authorities';

/** One port of one workload, and the port at which it really listens. */
export interface Site {
  readonly name: string;
  readonly workload: SpiffeId;
  readonly policies: readonly AccessPolicy[];
  /** The port that policies speak of. */
  readonly port: number;
}

/**
 * The RBAC filters with the rules that the engine has rendered for this port: as an Envoy gets them, with three
 * differences. They stand in the filters and not in the routes, for @grpc/grpc-js-xds looks overrides up by the type of
 * a filter and not by its name, so that two filters of one type cannot both have one; and there is no target set, for a
 * filter without `rules` is refused. And of "from this address, and without an ID" the second is asked first: a server of
 * @grpc/grpc-js-xds 1.14.1 ends at the first caller whose IPv4 address it compares, which it sees as an IPv6 one.
 */
export function rbacFilters({ workload, policies, port }: Site, listenPort: number): Json[] {
  const { resources } = envoyResources({
    workload,
    trustDomains: [],
    enforcement: {
      workload,
      authentication: 'strict',
      stage: 'enforced',
      enforced: policies,
      target: policies,
    },
    version: 'corpus',
    inbound: [
      {
        listen: { host: '127.0.0.1', port: listenPort },
        forward: { host: '127.0.0.1', port: listenPort === 1 ? 2 : 1 },
        port,
        protocol: 'http',
      },
    ],
    outbound: [],
    accessLogCluster: 'none',
  });
  const [hosts] = resources.flatMap(({ type, json }) =>
    type === 'route' ? [json['virtual_hosts'] as readonly Json[]] : [],
  );
  const rules = (hosts?.[0]?.['typed_per_filter_config'] ?? {}) as Readonly<Record<string, { rbac: Json }>>;
  return RBAC_FILTERS.flatMap(({ name, set }) => {
    const own = rules[name]?.rbac['rules'];
    return set === 'target' || own === undefined ? [] : [rbacFilter(name, { rules: identityFirst(own) })];
  });
}

/** The same rules with the parts of every `and_ids` in the opposite order. */
function identityFirst(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(identityFirst);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => {
      const same = identityFirst(inner);
      if (key !== 'and_ids') return [key, same];
      // What the engine renders: and_ids is a list of principals.
      return [key, { ids: (same as { ids: readonly unknown[] }).ids.toReversed() }];
    }),
  );
}

/** One RBAC filter of HTTP. */
export function rbacFilter(name: string, config: Json): Json {
  return { name, typed_config: { '@type': RBAC, ...config } };
}

/** Whether a condition stands anywhere in these filters: gRPC reads none. */
export function hasCondition(filters: readonly Json[]): boolean {
  return JSON.stringify(filters).includes('"condition":');
}

/** A server's port: mutual TLS as the workload, the filters, and routes that end here. */
export function serverResources(site: Site, listenPort: number, filters: readonly Json[]): Resource[] {
  const routes = `${site.name}/inbound`;
  const manager = {
    '@type': HTTP,
    stat_prefix: site.name,
    http_filters: [...filters, ROUTER],
    rds: { config_source: ads, route_config_name: routes },
  };
  const socket = {
    '@type': `${TLS}.DownstreamTlsContext`,
    require_client_certificate: true,
    common_tls_context: commonTls(site.workload),
  };
  return [
    resource('listener', {
      name: `server/127.0.0.1:${listenPort}`,
      address: socketAddress(listenPort),
      filter_chains: [
        {
          name: 'mtls',
          filters: [{ name: 'http', typed_config: manager }],
          transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: socket },
        },
      ],
    }),
    resource('route', {
      name: routes,
      virtual_hosts: [
        { name: 'all', domains: ['*'], routes: [{ match: { prefix: '' }, non_forwarding_action: {} }] },
      ],
    }),
    resource('endpoint', {
      cluster_name: site.name,
      endpoints: [
        {
          locality: { region: 'here' },
          load_balancing_weight: 1,
          lb_endpoints: [{ endpoint: { address: socketAddress(listenPort) } }],
        },
      ],
    }),
  ];
}

/** A client of a port that calls as somebody, and wants the workload of that port to answer. */
export function clientResources(
  name: string,
  { name: server, workload }: Site,
  caller: SpiffeId,
): Resource[] {
  const manager = {
    '@type': HTTP,
    http_filters: [ROUTER],
    rds: { config_source: ads, route_config_name: `${name}/outbound` },
  };
  const socket = {
    '@type': `${TLS}.UpstreamTlsContext`,
    common_tls_context: commonTls(caller, workload),
  };
  return [
    resource('listener', { name, api_listener: { api_listener: manager } }),
    resource('route', {
      name: `${name}/outbound`,
      virtual_hosts: [
        { name: 'all', domains: ['*'], routes: [{ match: { prefix: '' }, route: { cluster: name } }] },
      ],
    }),
    resource('cluster', {
      name,
      type: 'EDS',
      eds_cluster_config: { eds_config: ads, service_name: server },
      transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: socket },
    }),
  ];
}

/** Certificates come from files that the bootstrap names: gRPC knows no SDS. */
function commonTls(own: SpiffeId, peer?: SpiffeId): Json {
  return {
    tls_certificate_provider_instance: { instance_name: own },
    validation_context: {
      ca_certificate_provider_instance: { instance_name: AUTHORITIES },
      // `exact` is a DNS name there.
      ...(peer === undefined
        ? {}
        : { match_subject_alt_names: [{ safe_regex: { regex: peer.replaceAll('.', '\\.') } }] }),
    },
  };
}

function socketAddress(port: number): Json {
  return { socket_address: { address: '127.0.0.1', port_value: port } };
}

function resource(type: 'listener' | 'route' | 'cluster' | 'endpoint', json: Json): Resource {
  return resourceOf(messageOf({ type, name: '', json }));
}
