import { InterlockError } from '../../access/index.ts';
import type { Bundle } from './types.ts';

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
