import { InterlockError } from '../../access/index.ts';
import type { Bundle, JwtAuthority } from './types.ts';

/**
 * Of the bundle held and one offered later, the one to hold. An offer whose sequence went backwards is not taken; where
 * a sequence is missing, or both are equal, the later is (SPIFFE_Federation.md section 4.2). Equal content: the held
 * one, so that `===` tells whether anything changed. Throws `conflict` for bundles of two trust domains.
 */
export function newerBundle(held: Bundle | undefined, offered: Bundle): Bundle {
  if (held === undefined) return offered;
  if (held.trustDomain !== offered.trustDomain) {
    throw new InterlockError(
      'conflict',
      offered.trustDomain,
      `the bundle of ${offered.trustDomain} cannot take the place of the one of ${held.trustDomain}`,
    );
  }
  return wentBack(held, offered) || sameBundle(held, offered) ? held : offered;
}

/** True where the offered bundle is one from before the held one. */
export function wentBack(held: Bundle, offered: Bundle): boolean {
  return held.sequence !== undefined && offered.sequence !== undefined && offered.sequence < held.sequence;
}

/** True where both say the same of the same trust domain; the order of their authorities says nothing. */
export function sameBundle(a: Bundle, b: Bundle): boolean {
  return (
    a.trustDomain === b.trustDomain &&
    a.sequence === b.sequence &&
    a.refreshHint === b.refreshHint &&
    sameAuthorities(a, b)
  );
}

/** True where both have the same authorities, whatever their sequence and refresh hint. */
export function sameAuthorities(a: Bundle, b: Bundle): boolean {
  return authoritiesOf(a) === authoritiesOf(b);
}

/** What a bundle says without what another one says of the same trust domain. */
export function withoutAuthorities(bundle: Bundle, other: Bundle | undefined): Bundle {
  if (other === undefined) return bundle;
  const x509 = new Set(other.x509Authorities.map((der) => der.toString('base64')));
  const jwt = new Set(other.jwtAuthorities.map(({ keyId }) => keyId));
  return {
    ...bundle,
    x509Authorities: bundle.x509Authorities.filter((der) => !x509.has(der.toString('base64'))),
    jwtAuthorities: bundle.jwtAuthorities.filter(({ keyId }) => !jwt.has(keyId)),
  };
}

/** The authorities of several bundles of one trust domain, each once. Throws `conflict` where one is of another. */
export function joinBundles(trustDomain: string, bundles: readonly Bundle[]): Bundle {
  const x509Authorities: Buffer[] = [];
  const jwtAuthorities: JwtAuthority[] = [];
  const all: Bundle = { trustDomain, x509Authorities, jwtAuthorities };
  for (const bundle of bundles) {
    if (bundle.trustDomain !== trustDomain)
      throw new InterlockError(
        'conflict',
        bundle.trustDomain,
        `the bundle of ${bundle.trustDomain} says nothing of ${trustDomain}`,
      );
    const more = withoutAuthorities(bundle, all);
    x509Authorities.push(...more.x509Authorities);
    jwtAuthorities.push(...more.jwtAuthorities);
  }
  return all;
}

function authoritiesOf(bundle: Bundle): string {
  const x509 = bundle.x509Authorities.map((der) => der.toString('base64'));
  const jwt = bundle.jwtAuthorities.map(({ keyId, algorithm, jwk }) =>
    JSON.stringify([
      keyId,
      algorithm,
      ...(jwk.kty === 'EC' ? [jwk.kty, jwk.crv, jwk.x, jwk.y] : [jwk.kty, jwk.n, jwk.e]),
    ]),
  );
  return JSON.stringify([x509.sort(), jwt.sort()]);
}
