import { isIP } from 'node:net';
import type { SpiffeId } from '../../../access/index.ts';
import { AGENT_CLUSTER, CONTROL_PLANE_CLUSTER } from '../resources/names.ts';
import { addressJson, endpointsJson, FROM_ADS, httpProtocol } from '../resources/parts.ts';
import { upstreamTls } from '../resources/tls.ts';
import type { Address, Json } from '../resources/types.ts';
import { nodeId } from './node-id.ts';

/** How Envoy asks for its configuration: only what changed, or the state of the world. */
export const XDS_PROTOCOLS = { delta: 'DELTA_GRPC', whole: 'GRPC' } as const;

/** Where Envoy takes its configuration from, and sends its access logs to. */
export type ConfigurationSource =
  | {
      readonly controlPlane: Address;
      /** Who must answer there. */
      readonly serverId: SpiffeId;
    }
  /** Path of the socket of a relay on this machine: whoever can open it may ask, and nobody else. */
  | { readonly relaySocket: string };

/** What a bootstrap is made from. */
export type BootstrapOptions = ConfigurationSource & EnvoyOptions;

interface EnvoyOptions {
  readonly workload: SpiffeId;
  /** Which of the proxies of that workload: stable over restarts. */
  readonly instance: string;
  /** The cluster it runs in, as releases and canaries name it. */
  readonly cluster?: string;
  /** Path of the agent's socket. */
  readonly agentSocket: string;
  /** `delta` where absent. */
  readonly protocol?: keyof typeof XDS_PROTOCOLS;
  /** Port of the administration interface on loopback; there is none where absent. */
  readonly adminPort?: number;
}

/** Envoy wants a cluster's name; this one stands for none. */
export const NO_CLUSTER = 'default';

/** How soon a relay that was away is found: it is asked on a socket of this machine. Envoy's own is up to 30 s. */
const TO_RELAY: Json = { base_interval: '0.2s', max_interval: '2s' };

/** Connections that Envoy takes before it refuses more, so that it never dies of too many. */
const MAX_CONNECTIONS = 100_000;

/**
 * Envoy's bootstrap, which works as it is: certificate and trust from the agent's socket, all other configuration
 * from the control plane over mutual TLS, or from a relay beside it. Throws `usage` for an instance that cannot be part of a node's ID.
 */
export function envoyBootstrap(options: BootstrapOptions): Json {
  const { workload, instance, cluster = NO_CLUSTER, adminPort, protocol = 'delta' } = options;
  return {
    node: { id: nodeId({ workload, instance }), cluster },
    ...(adminPort === undefined
      ? {}
      : { admin: { address: addressJson({ host: '127.0.0.1', port: adminPort }) } }),
    dynamic_resources: {
      ads_config: {
        api_type: XDS_PROTOCOLS[protocol],
        transport_api_version: 'V3',
        set_node_on_first_message_only: true,
        grpc_services: [
          {
            envoy_grpc: {
              cluster_name: CONTROL_PLANE_CLUSTER,
              ...('relaySocket' in options ? { retry_policy: { retry_back_off: TO_RELAY } } : {}),
            },
          },
        ],
      },
      cds_config: FROM_ADS,
      lds_config: FROM_ADS,
    },
    static_resources: { clusters: [agentCluster(options), controlPlaneCluster(options)] },
    overload_manager: {
      resource_monitors: [
        {
          name: 'envoy.resource_monitors.global_downstream_max_connections',
          typed_config: {
            '@type':
              'type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig',
            max_active_downstream_connections: MAX_CONNECTIONS,
          },
        },
      ],
    },
  };
}

function agentCluster({ agentSocket }: BootstrapOptions): Json {
  return {
    name: AGENT_CLUSTER,
    type: 'STATIC',
    connect_timeout: '5s',
    load_assignment: endpointsJson(AGENT_CLUSTER, { pipe: { path: agentSocket } }),
    ...httpProtocol({ explicit_http_config: { http2_protocol_options: {} } }),
  };
}

function controlPlaneCluster(options: BootstrapOptions): Json {
  const common = {
    name: CONTROL_PLANE_CLUSTER,
    connect_timeout: '5s',
    ...httpProtocol({
      explicit_http_config: {
        // A control plane that is gone without a word is noticed, and another one found.
        http2_protocol_options: { connection_keepalive: { interval: '30s', timeout: '10s' } },
      },
    }),
  };
  if ('relaySocket' in options) {
    const address = { pipe: { path: options.relaySocket } };
    return { ...common, type: 'STATIC', load_assignment: endpointsJson(CONTROL_PLANE_CLUSTER, address) };
  }
  const { controlPlane, workload, serverId } = options;
  return {
    ...common,
    type: isIP(controlPlane.host) === 0 ? 'STRICT_DNS' : 'STATIC',
    load_assignment: endpointsJson(CONTROL_PLANE_CLUSTER, addressJson(controlPlane)),
    transport_socket: upstreamTls(workload, serverId),
  };
}
