import { type SpiffeId, spiffeIdOf } from '../../../access/index.ts';
import type { Address } from './types.ts';

/** The cluster of the agent's socket, which serves secrets. The bootstrap has it. */
export const AGENT_CLUSTER = 'interlock_agent';
/** The cluster of the control plane, or of the relay to it: configuration and access logs. The bootstrap has it. */
export const CONTROL_PLANE_CLUSTER = 'interlock_control_plane';

/**
 * The RBAC filters of every chain, in their order. The target set comes first: a request that an enforced filter
 * denies never reaches a later one, and would have no verdict of the target. `prefix` stands before the keys of
 * dynamic metadata (`envoy.filters.http.rbac`, `envoy.filters.network.rbac`) and in the names of counters:
 * `PREFIXshadow_engine_result` of the target set, `PREFIXenforced_engine_result` of the enforced one. The verdict of
 * a set is a denial where its deny filter or its allow filter denies.
 */
export const RBAC_FILTERS = [
  { name: 'interlock.target.deny', set: 'target', action: 'deny', prefix: 'interlock_target_deny_' },
  { name: 'interlock.target.allow', set: 'target', action: 'allow', prefix: 'interlock_target_allow_' },
  { name: 'interlock.enforced.deny', set: 'enforced', action: 'deny', prefix: 'interlock_deny_' },
  { name: 'interlock.enforced.allow', set: 'enforced', action: 'allow', prefix: 'interlock_allow_' },
] as const;
export type RbacFilter = (typeof RBAC_FILTERS)[number];

/** Listener, route configuration, cluster and endpoints of one way in: `inbound/ADDRESS:PORT` of the listener. */
export function inboundName({ host, port }: Address): string {
  return `inbound/${host}:${port}`;
}

/**
 * Whether requests to a cluster of ours are gRPC: they go to one of their own where their content type says so. Undefined
 * for clusters that are not of a way in.
 */
export function isGrpcCluster(cluster: string): boolean | undefined {
  return cluster.startsWith('inbound/') ? cluster.endsWith('/grpc') : undefined;
}

/** The same of one way out. */
export function outboundName({ host, port }: Address): string {
  return `outbound/${host}:${port}`;
}

/** Prefix of counters: by the port of the policies, since listeners may move. */
export function inboundStats(port: number): string {
  return `inbound_${port}`;
}

/** What a stream of access logs is about. */
export interface LogName {
  /** Requests, TCP connections that were served or denied, or every connection that a listener took. */
  readonly kind: 'requests' | 'connections' | 'accepted';
  readonly workload: SpiffeId;
  /** The port that policies speak of. */
  readonly port: number;
  /** The enforcement's version; absent of requests, whose route has it as its name. */
  readonly version?: string;
}

/** `interlock/KIND/PORT/VERSION/SPIFFE-ID`; `-` for no version. */
export function logName({ kind, workload, port, version = '-' }: LogName): string {
  return `interlock/${kind}/${port}/${version}/${workload}`;
}

const LOG_NAME =
  /^interlock\/(requests|connections|accepted)\/(\d{1,5})\/([\w.-]{1,128})\/(spiffe:.{1,2041})$/;

/** What {@link logName} wrote, or undefined for any other text. */
export function parseLogName(text: string): LogName | undefined {
  const [, kind, port, version, id = ''] = LOG_NAME.exec(text) ?? [];
  const workload = spiffeIdOf(id);
  if (workload === undefined || version === undefined) return undefined;
  return {
    // The expression has no other words.
    kind: kind as LogName['kind'],
    workload,
    port: Number(port),
    ...(version === '-' ? {} : { version }),
  };
}
