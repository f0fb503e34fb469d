import { InterlockError } from '../../access/index.ts';
import { type Certificate, parseCertificate } from './certificate.ts';
import { KEY_USAGE } from './extensions.ts';
import { isSignature } from './request.ts';
import type { CertificateTemplate } from './template.ts';

/**
 * Reads a certificate that was just signed back from its bytes, by the reader for outside bytes, and holds every
 * field against the template. Throws `conflict`: such a certificate must not leave.
 */
export function checkIssuedFields(der: Buffer, template: CertificateTemplate): Certificate {
  const read = parseCertificate(der);
  const isLeaf = template.kind === 'leaf';
  const { issuer } = template;
  expectSame(template, 'version', read.version === 3);
  expectSame(template, 'serial number', read.serial === template.serial.toString('hex'));
  expectSame(template, 'issuer', read.issuerName.equals(template.issuerName));
  expectSame(template, 'subject', read.subjectName.equals(template.subjectName));
  expectSame(
    template,
    'validity',
    read.notBefore === template.notBefore && read.notAfter === template.notAfter,
  );
  expectSame(
    template,
    "issuer's validity",
    issuer === undefined ||
      (read.notBefore >= issuer.certificate.notBefore && read.notAfter <= issuer.notAfter),
  );
  expectSame(template, 'key', read.spki.equals(template.spki));
  expectSame(
    template,
    'names',
    read.uriNames.length === 1 &&
      read.uriNames[0] === template.spiffeId &&
      sameTexts(read.dnsNames, template.dnsNames),
  );
  expectSame(template, 'kind', read.isAuthority !== isLeaf && read.pathLength === template.pathLength);
  const usage = isLeaf ? KEY_USAGE.digitalSignature : KEY_USAGE.keyCertSign | KEY_USAGE.cRLSign;
  expectSame(template, 'key usage', read.isKeyUsageCritical && read.keyUsage === usage);
  expectSame(
    template,
    'extended key usage',
    isLeaf ? read.extendedKeyUsage?.length === 2 : read.extendedKeyUsage === undefined,
  );
  expectSame(template, 'path prefixes', sameTexts(read.prefixes, template.prefixes));
  expectSame(
    template,
    'key identifiers',
    read.subjectKeyId === template.subjectKeyId.toString('hex') &&
      read.authorityKeyId === issuer?.keyId.toString('hex'),
  );
  expectSame(template, 'extensions', read.unknownCritical.length === 0);
  const signedBy = issuer?.algorithm ?? read.algorithm;
  expectSame(
    template,
    'signature algorithm',
    signedBy !== undefined && read.signatureAlgorithm?.keys.includes(signedBy) === true,
  );
  return read;
}

/** {@link checkIssuedFields}, and then its signature with the issuer's key, in the thread pool. */
export async function checkIssued(der: Buffer, template: CertificateTemplate): Promise<Certificate> {
  const read = checkIssuedFields(der, template);
  const key = (template.issuer?.certificate ?? read).publicKey();
  const hash = read.signatureAlgorithm?.hash ?? null;
  expectSame(template, 'signature', await isSignature(hash, read.tbs, key, read.signature));
  return read;
}

function sameTexts(one: readonly string[] | undefined, other: readonly string[] | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  return one.length === other.length && one.every((text, i) => text === other[i]);
}

function expectSame(template: CertificateTemplate, field: string, isSame: boolean): void {
  if (isSame) return;
  throw new InterlockError(
    'conflict',
    template.spiffeId,
    `the certificate signed for ${template.spiffeId} is not the one that was meant: its ${field} differs; it was thrown away`,
  );
}
