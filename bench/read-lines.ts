/** The end of the time that the lines are from, milliseconds since 1970 UTC. */
export const NOW: number = Date.UTC(2026, 9, 15);

const SERVICES = [
  'frontend', 'cart', 'checkout', 'payment', 'shipping', 'email', 'currency', 'ads', 'catalog', 'recommendation',
  'orders', 'users', 'sessions', 'inventory', 'pricing', 'search', 'reviews', 'media', 'notifications', 'billing',
]; // biome-ignore format: a list of names
const REPLICAS = 4;
/** Callees of each service, and routes of each callee. */
const CALLEES = 3;
const ROUTES = ['', '/status', '/{id}', '/{id}/items', '/{id}/items/{id}', '/search?q={id}&limit=50'];
const RPC_METHODS = ['Get', 'List', 'Create', 'Update'];

/**
 * Lines of Envoy's JSON access log as the proxies of 20 services write them, the same in every run. `ids`: how many
 * values a path parameter takes, by Zipf's law.
 */
export function logLines(count: number, ids: number): string[] {
  const random = seeded(20261015);
  const hashes = SERVICES.map(() => hex(random, 64));
  const span = 24 * 3_600_000;
  return Array.from({ length: count }, (_, i) => {
    const at = NOW - span + Math.floor((i * span) / count);
    return JSON.stringify(entry(random, hashes, at, ids));
  });
}

function entry(
  random: () => number,
  hashes: readonly string[],
  at: number,
  ids: number,
): Record<string, unknown> {
  const from = zipf(random, SERVICES.length);
  const to = (from + 1 + Math.floor(random() * CALLEES)) % SERVICES.length;
  const [caller, callee] = [SERVICES[from] as string, SERVICES[to] as string];
  const replica = 1 + Math.floor(random() * REPLICAS);
  const callerReplica = 1 + Math.floor(random() * REPLICAS);
  const grpc = to % 4 === 0;
  const id = (name: string) => `spiffe://example.org/ns/shop/sa/${name}`;
  const error = random() < 0.01;
  return {
    start_time: new Date(at).toISOString(),
    method: grpc ? 'POST' : random() < 0.8 ? 'GET' : 'POST',
    path: grpc ? rpc(random, callee) : path(random, callee, ids),
    protocol: grpc ? 'HTTP/2' : 'HTTP/1.1',
    response_code: grpc ? 200 : error ? 404 : 200,
    response_flags: '-',
    response_code_details: 'via_upstream',
    grpc_status: grpc ? (error ? 'NotFound' : 'OK') : null,
    bytes_received: Math.floor(random() * 900),
    bytes_sent: Math.floor(random() * 9000),
    duration: Math.floor(random() * 120),
    request_id: `${hex(random, 8)}-${hex(random, 4)}-${hex(random, 4)}-${hex(random, 4)}-${hex(random, 12)}`,
    authority: `${callee}:8080`,
    upstream_host: `10.4.${to}.${replica}:8080`,
    upstream_cluster: 'inbound|8080||',
    downstream_local_address: `10.4.${to}.${replica}:8080`,
    downstream_remote_address: `10.4.${from}.${callerReplica}:${30_000 + Math.floor(random() * 30_000)}`,
    ...(to % 3 > 0
      ? { downstream_peer_uri_san: id(caller), downstream_local_uri_san: id(callee) }
      : {
          x_forwarded_client_cert: `By=${id(callee)};Hash=${hashes[from]};Subject="CN=${caller},O=shop";URI=${id(caller)}`,
        }),
    requested_server_name: `${callee}.shop.svc`,
    route_name: 'default',
    upstream_service_time: String(Math.floor(random() * 100)),
    connection_termination_details: null,
    x_forwarded_for: null,
  };
}

function path(random: () => number, callee: string, ids: number): string {
  const route = ROUTES[zipf(random, ROUTES.length)] as string;
  return `/api/v1/${callee}${route.replaceAll('{id}', () => String(10_000 + zipf(random, ids)))}`;
}

function rpc(random: () => number, callee: string): string {
  const name = `${callee[0]?.toUpperCase()}${callee.slice(1)}`;
  return `/shop.v1.${name}Service/${RPC_METHODS[zipf(random, RPC_METHODS.length)]}${name}`;
}

/** A rank from 0 to n - 1, about 1 / (rank + 1) as often as the first. */
function zipf(random: () => number, n: number): number {
  return Math.floor((n + 1) ** random()) - 1;
}

function hex(random: () => number, length: number): string {
  let text = '';
  for (let i = 0; i < length; i++) text += '0123456789abcdef'[Math.floor(random() * 16)];
  return text;
}

/** Numbers in [0, 1) that are the same in every run (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
