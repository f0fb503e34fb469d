import type { Json } from './types.ts';

/** Tries again only what the other end cannot have begun to work on. */
const RETRY: Json = { retry_on: 'connect-failure,refused-stream,reset-before-request', num_retries: 2 };

/** Where requests go: those of gRPC apart, which needs HTTP/2 all the way. */
export interface Destinations {
  readonly plain: string;
  readonly grpc: string;
}

/**
 * The route configuration of one listener. Routes are named after the version of the enforcement, which access logs
 * then carry; `rules` is `typed_per_filter_config`.
 */
export function routeJson(name: string, to: Destinations, version?: string, rules: Json = {}): Json {
  const named = version === undefined ? {} : { name: version };
  // Envoy's own limit is 15 s for a whole answer.
  const route = (cluster: string): Json => ({ cluster, timeout: '0s', retry_policy: RETRY });
  return {
    name,
    validate_clusters: false,
    virtual_hosts: [
      {
        name: 'all',
        domains: ['*'],
        routes: [
          ...(to.grpc === to.plain
            ? []
            : [{ ...named, match: { prefix: '/', grpc: {} }, route: route(to.grpc) }]),
          { ...named, match: { prefix: '/' }, route: route(to.plain) },
          { ...named, match: { path: '*' }, route: route(to.plain) },
        ],
        ...(Object.keys(rules).length === 0 ? {} : { typed_per_filter_config: rules }),
      },
    ],
  };
}
