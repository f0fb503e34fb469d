import { InterlockError } from '../../access/index.ts';
import { type Certificate, keyIdOf, MAX_CHAIN } from '../../identity/index.ts';

/** A chain that was signed for this control plane: the authority's certificate, those above it, the root. */
export interface CertifiedChain {
  readonly keyId: string;
  readonly intermediates: readonly Certificate[];
  readonly root: Certificate;
}

/** Takes a chain apart that ends with its root. Throws `invalid_certificate` where one does not follow from the next. */
export function chainOf(certificates: readonly Certificate[]): CertifiedChain {
  const root = certificates.at(-1);
  const [first] = certificates;
  if (
    root === undefined ||
    first === undefined ||
    first === root ||
    !root.subjectName.equals(root.issuerName)
  ) {
    throw new InterlockError(
      'invalid_certificate',
      'chain',
      'the chain must hold the new authority first and the root last, as "interlock authority sign" writes it',
    );
  }
  // With the leaf, no verifier looks at more.
  if (certificates.length > MAX_CHAIN)
    throw new InterlockError(
      'invalid_certificate',
      'chain',
      `the chain holds ${certificates.length} certificates; at most ${MAX_CHAIN} are taken`,
    );
  for (const [i, certificate] of certificates.slice(0, -1).entries()) {
    const issuer = certificates[i + 1] ?? root;
    if (!certificate.issuerName.equals(issuer.subjectName) || !certificate.isAuthority) {
      throw new InterlockError(
        'invalid_certificate',
        certificate.subject,
        `"${certificate.subject}" is not an authority certified by the certificate behind it`,
      );
    }
  }
  return { keyId: keyIdOf(first.spki), intermediates: certificates.slice(0, -1), root };
}
