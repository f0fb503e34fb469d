import { isInterlockError, parseSpiffeId } from '../../access/index.ts';
import { keyIdOf } from '../keys/index.ts';
import { arePrefixesInside } from '../prefixes.ts';
import type { Certificate } from './certificate.ts';
import { checkAny, checkAuthority, fault } from './checks.ts';
import { type Crl, isCrlOf, parseCrl } from './crl.ts';
import { CertificateError } from './fault.ts';
import { checkSignature, fits } from './path.ts';
import { maySignLists } from './revocation.ts';
import { MAX_CHAIN } from './verify.ts';

/** What the authority of a list is verified against. */
export interface VerifyCrlOptions {
  readonly trustDomain: string;
  /** Authorities that the end of the chain may be certified by. */
  readonly issuers: readonly Certificate[];
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** Whether one of the authorities has signed the list, and the list names its key: readers go by it. */
export function isCrlOfAny(der: Uint8Array, authorities: readonly Certificate[]): boolean {
  let crl: Crl;
  try {
    crl = parseCrl(der);
  } catch (error) {
    if (isInterlockError(error)) return false;
    throw error;
  }
  return authorities.some((signer) => isSignedBy(crl, signer));
}

/** The list's key identifier is worked out from the key: the one in a certificate may be that of another authority. */
function isSignedBy(crl: Crl, signer: Certificate): boolean {
  return (
    crl.authorityKeyId !== undefined &&
    crl.authorityKeyId === signer.subjectKeyId &&
    crl.authorityKeyId === keyIdOf(signer.spki) &&
    maySignLists(signer) &&
    isCrlOf(crl, signer)
  );
}

/**
 * Throws a {@link CertificateError} unless the list is signed by the first authority of the chain, each authority is
 * certified by the next one, inside its prefixes, and the last one by one of the issuers. The list must name its
 * authority's key: readers go by it.
 */
export function verifyCrl(
  crl: Crl,
  chain: readonly Certificate[],
  { trustDomain, issuers, now }: VerifyCrlOptions,
): void {
  const [signer] = chain;
  if (signer === undefined || chain.length > MAX_CHAIN)
    throw new CertificateError('empty_chain', 'CRL', `a list comes with 1 to ${MAX_CHAIN} authorities`);
  if (!isSignedBy(crl, signer)) throw fault('signature', signer, 'has not signed the list that it came with');
  const id = parseSpiffeId(`spiffe://${trustDomain}`);
  chain.forEach((certificate, i) => {
    checkAny(certificate, now);
    checkAuthority(certificate, 'chain', id, chain.slice(0, i));
    const next = chain[i + 1];
    const above = next === undefined ? issuers : [next];
    const issuer = above.find((each) => fits(certificate, each));
    if (issuer === undefined)
      throw fault('unknown_authority', certificate, 'is not certified by the authority above it');
    checkSignature(certificate, issuer);
    if (!arePrefixesInside(certificate.prefixes ?? issuer.prefixes, issuer.prefixes))
      throw fault('outside_issuer', certificate, 'has path prefixes that its issuer cannot give');
  });
}
