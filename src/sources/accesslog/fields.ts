import { InterlockError } from '../../access/index.ts';

/**
 * The command operators that are read, as Envoy writes them, with the JSON keys that stand for them unasked beside
 * the operator's own name. Keys that log shippers add of their own (`@timestamp`, `host`, `status`) are not among them.
 */
const FIELDS = [
  ['START_TIME'],
  ['REQ(:METHOD)', 'method', ':method', 'req_method', 'request_method'],
  ['REQ(:PATH)', 'path', ':path', 'req_path', 'request_path', 'x-envoy-origin-path'],
  ['REQ(X-ENVOY-ORIGINAL-PATH)', 'x_envoy_original_path', 'x-envoy-original-path', 'original_path'],
  ['PROTOCOL', 'req_protocol'],
  ['RESPONSE_CODE'],
  ['RESPONSE_FLAGS', 'response_flags_long'],
  ['RESPONSE_CODE_DETAILS'],
  ['CONNECTION_TERMINATION_DETAILS'],
  ['REQ(:AUTHORITY)', 'authority', ':authority', 'req_authority'],
  ['REQ(CONTENT-TYPE)', 'content_type', 'content-type', 'req_content_type'],
  ['REQ(X-FORWARDED-CLIENT-CERT)', 'x_forwarded_client_cert', 'x-forwarded-client-cert', 'xfcc'],
  ['GRPC_STATUS', 'grpc-status', 'grpc_status_number'],
  ['UPSTREAM_HOST', 'upstream_remote_address'],
  ['UPSTREAM_CLUSTER', 'upstream_cluster_raw'],
  ['UPSTREAM_LOCAL_ADDRESS', 'upstream_local_address_without_port'],
  ['DOWNSTREAM_LOCAL_ADDRESS', 'downstream_local_address_without_port'],
  ['DOWNSTREAM_REMOTE_ADDRESS', 'downstream_remote_address_without_port'],
  ['DOWNSTREAM_DIRECT_REMOTE_ADDRESS', 'downstream_direct_remote_address_without_port'],
  ['DOWNSTREAM_PEER_URI_SAN'],
  ['DOWNSTREAM_LOCAL_URI_SAN'],
  ['UPSTREAM_PEER_URI_SAN'],
  ['UPSTREAM_LOCAL_URI_SAN'],
  ['DOWNSTREAM_TLS_VERSION'],
  ['UPSTREAM_TLS_VERSION'],
  ['REQUESTED_SERVER_NAME'],
  ['BYTES_RECEIVED'],
  ['BYTES_SENT'],
  ['ACCESS_LOG_TYPE'],
] as const;

/** Operators that say the same as one of {@link FIELDS}, for `--field`. */
const SAME: readonly (readonly [string, string])[] = [
  ['REQ(X-ENVOY-ORIGINAL-PATH?:PATH)', 'REQ(:PATH)'],
  ['REQ_WITHOUT_QUERY(X-ENVOY-ORIGINAL-PATH?:PATH)', 'REQ(:PATH)'],
  ['REQ_WITHOUT_QUERY(:PATH)', 'REQ(:PATH)'],
  ['PATH', 'REQ(:PATH)'],
  ['REQ_WITHOUT_QUERY(X-ENVOY-ORIGINAL-PATH)', 'REQ(X-ENVOY-ORIGINAL-PATH)'],
  ['REQ(HOST)', 'REQ(:AUTHORITY)'],
  ['RESPONSE_FLAGS_LONG', 'RESPONSE_FLAGS'],
  ['GRPC_STATUS_NUMBER', 'GRPC_STATUS'],
  ['TRAILER(GRPC-STATUS)', 'GRPC_STATUS'],
  ['RESP(GRPC-STATUS)', 'GRPC_STATUS'],
  ['UPSTREAM_CLUSTER_RAW', 'UPSTREAM_CLUSTER'],
  ['UPSTREAM_REMOTE_ADDRESS', 'UPSTREAM_HOST'],
  ['UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT', 'UPSTREAM_LOCAL_ADDRESS'],
  ['DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT', 'DOWNSTREAM_LOCAL_ADDRESS'],
  ['DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT', 'DOWNSTREAM_REMOTE_ADDRESS'],
  ['DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT', 'DOWNSTREAM_DIRECT_REMOTE_ADDRESS'],
];

/** A command operator that is read, in Envoy's own spelling. */
export type Operator = (typeof FIELDS)[number][0];

const SLOTS = new Map<string, number>(FIELDS.map(([operator], slot) => [operator, slot]));

/** How many slots a line has. */
export const SLOT_COUNT = FIELDS.length;

/** The slot of an operator. */
export function slotOf(operator: Operator): number {
  return SLOTS.get(operator) as number; // Operator is the union of the map's keys.
}

/**
 * JSON key -> slot: the operators' names in lower case, the usual variations, and the user's own (`--field
 * KEY=OPERATOR`), which win. Throws `usage` for an operator that is not read.
 */
export function keysOf(fields: Readonly<Record<string, string>> = {}): Map<string, number> {
  const keys = new Map<string, number>();
  for (const [slot, [operator, ...names]] of FIELDS.entries()) {
    for (const key of [operator, operator.toLowerCase(), ...names]) keys.set(key, slot);
  }
  for (const [key, operator] of Object.entries(fields)) keys.set(key, operatorSlot(key, operator));
  return keys;
}

function operatorSlot(key: string, operator: string): number {
  const bare = operator.replace(/^%(.*)%$/, '$1').toUpperCase();
  // The argument of these two says only how the value is written.
  const name = bare.replace(/^(START_TIME|GRPC_STATUS)\(.*\)$/, '$1');
  const slot = SLOTS.get(name) ?? SLOTS.get(SAME.find(([same]) => same === name)?.[1] ?? '');
  if (slot !== undefined) return slot;
  const known = [...SLOTS.keys()].join(', ');
  throw new InterlockError(
    'usage',
    key,
    `"${operator}" is not an operator that is read. Give one of: ${known}`,
  );
}
