import { isIP } from 'node:net';
import { InterlockError } from '../../../access/index.ts';
import { addressText, parseCidr } from '../../../policy/index.ts';
import { TYPES } from '../filters.ts';
import { accessLog } from './access-log.ts';
import { inboundManager } from './manager.ts';
import { inboundName, inboundStats, type LogName } from './names.ts';
import { CONNECT_WHEN_JUDGED } from './newer-fields.ts';
import { addressJson, AS_IT_CAME, clusterJson, endpointsJson, httpProtocol, TYPE } from './parts.ts';
import { routeJson } from './routes.ts';
import { httpRbacFilters, type PortRules, routeRules, tcpRbacFilters } from './rules.ts';
import { downstreamTls } from './tls.ts';
import type { EnvoyInbound, EnvoyResource, EnvoyWorkload, Json } from './types.ts';

/** A handshake must be done by then. */
const HANDSHAKE_TIMEOUT = '10s';
/** How long the first bytes are waited for, after which the connection is closed. */
const FIRST_BYTES = '15s';
/** The same where silence is taken for plain text: in a protocol in which the server speaks first. */
const SILENCE = '1s';
/** A TCP connection with nothing in either direction; dead peers are found by keep-alive before. */
const TCP_IDLE = '86400s';
/** SOL_SOCKET and SO_KEEPALIVE of Linux, before the socket listens: accepted connections inherit it. */
const KEEP_ALIVE: Json = {
  description: 'keep-alive',
  level: 1,
  name: 9,
  int_value: 1,
  state: 'STATE_PREBIND',
};
/** Counters and metadata of the filter that admits only peers trusted with a PROXY header. */
const PROXY_HEADER_PREFIX = 'interlock_proxy_header_';

/** The resources of one port of the workload. */
export function inboundResources(
  workload: EnvoyWorkload,
  inbound: EnvoyInbound,
  rules: PortRules,
): EnvoyResource[] {
  const { forward, protocol, listen, programSpeaks } = inbound;
  const name = inboundName(listen);
  const clusters = protocol === 'http' ? { plain: name, grpc: `${name}/grpc` } : { plain: name };
  const resource = (type: EnvoyResource['type'], json: Json): EnvoyResource => ({
    type,
    name: String(json['name'] ?? json['cluster_name']),
    json,
  });
  const cluster = {
    ...clusterJson(name, name, forward),
    ...(programSpeaks === 'h2' ? httpProtocol(AS_IT_CAME) : {}),
  };
  return [
    resource('listener', listenerJson(workload, inbound, rules)),
    resource('cluster', cluster),
    ...(clusters.grpc === undefined
      ? []
      : [
          resource('cluster', {
            ...clusterJson(clusters.grpc, name, forward),
            ...httpProtocol({ explicit_http_config: { http2_protocol_options: {} } }),
          }),
          resource('route', routeJson(name, clusters, workload.version, routeRules(rules))),
        ]),
    ...(isIP(forward.host) === 0 ? [] : [resource('endpoint', endpointsJson(name, addressJson(forward)))]),
  ];
}

