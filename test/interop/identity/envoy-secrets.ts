import { idOf, OWN } from './scene.ts';

type Json = Readonly<Record<string, unknown>>;

const TYPE = 'type.googleapis.com/';
const TLS = `${TYPE}envoy.extensions.transport_sockets.tls.v3.`;

/** The two protocols in which Envoy asks for secrets. */
export type SdsProtocol = 'GRPC' | 'DELTA_GRPC';

/** One place where Envoy uses secrets. */
export interface SecretUse {
  readonly protocol: SdsProtocol;
  /** The name of the certificate. */
  readonly certificate: string;
  /** The name of what to trust. */
  readonly trust: string;
  /** The one SPIFFE ID that the other end must have, where it is not just any that can be verified. */
  readonly peer?: string;
}

/** The listeners, all on 127.0.0.1: name -> port. */
export type Ports = Readonly<Record<ListenerName, number>>;
export type ListenerName = keyof typeof LISTENERS | keyof typeof UPSTREAMS;

/** Where the servers say whom they have accepted. */
export const PEER_HEADER = 'x-peer';

/** HTTP servers for those with a certificate that they accept. */
export const LISTENERS = {
  /** State of the world; everybody that the workload's bundles verify. */
  whole: { protocol: 'GRPC', certificate: idOf('proxy'), trust: 'ALL' },
  /** Delta; the own trust domain, and in it one ID. */
  delta: { protocol: 'DELTA_GRPC', certificate: 'default', trust: 'ROOTCA', peer: idOf('web') },
  /** Delta; the own trust domain by its ID. */
  named: { protocol: 'DELTA_GRPC', certificate: idOf('proxy'), trust: `spiffe://${OWN}` },
  /** Somebody else's certificate. */
  stolen: { protocol: 'GRPC', certificate: idOf('web'), trust: 'ROOTCA' },
} as const satisfies Readonly<Record<string, SecretUse>>;

/** Plain listeners that connect to a server over mutual TLS. */
export const UPSTREAMS = {
  toDb: { protocol: 'GRPC', certificate: 'default', trust: 'ROOTCA', peer: idOf('db') },
  toDbDelta: { protocol: 'DELTA_GRPC', certificate: 'default', trust: 'ALL', peer: idOf('db') },
  toWeb: { protocol: 'GRPC', certificate: 'default', trust: 'ROOTCA', peer: idOf('web') },
} as const satisfies Readonly<Record<string, SecretUse>>;

/** Envoy's whole static configuration. `upstream` is the port of a server on go-spiffe. */
export function secretsConfig(options: {
  readonly socket: string;
  readonly admin: number;
  readonly ports: Ports;
  readonly upstream: number;
}): object {
  const { socket, admin, ports, upstream } = options;
  return {
    node: { id: 'proxy-1', cluster: 'interop' },
    admin: { address: address(admin) },
    static_resources: {
      listeners: [
        ...Object.entries(LISTENERS).map(([name, use]) =>
          listener(name, ports[name as ListenerName], [greeting()], downstream(use)),
        ),
        ...Object.keys(UPSTREAMS).map((name) =>
          listener(name, ports[name as ListenerName], [tcpProxy(name)], undefined),
        ),
      ],
      clusters: [
        {
          ...cluster('agent', { pipe: { path: socket } }),
          typed_extension_protocol_options: {
            'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
              '@type': `${TYPE}envoy.extensions.upstreams.http.v3.HttpProtocolOptions`,
              explicit_http_config: { http2_protocol_options: {} },
            },
          },
        },
        ...Object.entries(UPSTREAMS).map(([name, use]) => ({
          ...cluster(name, address(upstream)),
          transport_socket: tls('UpstreamTlsContext', use),
        })),
      ],
    },
  };
}

function downstream(use: SecretUse): Json {
  return tls('DownstreamTlsContext', use, { require_client_certificate: true });
}

function tls(kind: string, { protocol, certificate, trust, peer }: SecretUse, more: Json = {}): Json {
  const trusted = { name: trust, sds_config: source(protocol) };
  const names = [{ san_type: 'URI', matcher: { exact: peer } }];
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': `${TLS}${kind}`,
      ...more,
      common_tls_context: {
        tls_certificate_sds_secret_configs: [{ name: certificate, sds_config: source(protocol) }],
        ...(peer === undefined
          ? { validation_context_sds_secret_config: trusted }
          : {
              combined_validation_context: {
                default_validation_context: { match_typed_subject_alt_names: names },
                validation_context_sds_secret_config: trusted,
              },
            }),
      },
    },
  };
}

function source(protocol: SdsProtocol): Json {
  return {
    resource_api_version: 'V3',
    // The one that is refused must not hold up the others.
    initial_fetch_timeout: '3s',
    api_config_source: {
      api_type: protocol,
      transport_api_version: 'V3',
      grpc_services: [{ envoy_grpc: { cluster_name: 'agent' } }],
    },
  };
}

function listener(name: string, port: number, filters: readonly Json[], socket: Json | undefined): Json {
  const chain = socket === undefined ? { filters } : { filters, transport_socket: socket };
  return { name, address: address(port), filter_chains: [chain] };
}

/** Answers every request with the SPIFFE ID that the client has shown. */
function greeting(): Json {
  return {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: {
      '@type': `${TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
      stat_prefix: 'in',
      route_config: {
        virtual_hosts: [
          {
            name: 'all',
            domains: ['*'],
            routes: [{ match: { prefix: '/' }, direct_response: { status: 200 } }],
          },
        ],
        response_headers_to_add: [{ header: { key: PEER_HEADER, value: '%DOWNSTREAM_PEER_URI_SAN%' } }],
      },
      http_filters: [
        {
          name: 'envoy.filters.http.router',
          typed_config: { '@type': `${TYPE}envoy.extensions.filters.http.router.v3.Router` },
        },
      ],
    },
  };
}

function tcpProxy(to: string): Json {
  return {
    name: 'envoy.filters.network.tcp_proxy',
    typed_config: {
      '@type': `${TYPE}envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`,
      stat_prefix: to,
      cluster: to,
    },
  };
}

function address(port: number): Json {
  return { socket_address: { address: '127.0.0.1', port_value: port } };
}

function cluster(name: string, where: Json): Json {
  return {
    name,
    type: 'STATIC',
    connect_timeout: '2s',
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: where } }] }],
    },
  };
}
