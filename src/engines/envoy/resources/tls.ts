import { type SpiffeId, trustDomainOf } from '../../../access/index.ts';
import { AGENT_CLUSTER } from './names.ts';
import { TYPE } from './parts.ts';
import type { Json } from './types.ts';

/** The agent's name for the bundles of all trust domains that the workload federates with, and its own. */
const ALL_BUNDLES = 'ALL';

/** TLS 1.3, and of TLS 1.2 only what has forward secrecy and authenticated encryption (RFC 9325 section 4.2). */
const PARAMETERS: Json = {
  tls_minimum_protocol_version: 'TLSv1_2',
  tls_maximum_protocol_version: 'TLSv1_3',
  cipher_suites: [
    'ECDHE-ECDSA-AES128-GCM-SHA256',
    'ECDHE-ECDSA-AES256-GCM-SHA384',
    'ECDHE-ECDSA-CHACHA20-POLY1305',
    'ECDHE-RSA-AES128-GCM-SHA256',
    'ECDHE-RSA-AES256-GCM-SHA384',
    'ECDHE-RSA-CHACHA20-POLY1305',
  ],
  ecdh_curves: ['X25519MLKEM768', 'X25519', 'P-256'],
};

type NameMatch = { readonly exact: string } | { readonly prefix: string };

/** A server with the workload's SVID, for callers of these trust domains that show theirs. */
export function downstreamTls(
  workload: SpiffeId,
  trustDomains: readonly string[],
  alpn: readonly string[],
): Json {
  const domains = [...new Set([trustDomainOf(workload), ...trustDomains])].toSorted();
  return tls('DownstreamTlsContext', {
    require_client_certificate: true,
    // A resumed session would skip the check of the caller's certificate.
    disable_stateless_session_resumption: true,
    disable_stateful_session_resumption: true,
    common_tls_context: common(
      workload,
      domains.map((domain) => ({ prefix: `spiffe://${domain}/` })),
      alpn,
    ),
  });
}

/** A client with the workload's SVID, for one peer. */
export function upstreamTls(workload: SpiffeId, peer: SpiffeId): Json {
  return tls('UpstreamTlsContext', {
    max_session_keys: 0,
    // No protocols: Envoy offers the one that it is going to speak.
    common_tls_context: common(workload, [{ exact: peer }], []),
  });
}

function tls(kind: string, config: Json): Json {
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: { '@type': `${TYPE}envoy.extensions.transport_sockets.tls.v3.${kind}`, ...config },
  };
}

function common(workload: SpiffeId, names: readonly NameMatch[], alpn: readonly string[]): Json {
  return {
    tls_params: PARAMETERS,
    ...(alpn.length === 0 ? {} : { alpn_protocols: alpn }),
    tls_certificate_sds_secret_configs: [secret(workload)],
    combined_validation_context: {
      default_validation_context: {
        match_typed_subject_alt_names: names.map((matcher) => ({ san_type: 'URI', matcher })),
      },
      validation_context_sds_secret_config: secret(ALL_BUNDLES),
    },
  };
}

/**
 * A secret of the agent. Over delta, Envoy is told when it is taken away; over the state-of-the-world protocol it
 * would keep the last one.
 */
function secret(name: string): Json {
  return {
    name,
    sds_config: {
      resource_api_version: 'V3',
      api_config_source: {
        api_type: 'DELTA_GRPC',
        transport_api_version: 'V3',
        set_node_on_first_message_only: true,
        grpc_services: [{ envoy_grpc: { cluster_name: AGENT_CLUSTER } }],
      },
    },
  };
}
