import { InterlockError } from '../../access/index.ts';

/**
 * Why a certificate is refused. A row says whether the certificate itself breaks a standard (`invalid_certificate`)
 * or is well-formed and proves nothing here (`untrusted`).
 */
export const X509_FAULTS = {
  /** No certificate was given. */
  empty_chain: 'invalid_certificate',
  /** More certificates than {@link MAX_CHAIN}. */
  chain_too_long: 'invalid_certificate',
  /** No DER, or not a certificate as RFC 5280 defines it. */
  malformed: 'invalid_certificate',
  /** Not version 3: it cannot say what it is for. */
  version: 'invalid_certificate',
  /** A critical extension that is not known here (RFC 5280 section 4.2). */
  unknown_critical_extension: 'invalid_certificate',
  /** A kind of key that is not accepted, or too short. */
  weak_key: 'invalid_certificate',
  /** A signature algorithm that is not accepted, or one that the issuer's key cannot have made. */
  signature_algorithm: 'invalid_certificate',
  /** The first certificate is an authority's (X509-SVID.md section 4.1). */
  leaf_is_authority: 'invalid_certificate',
  /** keyUsage is missing, not critical, lacks digitalSignature, or may sign certificates or CRLs (section 4.3). */
  leaf_key_usage: 'invalid_certificate',
  /** extKeyUsage stands there without serverAuth or clientAuth (section 4.4). */
  leaf_extended_key_usage: 'invalid_certificate',
  /** Not exactly one URI as subject alternative name (section 2). */
  one_uri: 'invalid_certificate',
  /** The URI is no SPIFFE ID. */
  spiffe_id: 'invalid_certificate',
  /** A workload's ID has no path (section 5.2), or an authority's has one (section 3.2). */
  spiffe_id_path: 'invalid_certificate',
  /** An issuing certificate that is no authority's: cA is false or keyUsage lacks keyCertSign. */
  not_an_authority: 'invalid_certificate',
  /** Of another trust domain than the one it is in the chain for. */
  trust_domain: 'untrusted',
  /** There is no bundle of the trust domain, or an empty one: nothing of it is trusted. */
  no_bundle: 'untrusted',
  /** No path leads to an authority of the bundle. */
  unknown_authority: 'untrusted',
  /** The signature is not of the issuer's key. */
  signature: 'untrusted',
  not_yet_valid: 'untrusted',
  expired: 'untrusted',
  /** More intermediates below an authority than its pathLenConstraint allows. */
  path_length: 'untrusted',
  /** A name that the nameConstraints of an authority in its chain do not allow. */
  name_constraints: 'untrusted',
  /** The ID lies outside the path prefixes of an authority in its chain. */
  outside_prefixes: 'untrusted',
  /** An authority limited to path prefixes issued one with wider prefixes, or an intermediate's extKeyUsage forbids TLS. */
  outside_issuer: 'untrusted',
  /** On its issuer's CRL, or its ID is revoked. */
  revoked: 'untrusted',
} as const;

/** A reason for which a certificate is refused. */
export type X509Fault = keyof typeof X509_FAULTS;

/** A certificate, or a chain of them, that is refused; `fault` is for programs, the message for people. */
export class CertificateError extends InterlockError {
  readonly fault: X509Fault;

  constructor(fault: X509Fault, subject: string, message: string, cause?: unknown) {
    super(X509_FAULTS[fault], subject, message, cause === undefined ? {} : { cause });
    this.fault = fault;
  }
}
