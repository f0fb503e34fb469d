import { createHash } from 'node:crypto';
import { InterlockError } from '../../access/index.ts';
import { element, OID, octetString, oid, sequence } from '../der/index.ts';
import { KEY_ALGORITHMS, keyIdBytes, type KeyAlgorithm } from '../keys/index.ts';
import type { Certificate } from './certificate.ts';
import { KEY_USAGE } from './extensions.ts';

/** An authority as what it signs needs it, worked out once. */
export interface IssuerInfo {
  readonly certificate: Certificate;
  /** Hex SHA-256 of the certificate. */
  readonly fingerprint: string;
  /** The Name, DER. */
  readonly name: Buffer;
  /** Its SubjectKeyIdentifier. */
  readonly keyId: Buffer;
  /** The AuthorityKeyIdentifier extension of what it signs, DER. */
  readonly authorityKeyId: Buffer;
  /** The kind of key it signs with. */
  readonly algorithm: KeyAlgorithm;
  /** The AlgorithmIdentifier of its signatures, DER. */
  readonly signatureAlgorithm: Buffer;
  /** Every limit to path prefixes on the way up: an ID must lie inside each. */
  readonly scopes: readonly (readonly string[])[];
  /** When the first of the certificates on the way up ends, in milliseconds since 1970. */
  readonly notAfter: number;
}

/**
 * The issuer for an authority's certificate. `parents`: the intermediates above it, whose limits and ends hold as
 * well. Throws `invalid_certificate` for a certificate that may not issue, or a kind of key that does not sign here.
 */
export function issuerOf(certificate: Certificate, parents: readonly Certificate[] = []): IssuerInfo {
  const { algorithm } = certificate;
  const canSign = certificate.isAuthority && ((certificate.keyUsage ?? 0) & KEY_USAGE.keyCertSign) !== 0;
  if (algorithm === undefined || !canSign) {
    throw new InterlockError(
      'invalid_certificate',
      certificate.subject,
      `"${certificate.subject}" cannot issue: it is no authority's certificate with a kind of key that signs here`,
    );
  }
  const chain = [certificate, ...parents];
  const keyId =
    certificate.subjectKeyId === undefined
      ? keyIdBytes(certificate.spki)
      : Buffer.from(certificate.subjectKeyId, 'hex');
  return {
    certificate,
    fingerprint: createHash('sha256').update(certificate.der).digest('hex'),
    name: certificate.subjectName,
    keyId,
    authorityKeyId: authorityKeyIdExtension(keyId),
    algorithm,
    signatureAlgorithm: KEY_ALGORITHMS[algorithm].signatureAlgorithm,
    scopes: chain.flatMap(({ prefixes }) => (prefixes === undefined ? [] : [prefixes])),
    notAfter: Math.min(...chain.map(({ notAfter }) => notAfter)),
  };
}

/** The AuthorityKeyIdentifier extension (RFC 5280 section 4.2.1.1) with nothing but a key's identifier. */
export function authorityKeyIdExtension(keyId: Buffer): Buffer {
  return sequence(oid(OID.authorityKeyIdentifier), octetString(sequence(element(0x80, keyId))));
}
