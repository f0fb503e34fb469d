import { fromBinary, isMessage, type Message } from '@bufbuild/protobuf';
import type { Any } from '@bufbuild/protobuf/wkt';
import {
  cluster as clusters,
  httpConnectionManager,
  listener as listeners,
  route as routes,
  tcpProxy,
} from '../proto/envoy/index.ts';
import type { Kind } from './types.ts';

/** What a resource refers to, as far as the order of updates depends on it: names, by kind. */
export type References = Readonly<Partial<Record<Kind, readonly string[]>>>;

const HTTP = `type.googleapis.com/${httpConnectionManager.HttpConnectionManagerSchema.typeName}`;
const TCP = `type.googleapis.com/${tcpProxy.TcpProxySchema.typeName}`;

/** The clusters, endpoints and routes that a resource's message names. */
export function referencesOf(message: Message): References {
  if (isMessage(message, clusters.ClusterSchema)) return { eds: endpointsOf(message) };
  if (isMessage(message, routes.RouteConfigurationSchema))
    return { cds: distinct(clustersOfRoutes(message)) };
  if (isMessage(message, listeners.ListenerSchema)) return referencesOfListener(message);
  return {};
}

/** The name under which an EDS cluster asks for its endpoints (cluster.proto, EdsClusterConfig). */
function endpointsOf({ clusterDiscoveryType, edsClusterConfig, name }: clusters.Cluster): string[] {
  const isEds =
    clusterDiscoveryType.case === 'type' && clusterDiscoveryType.value === clusters.Cluster_DiscoveryType.EDS;
  if (!isEds) return [];
  const own = edsClusterConfig?.serviceName ?? '';
  return [own === '' ? name : own];
}

function referencesOfListener(listener: listeners.Listener): References {
  const chains = [...listener.filterChains, listener.defaultFilterChain ?? []].flat();
  const filters = chains.flatMap(({ filters }) =>
    filters.flatMap(({ configType }) => (configType.case === 'typedConfig' ? [configType.value] : [])),
  );
  const api = listener.apiListener?.apiListener;
  const found = [...filters, ...(api === undefined ? [] : [api])].map(referencesOfFilter);
  return {
    cds: distinct(found.flatMap(({ cds = [] }) => cds)),
    rds: distinct(found.flatMap(({ rds = [] }) => rds)),
  };
}

function referencesOfFilter({ typeUrl, value }: Any): References {
  if (typeUrl === TCP) {
    const { clusterSpecifier: to } = fromBinary(tcpProxy.TcpProxySchema, value);
    if (to.case === 'cluster') return { cds: [to.value] };
    return { cds: to.case === 'weightedClusters' ? to.value.clusters.map(({ name }) => name) : [] };
  }
  if (typeUrl !== HTTP) return {};
  const { routeSpecifier: by } = fromBinary(httpConnectionManager.HttpConnectionManagerSchema, value);
  if (by.case === 'rds') return { rds: [by.value.routeConfigName] };
  return { cds: by.case === 'routeConfig' ? clustersOfRoutes(by.value) : [] };
}

function clustersOfRoutes({ virtualHosts }: routes.RouteConfiguration): string[] {
  return virtualHosts
    .flatMap(({ routes }) => routes)
    .flatMap(({ action }) => {
      if (action.case !== 'route') return [];
      const { clusterSpecifier: to, requestMirrorPolicies } = action.value;
      const mirrors = requestMirrorPolicies.map(({ cluster }) => cluster);
      if (to.case === 'cluster') return [to.value, ...mirrors];
      if (to.case !== 'weightedClusters') return mirrors;
      return [...to.value.clusters.map(({ name }) => name), ...mirrors];
    });
}

function distinct(names: readonly string[]): string[] {
  return [...new Set(names)].filter((name) => name !== '');
}