function listenerJson(workload: EnvoyWorkload, inbound: EnvoyInbound, rules: PortRules): Json {
  const { listen, port, trustProxyHeader } = inbound;
  const stage = workload.enforcement.authentication;
  const filters = [
    ...(trustProxyHeader === undefined ? [] : [proxyHeader()]),
    ...(stage === 'permissive' ? [tlsInspector()] : []),
  ];
  const socket = downstreamTls(
    workload.workload,
    workload.trustDomains,
    inbound.protocol === 'http' ? ['h2', 'http/1.1'] : [],
  );
  const encrypted: Json = {
    name: 'mtls',
    transport_socket: socket,
    transport_socket_connect_timeout: HANDSHAKE_TIMEOUT,
    filters: filtersOf(workload, inbound, rules, inboundStats(port)),
  };
  const plain: Json = {
    name: 'plaintext',
    filters: filtersOf(workload, inbound, rules, `${inboundStats(port)}_plaintext`),
  };
  return {
    name: inboundName(listen),
    address: addressJson(listen),
    stat_prefix: inboundStats(port),
    traffic_direction: 'INBOUND',
    per_connection_buffer_limit_bytes: 65_536,
    socket_options: [KEEP_ALIVE],
    ...(filters.length === 0 ? {} : { listener_filters: filters }),
    // Who sends nothing waits for the server to speak, in plain text: TLS begins with the client.
    ...(stage === 'permissive' && inbound.protocol === 'tcp' && trustProxyHeader === undefined
      ? { listener_filters_timeout: SILENCE, continue_on_listener_filters_timeout: true }
      : { listener_filters_timeout: FIRST_BYTES }),
    filter_chains: {
      strict: [encrypted],
      plaintext: [plain],
      permissive: [
        { ...encrypted, filter_chain_match: { transport_protocol: 'tls' } },
        { ...plain, filter_chain_match: { transport_protocol: 'raw_buffer' } },
      ],
    }[stage],
    // Every connection, so that one that failed its handshake is told, too.
    access_log: [
      accessLog('tcp', { kind: 'accepted', workload: workload.workload, port }, workload.accessLogCluster),
    ],
  };
}

function filtersOf(workload: EnvoyWorkload, inbound: EnvoyInbound, rules: PortRules, stats: string): Json[] {
  const { port, listen, protocol, trustProxyHeader } = inbound;
  const admitted = trustProxyHeader === undefined ? [] : [proxyHeaderPeers(trustProxyHeader.addresses)];
  const log = (kind: 'http' | 'tcp', about: Omit<LogName, 'workload' | 'port'>) => [
    accessLog(kind, { ...about, workload: workload.workload, port }, workload.accessLogCluster),
  ];
  if (protocol === 'http') {
    const manager = inboundManager({
      stats,
      routes: inboundName(listen),
      filters: httpRbacFilters(),
      accessLog: log('http', { kind: 'requests' }),
    });
    return [...admitted, manager];
  }
  return [
    ...admitted,
    ...tcpRbacFilters(rules),
    tcpProxy(
      stats,
      inboundName(listen),
      log('tcp', { kind: 'connections', version: workload.version }),
      rules.enforced !== undefined && inbound.serverFirst !== true,
    ),
  ];
}

/** Bytes to a cluster and back; `judged` connects only when the filters before have let the first bytes through. */
export function tcpProxy(stats: string, cluster: string, log: readonly Json[], judged = false): Json {
  const type = 'envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy';
  return {
    name: 'envoy.filters.network.tcp_proxy',
    typed_config: {
      '@type': `${TYPE}${type}`,
      stat_prefix: stats,
      cluster,
      idle_timeout: TCP_IDLE,
      ...(judged ? CONNECT_WHEN_JUDGED : {}),
      ...(log.length === 0 ? {} : { access_log: log }),
    },
  };
}

function tlsInspector(): Json {
  const type = 'envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector';
  return { name: 'envoy.filters.listener.tls_inspector', typed_config: { '@type': `${TYPE}${type}` } };
}

function proxyHeader(): Json {
  const type = 'envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol';
  return { name: 'envoy.filters.listener.proxy_protocol', typed_config: { '@type': `${TYPE}${type}` } };
}

/** Admits only peers that are trusted with a PROXY header, by their own address: any other could name any address. */
function proxyHeaderPeers(cidrs: readonly string[]): Json {
  const principals = cidrs.map((text) => {
    const parsed = parseCidr(text);
    if (!parsed.ok)
      throw new InterlockError('invalid_document', text, `"${text}" is not a CIDR: ${parsed.reason}`);
    const { cidr } = parsed;
    return { direct_remote_ip: { address_prefix: addressText(cidr), prefix_len: cidr.bits } };
  });
  const policies = principals.length === 0 ? {} : { trusted: { permissions: [{ any: true }], principals } };
  return {
    name: 'interlock.proxy-header',
    typed_config: {
      '@type': TYPES.tcp.type,
      stat_prefix: PROXY_HEADER_PREFIX,
      rules: { action: 'ALLOW', policies },
    },
  };
}
