import { InterlockError } from '../../access/index.ts';
import type { Bundle } from '../bundle/index.ts';

/** Where the document stands below the issuer (OpenID Connect Discovery 1.0 section 4). */
export const OIDC_DISCOVERY_PATH = '/.well-known/openid-configuration';
/** Where the keys stand below the issuer; the document says so. */
export const OIDC_KEYS_PATH = '/keys';

/**
 * The OpenID provider document by which clouds, Vault and databases find the keys of JWT-SVIDs (OpenID Connect Discovery
 * 1.0 section 3), as JSON. Nobody logs in here: there are no other endpoints. Throws `invalid_document` for an issuer
 * that is not an https URL without query and fragment.
 */
export function oidcDiscovery(issuer: string, bundle: Bundle): string {
  const base = checkIssuer(issuer);
  const algorithms = new Set(bundle.jwtAuthorities.map((key) => key.algorithm ?? 'RS256'));
  return JSON.stringify({
    issuer,
    jwks_uri: `${base}${OIDC_KEYS_PATH}`,
    response_types_supported: ['id_token'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: [...algorithms].sort(),
    claims_supported: ['iss', 'sub', 'aud', 'exp', 'iat', 'jti'],
  });
}

/** The issuer without the one "/" that may stand at its end: the base of the two paths. Throws `invalid_document`. */
export function checkIssuer(issuer: string): string {
  const url = URL.canParse(issuer) ? new URL(issuer) : undefined;
  const isPlain = url?.protocol === 'https:' && url.username === '' && url.password === '';
  if (isPlain && !/[?#\s]/.test(issuer)) return issuer.endsWith('/') ? issuer.slice(0, -1) : issuer;
  throw new InterlockError(
    'invalid_document',
    issuer.slice(0, 80),
    'an issuer is an https URL without user name, query and fragment, as in https://oidc.example.org',
  );
}
