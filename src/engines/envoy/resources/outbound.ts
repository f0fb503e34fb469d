import { isIP } from 'node:net';
import { tcpProxy } from './inbound.ts';
import { outboundManager } from './manager.ts';
import { outboundName } from './names.ts';
import { addressJson, AS_IT_CAME, clusterJson, endpointsJson, httpProtocol } from './parts.ts';
import { routeJson } from './routes.ts';
import { upstreamTls } from './tls.ts';
import type { EnvoyOutbound, EnvoyResource, EnvoyWorkload, Json } from './types.ts';

/** The resources of one peer. */
export function outboundResources({ workload }: EnvoyWorkload, outbound: EnvoyOutbound): EnvoyResource[] {
  const { listen, to, peer, protocol } = outbound;
  const name = outboundName(listen);
  const stats = `outbound_${listen.port}`;
  const isHttp = protocol === 'http';
  const filter = isHttp
    ? outboundManager({ stats, routes: name, filters: [], accessLog: [] })
    : tcpProxy(stats, name, []);
  const listener: Json = {
    name,
    address: addressJson(listen),
    stat_prefix: stats,
    traffic_direction: 'OUTBOUND',
    per_connection_buffer_limit_bytes: 65_536,
    filter_chains: [{ filters: [filter] }],
  };
  const cluster: Json = {
    ...clusterJson(name, name, to),
    transport_socket: upstreamTls(workload, peer),
    // Who answers may speak nothing but HTTP/1.1, and an upgrade needs it.
    ...(isHttp ? httpProtocol(AS_IT_CAME) : {}),
  };
  return [
    { type: 'listener', name, json: listener },
    { type: 'cluster', name, json: cluster },
    ...(isHttp ? [{ type: 'route', name, json: routeJson(name, { plain: name, grpc: name }) } as const] : []),
    ...(isIP(to.host) === 0
      ? []
      : [{ type: 'endpoint', name, json: endpointsJson(name, addressJson(to)) } as const]),
  ];
}
