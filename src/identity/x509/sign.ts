import { InterlockError } from '../../access/index.ts';
import {
  DerWriter,
  element,
  integer,
  OID,
  octetString,
  oid,
  sequence,
  TAG,
  TRUE,
  timeDigits,
  utf8String,
} from '../der/index.ts';
import { KEY_ALGORITHMS, type Signer } from '../keys/index.ts';
import { MAX_CERTIFICATE_BYTES } from './certificate.ts';
import { KEY_USAGE } from './extensions.ts';
import type { CertificateTemplate } from './template.ts';

/** What stands behind the part that is signed: the largest signature, ML-DSA's, and its headers. */
const SIGNATURE_ROOM = 8 * 1024;

/** Certificates are written one at a time: signing waits for nothing. */
const writer = new DerWriter(MAX_CERTIFICATE_BYTES);

/** Version 3: [0] EXPLICIT INTEGER 2. */
const VERSION = Buffer.from([0xa0, 0x03, 0x02, 0x01, 0x02]);

/** RFC 5280 section 4.2.1.3 as a leaf has it: digitalSignature and nothing else. */
const LEAF_EXTENSIONS = Buffer.concat([
  extension(OID.keyUsage, true, namedBits(KEY_USAGE.digitalSignature)),
  extension(OID.extKeyUsage, false, sequence(oid(OID.serverAuth), oid(OID.clientAuth))),
  extension(OID.basicConstraints, true, sequence()),
]);
const AUTHORITY_KEY_USAGE = extension(
  OID.keyUsage,
  true,
  namedBits(KEY_USAGE.keyCertSign | KEY_USAGE.cRLSign),
);
/** SubjectKeyIdentifier up to its 20 bytes. */
const SUBJECT_KEY_ID = extension(OID.subjectKeyIdentifier, false, octetString(Buffer.alloc(20))).subarray(
  0,
  -20,
);
const SUBJECT_ALT_NAME = oid(OID.subjectAltName);

/** The certificate of a template, DER, signed. The signer must be the template's issuer, or the root itself. */
export function signCertificate(template: CertificateTemplate, signer: Signer): Buffer {
  const issuerKey = template.issuer?.certificate.spki ?? template.spki;
  if (!signer.spki.equals(issuerKey)) {
    throw new InterlockError(
      'conflict',
      template.spiffeId,
      'the signing key is not that of the issuer named',
    );
  }
  const { signatureAlgorithm } = KEY_ALGORITHMS[signer.algorithm];
  const { bytes } = writer;
  const end = bytes.length - SIGNATURE_ROOM;
  writer.reset(end);
  writeToBeSigned(template, signatureAlgorithm);
  const signature = signer.sign(bytes.subarray(writer.at, end));
  // The header of the whole goes before what was signed, the signature behind it.
  const after = element(TAG.bitString, ZERO, signature);
  const stop = end + signatureAlgorithm.length + after.length;
  if (stop > bytes.length) throw new RangeError('a signature is longer than any known one');
  signatureAlgorithm.copy(bytes, end);
  after.copy(bytes, end + signatureAlgorithm.length);
  writer.header(TAG.sequence, stop);
  return Buffer.from(bytes.subarray(writer.at, stop));
}

const ZERO = Buffer.alloc(1);

/** TBSCertificate (RFC 5280 section 4.1), its last field first. */
function writeToBeSigned(template: CertificateTemplate, signatureAlgorithm: Buffer): void {
  const end = writer.at;
  writeExtensions(template);
  writer.raw(template.spki);
  writer.raw(template.subjectName);
  const validity = writer.at;
  writeTime(template.notAfter);
  writeTime(template.notBefore);
  writer.header(TAG.sequence, validity);
  writer.raw(template.issuerName);
  writer.raw(signatureAlgorithm);
  const serial = writer.at;
  writer.raw(template.serial);
  writer.header(TAG.integer, serial);
  writer.raw(VERSION);
  writer.header(TAG.sequence, end);
}

function writeTime(ms: number): void {
  const digits = timeDigits(ms);
  const end = writer.at;
  writer.ascii(digits);
  writer.header(digits.length === 13 ? TAG.utcTime : TAG.generalizedTime, end);
}

function writeExtensions(template: CertificateTemplate): void {
  const end = writer.at;
  writeAlternativeNames(template);
  if (template.issuer !== undefined) writer.raw(template.issuer.authorityKeyId);
  writer.raw(template.subjectKeyId);
  writer.raw(SUBJECT_KEY_ID);
  writer.raw(template.kind === 'leaf' ? LEAF_EXTENSIONS : authorityExtensions(template));
  writer.header(TAG.sequence, end);
  writer.header(0xa3, end);
}

/** RFC 5280 section 4.2.1.6: the ID, then the DNS names. */
function writeAlternativeNames(template: CertificateTemplate): void {
  const end = writer.at;
  for (let i = template.dnsNames.length - 1; i >= 0; i--) writeName(0x82, template.dnsNames[i] as string);
  writeName(0x86, template.spiffeId);
  writer.header(TAG.sequence, end);
  writer.header(TAG.octetString, end);
  writer.raw(SUBJECT_ALT_NAME);
  writer.header(TAG.sequence, end);
}

function writeName(tag: number, name: string): void {
  const end = writer.at;
  writer.ascii(name);
  writer.header(tag, end);
}

function authorityExtensions({ pathLength, prefixes }: CertificateTemplate): Buffer {
  const constraints = pathLength === undefined ? sequence(TRUE) : sequence(TRUE, integer(pathLength));
  const parts = [AUTHORITY_KEY_USAGE, extension(OID.basicConstraints, true, constraints)];
  // Not critical: other verifiers would refuse the whole chain instead of not minding the limit.
  if (prefixes !== undefined)
    parts.push(extension(OID.pathPrefixes, false, sequence(...prefixes.map(utf8String))));
  return Buffer.concat(parts);
}

/** One Extension (RFC 5280 section 4.1.2.9). */
export function extension(dotted: string, critical: boolean, value: Buffer): Buffer {
  return critical
    ? sequence(oid(dotted), TRUE, octetString(value))
    : sequence(oid(dotted), octetString(value));
}

/** Named bits from 0 to 7 (X.690 section 11.2.2: without trailing zero bits). */
function namedBits(bits: number): Buffer {
  const last = 31 - Math.clz32(bits);
  let byte = 0;
  for (let i = 0; i <= last; i++) if ((bits & (1 << i)) !== 0) byte |= 0x80 >> i;
  return element(TAG.bitString, Buffer.from([7 - last, byte]));
}
