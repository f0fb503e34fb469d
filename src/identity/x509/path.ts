import { verify as verifyBytes } from 'node:crypto';
import { isInterlockError, type SpiffeId } from '../../access/index.ts';
import type { Certificate } from './certificate.ts';
import {
  checkAny,
  checkAuthority,
  checkLimits,
  checkNames,
  fault,
  type Origin,
  type Scopes,
} from './checks.ts';
import { CertificateError } from './fault.ts';

/** Signatures checked in search of one path, so that a crafted set of certificates cannot keep a verifier busy. */
const MAX_SIGNATURES = 24;

/** What a path is searched in. */
export interface Search {
  readonly leaf: Certificate;
  readonly spiffeId: SpiffeId;
  /** Of the bundle of the leaf's trust domain. */
  readonly authorities: readonly Certificate[];
  /** Came with the leaf, in any order. */
  readonly intermediates: readonly Certificate[];
  readonly now: number;
  readonly scopes: Scopes | undefined;
}

/** A path from a leaf to an authority of the bundle. */
export interface Path {
  /** The leaf, then its intermediates. */
  readonly chain: readonly Certificate[];
  readonly authority: Certificate;
}

/**
 * Builds the path (RFC 4158): from each certificate to those that its issuer's name and key identifier fit, the
 * bundle's first, never through one twice. Throws the first reason met on the way where no path holds.
 */
export function findPath(search: Search): Path {
  let signatures = 0;
  let first: CertificateError | undefined;

  const isIssuer = (issuer: Certificate, origin: Origin, chain: readonly Certificate[]): boolean => {
    const child = chain.at(-1) as Certificate;
    if (!fits(child, issuer) || signatures >= MAX_SIGNATURES) return false;
    const below = chain.slice(1);
    try {
      checkAny(issuer, search.now);
      checkAuthority(issuer, origin, search.spiffeId, below);
      checkLimits(issuer, search.spiffeId, below, search.scopes);
      checkNames(issuer, chain);
      signatures++;
      checkSignature(child, issuer);
      return true;
    } catch (error) {
      first ??= asFault(error, issuer);
      return false;
    }
  };

  const from = (chain: readonly Certificate[]): Path | undefined => {
    for (const authority of search.authorities) {
      if (isIssuer(authority, 'bundle', chain)) return { chain, authority };
    }
    for (const next of search.intermediates) {
      if (
        chain.some(({ spki, subjectName }) => spki.equals(next.spki) && subjectName.equals(next.subjectName))
      )
        continue;
      if (!isIssuer(next, 'chain', chain)) continue;
      const path = from([...chain, next]);
      if (path !== undefined) return path;
    }
    return undefined;
  };

  const path = from([search.leaf]);
  if (path !== undefined) return path;
  throw (
    first ??
    fault('unknown_authority', search.leaf, 'leads to no authority in the bundle of its trust domain')
  );
}

/** Whether `issuer` can be the issuer by name, compared byte for byte, and by key identifier where both have one. */
export function fits(child: Certificate, issuer: Certificate): boolean {
  if (!child.issuerName.equals(issuer.subjectName)) return false;
  const [wanted, own] = [child.authorityKeyId, issuer.subjectKeyId];
  return wanted === undefined || own === undefined || wanted === own;
}

/** Throws where the signature of `child` is not of `issuer`'s key, or not of an algorithm for it. */
export function checkSignature(child: Certificate, issuer: Certificate): void {
  const { signatureAlgorithm: algorithm } = child;
  if (algorithm === undefined)
    throw fault('signature_algorithm', child, 'is signed by an algorithm that is not accepted');
  const { keyKind } = issuer;
  if (keyKind === undefined || !algorithm.keys.includes(keyKind))
    throw fault(
      'signature_algorithm',
      child,
      `is signed by ${algorithm.label}, which its issuer's key cannot do`,
    );
  if (!verifyBytes(algorithm.hash, child.tbs, issuer.publicKey(), child.signature))
    throw fault('signature', child, 'is not signed by the issuer it names');
}

/** Our own reasons as they are; a key that is none is the certificate's fault; anything else is a fault of the program. */
function asFault(error: unknown, certificate: Certificate): CertificateError {
  if (error instanceof CertificateError) return error;
  if (isInterlockError(error)) return fault('malformed', certificate, `is not well-formed: ${error.message}`);
  throw error;
}
