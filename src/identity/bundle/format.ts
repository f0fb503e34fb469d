import { InterlockError } from '../../access/index.ts';
import { certificateToPem } from '../x509/pem.ts';
import { keyMembersOf } from './certificate-key.ts';
import type { Bundle, JwtAuthority } from './types.ts';

/**
 * The SPIFFE bundle document: a JWK Set in JSON (SPIFFE_Trust_Domain_and_Bundle.md section 4). The entry of an ML-DSA
 * authority has the key type AKP (RFC 9964), for which go-spiffe 2.8 refuses the whole document.
 */
export function formatBundle(bundle: Bundle): string {
  return JSON.stringify({
    keys: [
      ...bundle.x509Authorities.map((der) => x509Entry(der, bundle.trustDomain)),
      ...bundle.jwtAuthorities.map((authority) => ({ use: 'jwt-svid', ...jwtEntry(authority) })),
    ],
    spiffe_sequence: bundle.sequence,
    spiffe_refresh_hint: bundle.refreshHint,
  });
}

/** The JWT keys as OpenID providers publish them (`jwks_uri`): `use` is "sig", `alg` is stated. */
export function formatJwks(bundle: Bundle): string {
  return JSON.stringify({
    keys: bundle.jwtAuthorities.map((authority) => ({
      use: 'sig',
      ...jwtEntry(authority),
      alg: authority.algorithm,
    })),
  });
}

/** The JWT keys as the Workload API gives them; like SPIRE's, without `use`, which not every client understands. */
export function formatJwtBundle(bundle: Bundle): string {
  return JSON.stringify({ keys: bundle.jwtAuthorities.map(jwtEntry) });
}

/** The X.509 authorities as PEM (RFC 7468), or "" where there are none. */
export function pemOf(bundle: Bundle): string {
  return bundle.x509Authorities.map(certificateToPem).join('');
}

/** The X.509 authorities as the Workload API carries them: DER certificates, one behind the other. */
export function derOf(bundle: Bundle): Buffer {
  return Buffer.concat(bundle.x509Authorities);
}

function x509Entry(der: Buffer, trustDomain: string): Readonly<Record<string, unknown>> {
  const members = keyMembersOf(der);
  if (members === undefined) {
    throw new InterlockError(
      'invalid_certificate',
      trustDomain,
      `an authority of ${trustDomain} is no certificate, or has a key that a bundle cannot carry`,
    );
  }
  return { use: 'x509-svid', ...members, x5c: [der.toString('base64')] };
}

function jwtEntry({ keyId, algorithm, jwk }: JwtAuthority): Readonly<Record<string, unknown>> {
  // The curve says it already; SPIFFE asks for no members beyond the ones that are needed.
  const alg = jwk.kty === 'RSA' ? algorithm : undefined;
  return { kid: keyId, ...jwk, alg };
}
