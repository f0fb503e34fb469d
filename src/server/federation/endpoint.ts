import {
  type Bundle,
  checkIssuer,
  formatBundle,
  formatJwks,
  OIDC_DISCOVERY_PATH,
  OIDC_KEYS_PATH,
  oidcDiscovery,
  refreshOf,
} from '../../identity/index.ts';

/** An answer to a GET, for whatever HTTP server carries it. */
export interface EndpointResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What the public endpoints show. */
export interface EndpointOptions {
  /** The bundle of this trust domain as it is now; undefined until there is an authority. */
  readonly bundle: () => Bundle | undefined;
  /** Where the SPIFFE bundle stands, as in "/bundle". */
  readonly bundlePath: string;
  /** The `iss` of our JWT-SVIDs; without one there is no OpenID discovery. */
  readonly issuer?: string | undefined;
}

/**
 * Answers a GET of `path` (no query) with the SPIFFE bundle (SPIFFE_Federation.md section 5.2), and with the OpenID
 * document and its keys where there is an issuer; throws `invalid_document` for what is none. It is public: no caller is authenticated, nothing secret is in it.
 */
export function publicEndpoint(options: EndpointOptions): (path: string) => EndpointResponse {
  const documents = documentsOf(options);
  const cache = new WeakMap<Bundle, Map<string, EndpointResponse>>();
  return (path) => {
    const write = documents.get(path);
    if (write === undefined) return plain(404, 'there is nothing here');
    const bundle = options.bundle();
    if (bundle === undefined) return plain(503, 'this trust domain has no authority yet');
    let written = cache.get(bundle);
    if (written === undefined) cache.set(bundle, (written = new Map()));
    let response = written.get(path);
    if (response === undefined) written.set(path, (response = json(write(bundle), bundle)));
    return response;
  };
}

function documentsOf({
  bundlePath,
  issuer,
}: EndpointOptions): ReadonlyMap<string, (bundle: Bundle) => string> {
  const documents = new Map<string, (bundle: Bundle) => string>();
  if (issuer !== undefined) {
    const { pathname } = new URL(checkIssuer(issuer));
    const base = pathname === '/' ? '' : pathname;
    documents.set(`${base}${OIDC_DISCOVERY_PATH}`, (bundle) => oidcDiscovery(issuer, bundle));
    documents.set(`${base}${OIDC_KEYS_PATH}`, formatJwks);
  }
  documents.set(bundlePath, formatBundle);
  return documents;
}

function json(body: string, bundle: Bundle): EndpointResponse {
  // Half the hint: a cache on the way must not double the time until a withdrawn key is gone.
  const maxAge = Math.floor(refreshOf(bundle) / 2);
  return {
    status: 200,
    headers: { ...COMMON, 'content-type': 'application/json', 'cache-control': `public, max-age=${maxAge}` },
    body,
  };
}

function plain(status: number, sentence: string): EndpointResponse {
  return {
    status,
    headers: { ...COMMON, 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' },
    body: `${sentence}\n`,
  };
}

const COMMON = { 'x-content-type-options': 'nosniff' } as const;
