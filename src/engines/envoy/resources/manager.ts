import { CONNECTION_MANAGER } from '../connection-manager.ts';
import { FROM_ADS, TYPE } from './parts.ts';
import type { Json } from './types.ts';

/** A stream with nothing in either direction for so long is ended: watches stay open for minutes on purpose. */
const IDLE = '3600s';
/** The head of a request must be whole by then. */
const HEAD_TIMEOUT = '10s';
const MAX_HEAD_KB = 64;

/** What both directions have. A request as a whole has no time limit: it had none without Envoy. */
const COMMON: Json = {
  codec_type: 'AUTO',
  request_headers_timeout: HEAD_TIMEOUT,
  stream_idle_timeout: IDLE,
  max_request_headers_kb: MAX_HEAD_KB,
  // Envoy says nothing of itself, and programs keep their own name.
  server_header_transformation: 'PASS_THROUGH',
  common_http_protocol_options: { idle_timeout: IDLE },
  http_protocol_options: { accept_http_10: true },
  http2_protocol_options: {
    max_concurrent_streams: 1000,
    initial_stream_window_size: 65_536,
    initial_connection_window_size: 1_048_576,
    // WebSockets over HTTP/2 (RFC 8441).
    allow_connect: true,
  },
  upgrade_configs: [{ upgrade_type: 'websocket' }],
};

/** What a connection manager of one direction is made of. */
interface Manager {
  readonly stats: string;
  readonly routes: string;
  readonly filters: readonly Json[];
  readonly accessLog: readonly Json[];
}

/** Requests to the workload: judged, and told to its program with who calls. */
export function inboundManager(manager: Manager): Json {
  return connectionManager(manager, {
    ...CONNECTION_MANAGER,
    // The guard before all rules denies them, and only where a policy is enforced: a refusal here would be for good.
    path_with_escaped_slashes_action: 'KEEP_UNCHANGED',
    preserve_external_request_id: true,
    // The program learns the caller from x-forwarded-client-cert; what a caller writes there is removed.
    forward_client_cert_details: 'SANITIZE_SET',
    set_current_client_cert_details: { uri: true },
  });
}

/** Requests of the workload to a peer: left as they are, for the peer's proxy judges what it gets. */
export function outboundManager(manager: Manager): Json {
  return connectionManager(manager, {
    use_remote_address: false,
    skip_xff_append: true,
    forward_client_cert_details: 'SANITIZE',
    generate_request_id: false,
  });
}

function connectionManager({ stats, routes, filters, accessLog }: Manager, own: Json): Json {
  const router = 'envoy.extensions.filters.http.router.v3.Router';
  return {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: {
      '@type': `${TYPE}envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
      stat_prefix: stats,
      ...COMMON,
      ...own,
      rds: { config_source: FROM_ADS, route_config_name: routes },
      http_filters: [
        ...filters,
        {
          name: 'envoy.filters.http.router',
          typed_config: { '@type': `${TYPE}${router}`, suppress_envoy_headers: true },
        },
      ],
      access_log: accessLog,
    },
  };
}
