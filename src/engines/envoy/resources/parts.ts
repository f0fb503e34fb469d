import { isIP } from 'node:net';
import type { Address, Json } from './types.ts';

export const TYPE = 'type.googleapis.com/';

/** How long a connection to a program or a peer may take to be made. */
const CONNECT_TIMEOUT = '5s';

/** Configuration that comes over the one stream to the control plane. */
export const FROM_ADS: Json = { ads: {}, resource_api_version: 'V3' };

/** The address as Envoy's core.v3.Address. */
export function addressJson({ host, port }: Address): Json {
  return { socket_address: { address: host, port_value: port } };
}

/** HTTP options of a cluster. */
export function httpProtocol(options: Json): Json {
  const type = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';
  return { typed_extension_protocol_options: { [type]: { '@type': `${TYPE}${type}`, ...options } } };
}

/** HTTP options of a cluster that takes both: what comes as HTTP/1.1 stays that, and HTTP/2 stays HTTP/2. */
export const AS_IT_CAME: Json = {
  use_downstream_protocol_config: { http_protocol_options: {}, http2_protocol_options: {} },
};

/** One endpoint, as a cluster load assignment. */
export function endpointsJson(name: string, address: Json): Json {
  return { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] };
}

/** No limits of Envoy's own: 1,024 connections or requests at once would refuse what was served without it. */
const NO_LIMIT = 1_000_000;

/**
 * A cluster of one endpoint: over EDS where it is an address, so that it may move without a new cluster; a name is
 * resolved by Envoy, since EDS takes none. `service` names the endpoints.
 */
export function clusterJson(name: string, service: string, to: Address): Json {
  const common = {
    name,
    connect_timeout: CONNECT_TIMEOUT,
    upstream_connection_options: { tcp_keepalive: {} },
    circuit_breakers: {
      thresholds: [{ max_connections: NO_LIMIT, max_pending_requests: NO_LIMIT, max_requests: NO_LIMIT }],
    },
  };
  if (isIP(to.host) === 0)
    return {
      ...common,
      type: 'STRICT_DNS',
      // By default Envoy takes only the IPv6 addresses of a name that has both.
      dns_lookup_family: 'V4_PREFERRED',
      load_assignment: endpointsJson(service, addressJson(to)),
    };
  return { ...common, type: 'EDS', eds_cluster_config: { eds_config: FROM_ADS, service_name: service } };
}
