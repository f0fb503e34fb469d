import { isInterlockError, type SpiffeId, trustDomainOf } from '../../access/index.ts';
import { type Certificate, parseCertificate } from './certificate.ts';
import { checkAny, checkLeaf, fault, type Scopes } from './checks.ts';
import type { Crl } from './crl.ts';
import { CertificateError } from './fault.ts';
import { findPath } from './path.ts';
import { Revocations } from './revocation.ts';

/** Certificates in one chain that are looked at: a root, three levels below it and room. */
export const MAX_CHAIN = 8;

/** Authorities of trust domains by bare name; a Bundle of the bundle folder is one. */
export type X509Bundles = ReadonlyMap<string, { readonly x509Authorities: readonly Uint8Array[] }>;

/** What a chain is verified against. */
export interface VerifyX509Options {
  readonly bundles: X509Bundles;
  /** Milliseconds since 1970. */
  readonly now: number;
  /**
   * Revocation lists: parsed ones are checked once and not at every call. A list past its nextUpdate still refuses
   * what it names, since a revocation is not undone by time; that a list is missing or old refuses nothing else.
   */
  readonly crls?: readonly (Uint8Array | Crl)[] | undefined;
  /** Path prefixes by hex key identifier, for authorities whose certificates do not carry them (SPIRE's). */
  readonly scopes?: Scopes | undefined;
  /** SPIFFE IDs that are revoked as such. */
  readonly revokedIds?: ReadonlySet<string> | undefined;
}

/** A chain that was found to prove an ID. */
export interface VerifiedX509Svid {
  readonly spiffeId: SpiffeId;
  /** The leaf and its intermediates, in order. */
  readonly chain: readonly Certificate[];
  /** The authority of the bundle that the chain leads to. */
  readonly authority: Certificate;
  /** When the first certificate on the way ends, in milliseconds since 1970. */
  readonly expiresAt: number;
  /** Lists that were not used: unreadable, or not signed by the authority that they name. */
  readonly ignoredCrls: number;
}

/**
 * Verifies an X509-SVID (X509-SVID.md section 5, RFC 5280 section 6) with the leaf first. Throws a
 * {@link CertificateError} whose `fault` says why not.
 */
export function verifyX509Svid(
  chain: readonly (Uint8Array | Certificate)[],
  options: VerifyX509Options,
): VerifiedX509Svid {
  // A clock that gives no number would make every certificate timeless.
  if (!Number.isFinite(options.now)) throw new RangeError('the time to verify at is no number');
  const [leaf, ...intermediates] = readChain(chain);
  if (leaf === undefined) throw new CertificateError('empty_chain', 'chain', 'no certificate was given');
  checkAny(leaf, options.now);
  const spiffeId = checkLeaf(leaf);
  const authorities = authoritiesFor(leaf, spiffeId, options.bundles);
  const { now, scopes } = options;
  const path = findPath({ leaf, spiffeId, authorities, intermediates, now, scopes });
  if (options.revokedIds?.has(spiffeId) === true) throw fault('revoked', leaf, 'has an ID that is revoked');
  const revocations = new Revocations(options.crls ?? []);
  const issuers = [...path.chain.slice(1), path.authority];
  path.chain.forEach((certificate, i) => revocations.check(certificate, issuers[i] as Certificate));
  return {
    spiffeId,
    chain: path.chain,
    authority: path.authority,
    expiresAt: Math.min(...[...path.chain, path.authority].map(({ notAfter }) => notAfter)),
    ignoredCrls: revocations.ignored,
  };
}

function readChain(chain: readonly (Uint8Array | Certificate)[]): Certificate[] {
  if (chain.length > MAX_CHAIN)
    throw new CertificateError(
      'chain_too_long',
      'chain',
      `a chain has ${chain.length} certificates; ${MAX_CHAIN} at most are looked at`,
    );
  return chain.map((one) => (one instanceof Uint8Array ? readOne(one) : one));
}

function readOne(der: Uint8Array): Certificate {
  try {
    return parseCertificate(der);
  } catch (error) {
    if (!isInterlockError(error)) throw error;
    const { subject, message } = error;
    throw new CertificateError('malformed', subject, message, error);
  }
}

/** Authorities by the bytes they were read from, so that a bundle is read once. */
const READ = new WeakMap<Uint8Array, Certificate | CertificateError>();

function authoritiesFor(leaf: Certificate, spiffeId: SpiffeId, bundles: X509Bundles): Certificate[] {
  const trustDomain = trustDomainOf(spiffeId);
  const ders = bundles.get(trustDomain)?.x509Authorities ?? [];
  const authorities = ders.flatMap((der) => {
    const read = readAuthority(der);
    return read instanceof CertificateError ? [] : [read];
  });
  if (authorities.length > 0) return authorities;
  const why = ders.length > 0 ? 'whose bundle cannot be read' : 'of which nothing is trusted here';
  throw fault('no_bundle', leaf, `is of trust domain ${trustDomain}, ${why}`);
}

function readAuthority(der: Uint8Array): Certificate | CertificateError {
  let read = READ.get(der);
  if (read === undefined) {
    try {
      read = readOne(der);
    } catch (error) {
      if (!(error instanceof CertificateError)) throw error;
      read = error;
    }
    READ.set(der, read);
  }
  return read;
}
