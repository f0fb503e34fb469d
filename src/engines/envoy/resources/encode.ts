import {
  createRegistry,
  type DescMessage,
  fromJson,
  type JsonObject,
  type Message,
  type MessageShape,
} from '@bufbuild/protobuf';
import * as envoy from '../../../proto/envoy/index.ts';
import { withNewer, withoutNewer } from './newer-fields.ts';
import type { EnvoyResource, Json, ResourceType } from './types.ts';

/** All messages that stand inside an Any here. */
const REGISTRY = createRegistry(
  envoy.httpConnectionManager.HttpConnectionManagerSchema,
  envoy.router.RouterSchema,
  envoy.tcpProxy.TcpProxySchema,
  envoy.httpRbac.RBACSchema,
  envoy.httpRbac.RBACPerRouteSchema,
  envoy.networkRbac.RBACSchema,
  envoy.tls.DownstreamTlsContextSchema,
  envoy.tls.UpstreamTlsContextSchema,
  envoy.tlsInspector.TlsInspectorSchema,
  envoy.proxyProtocol.ProxyProtocolSchema,
  envoy.httpProtocolOptions.HttpProtocolOptionsSchema,
  envoy.accessLoggers.HttpGrpcAccessLogConfigSchema,
  envoy.accessLoggers.TcpGrpcAccessLogConfigSchema,
);

const SCHEMAS: Readonly<Record<ResourceType, DescMessage>> = {
  listener: envoy.listener.ListenerSchema,
  route: envoy.route.RouteConfigurationSchema,
  cluster: envoy.cluster.ClusterSchema,
  endpoint: envoy.endpoint.ClusterLoadAssignmentSchema,
};

const TCP_PROXY = `type.googleapis.com/${envoy.tcpProxy.TcpProxySchema.typeName}`;

/**
 * The resource as a message of its type, for the xDS server. The same resource gives the same message, in the same
 * order. Throws for what Envoy's .proto files do not have.
 */
export function messageOf({ type, json }: EnvoyResource): Message {
  if (type === 'listener') return listenerOf(json);
  return read(SCHEMAS[type], json);
}

function listenerOf(json: Json): Message {
  const { json: known, hadThem } = withoutNewer(json);
  const listener = read(envoy.listener.ListenerSchema, known);
  if (!hadThem) return listener;
  for (const { configType } of listener.filterChains.flatMap(({ filters }) => filters)) {
    if (configType.case !== 'typedConfig' || configType.value.typeUrl !== TCP_PROXY) continue;
    configType.value.value = withNewer(configType.value.value);
  }
  return listener;
}

function read<Schema extends DescMessage>(schema: Schema, json: unknown): MessageShape<Schema> {
  // What is rendered is plain JSON; a field or a type that is none of the message's is refused here.
  return fromJson(schema, json as JsonObject, { registry: REGISTRY });
}
