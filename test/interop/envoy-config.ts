import type { TestAuthority } from './certificates.ts';

type Json = Readonly<Record<string, unknown>>;

const TYPE = 'type.googleapis.com/';
const HCM = `${TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`;

/** Where the answers say which policy decided. */
export const ID_HEADER = 'x-policy-id';
export const DETAILS_HEADER = 'x-details';

/** A listener on one loopback address and port. */
export interface ListenerSpec {
  readonly address: string;
  readonly port: number;
  readonly http?: { readonly manager: Json; readonly filters: readonly Json[] };
  readonly tcp?: { readonly filters: readonly Json[] };
}

/** A whole static configuration: TLS listeners that ask for client certificates, and two backends. */
export function envoyConfig(
  listeners: readonly ListenerSpec[],
  options: {
    readonly authority: TestAuthority;
    readonly adminPort: number;
    readonly http: number;
    readonly tcp: number;
  },
): object {
  const server = options.authority.leaf('spiffe://interop.test/envoy');
  const tls = {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': `${TYPE}envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext`,
      require_client_certificate: false,
      common_tls_context: {
        tls_certificates: [
          { certificate_chain: { filename: server.certFile }, private_key: { filename: server.keyFile } },
        ],
        validation_context: { trusted_ca: { filename: options.authority.file } },
      },
    },
  };
  return {
    admin: { address: address('127.0.0.1', options.adminPort) },
    static_resources: {
      listeners: listeners.map((spec) => ({
        name: `${spec.address}:${spec.port}`,
        address: address(spec.address, spec.port),
        filter_chains: [{ transport_socket: tls, filters: filtersOf(spec) }],
      })),
      clusters: [cluster('http', options.http), cluster('tcp', options.tcp)],
    },
  };
}

function filtersOf({ http, tcp }: ListenerSpec): Json[] {
  if (http !== undefined) return [connectionManager(http.manager, http.filters)];
  const proxy = {
    '@type': `${TYPE}envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`,
    stat_prefix: 'tcp',
    cluster: 'tcp',
  };
  return [...(tcp?.filters ?? []), { name: 'envoy.filters.network.tcp_proxy', typed_config: proxy }];
}

function connectionManager(manager: Json, filters: readonly Json[]): Json {
  const id = '%DYNAMIC_METADATA(envoy.filters.http.rbac:interlock_allow_enforced_effective_policy_id)%';
  return {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: {
      '@type': HCM,
      stat_prefix: 'in',
      ...manager,
      local_reply_config: {
        mappers: [
          {
            filter: {
              status_code_filter: {
                comparison: { op: 'GE', value: { default_value: 400, runtime_key: 'none' } },
              },
            },
            headers_to_add: [{ header: { key: DETAILS_HEADER, value: '%RESPONSE_CODE_DETAILS%' } }],
          },
        ],
      },
      route_config: {
        virtual_hosts: [
          {
            name: 'all',
            domains: ['*'],
            routes: [
              { match: { prefix: '/' }, route: { cluster: 'http' } },
              { match: { path: '*' }, route: { cluster: 'http' } },
            ],
          },
        ],
        response_headers_to_add: [{ header: { key: ID_HEADER, value: id } }],
      },
      http_filters: [
        ...filters,
        {
          name: 'envoy.filters.http.router',
          typed_config: { '@type': `${TYPE}envoy.extensions.filters.http.router.v3.Router` },
        },
      ],
    },
  };
}

function address(host: string, port: number): Json {
  return { socket_address: { address: host, port_value: port } };
}

function cluster(name: string, port: number): Json {
  return {
    name,
    type: 'STATIC',
    connect_timeout: '1s',
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: address('127.0.0.1', port) } }] }],
    },
  };
}
