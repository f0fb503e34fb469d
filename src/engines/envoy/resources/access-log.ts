import { TYPE } from './parts.ts';
import { type LogName, logName } from './names.ts';
import type { Json } from './types.ts';

const KINDS = {
  http: { name: 'envoy.access_loggers.http_grpc', type: 'HttpGrpcAccessLogConfig' },
  tcp: { name: 'envoy.access_loggers.tcp_grpc', type: 'TcpGrpcAccessLogConfig' },
} as const;

/**
 * A logger to the control plane. Entries carry the dynamic metadata of the RBAC filters and the caller's certificate
 * by themselves. Envoy drops what it cannot send and counts it (`access_logs.grpc_access_log.logs_dropped`).
 */
export function accessLog(kind: keyof typeof KINDS, about: LogName, cluster: string): Json {
  const { name, type } = KINDS[kind];
  return {
    name,
    typed_config: {
      '@type': `${TYPE}envoy.extensions.access_loggers.grpc.v3.${type}`,
      common_config: {
        log_name: logName(about),
        transport_api_version: 'V3',
        grpc_service: { envoy_grpc: { cluster_name: cluster } },
        buffer_flush_interval: '1s',
        buffer_size_bytes: 65_536,
      },
      // A request that is denied has no cluster yet: whether it was gRPC is said by its content type alone.
      ...(kind === 'http' ? { additional_request_headers_to_log: ['content-type'] } : {}),
    },
  };
}
