import { verify as verifyBytes } from 'node:crypto';
import { InterlockError } from '../../access/index.ts';
import {
  bitString,
  bufferOf,
  DerReader,
  element,
  encodeOid,
  integer,
  OID,
  type OidKey,
  oidKey,
  readTime,
  sequence,
  TAG,
  time,
} from '../der/index.ts';
import { KEY_ALGORITHMS, type SignatureAlgorithmRow, type Signer } from '../keys/index.ts';
import { type Certificate, readSignatureAlgorithm, serialText } from './certificate.ts';
import { readAuthorityKeyId } from './extensions.ts';
import { issuerOf } from './issuer.ts';
import { expectName, nameText } from './name.ts';
import { extension } from './sign.ts';

/** Why a certificate was revoked (RFC 5280 section 5.3.1), by number. */
export const CRL_REASONS = {
  unspecified: 0,
  keyCompromise: 1,
  cACompromise: 2,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
  certificateHold: 6,
  removeFromCRL: 8,
  privilegeWithdrawn: 9,
  aACompromise: 10,
} as const;

export type CrlReason = keyof typeof CRL_REASONS;

/** One revoked certificate. */
export interface RevokedCertificate {
  /** Hex, as a certificate's. */
  readonly serial: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly reason: CrlReason;
}

/** A certificate revocation list (RFC 5280 section 5), read; its signature is checked where it is used. */
export interface Crl {
  readonly der: Buffer;
  /** For people. */
  readonly issuer: string;
  /** The Name, DER. */
  readonly issuerName: Buffer;
  /** Hex. */
  readonly authorityKeyId: string | undefined;
  /** Hex. */
  readonly number: string | undefined;
  /** Milliseconds since 1970. */
  readonly thisUpdate: number;
  readonly nextUpdate: number | undefined;
  /** By serial. */
  readonly revoked: ReadonlyMap<string, RevokedCertificate>;
  readonly tbs: Buffer;
  readonly signatureAlgorithm: SignatureAlgorithmRow | undefined;
  readonly signature: Buffer;
}

/** The largest list read: 200,000 entries have about 8 MiB. */
const MAX_CRL_BYTES = 12 * 1024 * 1024;
const MAX_REVOKED = 200_000;
const MAX_EXTENSIONS = 32;

/** What a list is to say. */
export interface CrlOptions {
  /** The authority's, and its key. */
  readonly certificate: Certificate;
  readonly signer: Signer;
  readonly revoked: readonly RevokedCertificate[];
  /** Grows with every list of this authority (RFC 5280 section 5.2.3). */
  readonly number: number;
  /** Milliseconds since 1970. */
  readonly thisUpdate: number;
  readonly nextUpdate: number;
}

/** A signed list, DER, read back and checked before it is given. */
export function createCrl(options: CrlOptions): Buffer {
  const { certificate, signer, revoked, thisUpdate, nextUpdate } = options;
  const issuer = issuerOf(certificate);
  if (!signer.spki.equals(certificate.spki))
    throw new InterlockError(
      'conflict',
      certificate.subject,
      'the signing key is not that of the issuer named',
    );
  if (revoked.length > MAX_REVOKED)
    throw new InterlockError('limit', 'CRL', `a list holds at most ${MAX_REVOKED} certificates`);
  const entries = revoked.map(({ serial, at, reason }) =>
    sequence(integer(serialBytes(serial)), time(at), ...REASON_EXTENSION[reason]),
  );
  const { signatureAlgorithm } = KEY_ALGORITHMS[signer.algorithm];
  const tbs = sequence(
    integer(1),
    signatureAlgorithm,
    issuer.name,
    time(thisUpdate),
    time(nextUpdate),
    // RFC 5280 section 5.1.2.6: where nothing is revoked, the list must be absent.
    ...(entries.length === 0 ? [] : [sequence(...entries)]),
    element(0xa0, sequence(issuer.authorityKeyId, extension(OID.crlNumber, false, integer(options.number)))),
  );
  const der = sequence(tbs, signatureAlgorithm, bitString(signer.sign(tbs)));
  const read = parseCrl(der);
  if (
    !isCrlOf(read, certificate) ||
    !revoked.every(({ serial }) => read.revoked.has(canonicalSerial(serial)))
  )
    throw new InterlockError(
      'conflict',
      certificate.subject,
      'the list signed is not the one that was meant',
    );
  return der;
}

/** RFC 5280 section 5.3.1: no reason is better than "unspecified". */
const REASON_EXTENSION = Object.fromEntries(
  Object.entries(CRL_REASONS).map(([reason, value]) => [
    reason,
    value === 0
      ? []
      : [sequence(extension(OID.reasonCode, false, element(TAG.enumerated, Buffer.from([value]))))],
  ]),
  // The entries are those of the table of reasons.
) as Record<CrlReason, Buffer[]>;

function serialBytes(serial: string): Buffer {
  const bytes = Buffer.from(serial, 'hex');
  if (bytes.length === 0 || bytes.length * 2 !== serial.length || bytes.length > 20)
    throw new InterlockError(
      'invalid_certificate',
      'serial',
      `"${serial.slice(0, 50)}" is no serial number in hex`,
    );
  return bytes;
}

function canonicalSerial(serial: string): string {
  return serialText(new DerReader(integer(serialBytes(serial)), 'a serial number').integer());
}

/** Reads a list. Throws `invalid_certificate` for what is none, or says what is not understood here (such as a delta). */
export function parseCrl(der: Uint8Array): Crl {
  if (der.length > MAX_CRL_BYTES)
    throw new InterlockError('limit', 'CRL', `a revocation list has more than ${MAX_CRL_BYTES} bytes`);
  const bytes = bufferOf(der);
  const reader = new DerReader(bytes, 'a revocation list');
  const outer = reader.enter(TAG.sequence);
  reader.finish();
  const list = outer.enter(TAG.sequence);
  const tbs = outer.whole();
  const version = list.peek() === TAG.integer ? list.smallInteger() : 0;
  if (version > 1) throw reader.fault('its version is unknown');
  const [from, stop, signatureAlgorithm] = readSignatureAlgorithm(list);
  expectName(list);
  const issuerName = list.whole();
  const thisUpdate = readTime(list);
  const hasNext = list.peek() === TAG.utcTime || list.peek() === TAG.generalizedTime;
  const nextUpdate = hasNext ? readTime(list) : undefined;
  const revoked = list.peek() === TAG.sequence ? readRevoked(list.enter(TAG.sequence)) : new Map();
  const extensions = list.done ? {} : readCrlExtensions(list.enter(0xa0));
  list.finish();
  outer.expect(TAG.sequence);
  if (bytes.compare(bytes, from, stop, outer.from, outer.stop) !== 0)
    throw reader.fault('its two signature algorithms differ');
  const signature = outer.bitString();
  outer.finish();
  return {
    der: bytes,
    issuer: nameText(issuerName),
    issuerName,
    authorityKeyId: extensions.authorityKeyId,
    number: extensions.number,
    thisUpdate,
    nextUpdate,
    revoked,
    tbs,
    signatureAlgorithm,
    signature,
  };
}

const REASON_CODE = oidKey(encodeOid(OID.reasonCode));
const CRL_NUMBER = oidKey(encodeOid(OID.crlNumber));
const AUTHORITY_KEY_ID = oidKey(encodeOid(OID.authorityKeyIdentifier));
const REASON_OF: ReadonlyMap<number, CrlReason> = new Map(
  // The entries are those of the table of reasons.
  Object.entries(CRL_REASONS).map(([reason, value]) => [value, reason as CrlReason]),
);

function readRevoked(entries: DerReader): ReadonlyMap<string, RevokedCertificate> {
  const revoked = new Map<string, RevokedCertificate>();
  while (!entries.done) {
    if (revoked.size >= MAX_REVOKED) throw entries.fault(`it holds more than ${MAX_REVOKED} certificates`);
    const entry = entries.enter(TAG.sequence);
    const serial = serialText(entry.integer());
    const at = readTime(entry);
    let reason: CrlReason = 'unspecified';
    if (!entry.done) {
      eachExtension(entry.enter(TAG.sequence), (key, value) => {
        if (key !== REASON_CODE) return false;
        reason = REASON_OF.get(value.smallInteger(TAG.enumerated)) ?? 'unspecified';
        return true;
      });
    }
    entry.finish();
    // Also one with removeFromCRL, which belongs in deltas only: what is unclear stays revoked.
    revoked.set(serial, { serial, at, reason });
  }
  return revoked;
}

function readCrlExtensions(outer: DerReader): { authorityKeyId?: string; number?: string } {
  const found: { authorityKeyId?: string; number?: string } = {};
  eachExtension(outer.enter(TAG.sequence), (key, value) => {
    if (key === CRL_NUMBER) found.number = value.integer().toString('hex');
    else if (key === AUTHORITY_KEY_ID) {
      const id = readAuthorityKeyId(value)?.toString('hex');
      if (id !== undefined) found.authorityKeyId = id;
    } else return false;
    return true;
  });
  outer.finish();
  return found;
}

/** Calls with each extension; a critical one that is not taken makes the list unusable (RFC 5280 sections 5.2, 5.3). */
function eachExtension(list: DerReader, take: (key: OidKey, value: DerReader) => boolean): void {
  const seen: OidKey[] = [];
  while (!list.done) {
    const one = list.enter(TAG.sequence);
    one.expect(TAG.oid);
    const key = oidKey(one.bytes, one.start, one.stop);
    if (seen.includes(key)) throw list.fault('an extension stands there twice');
    if (seen.push(key) > MAX_EXTENSIONS) throw list.fault(`it has more than ${MAX_EXTENSIONS} extensions`);
    const critical = one.peek() === TAG.boolean && one.boolean();
    const value = one.enter(TAG.octetString);
    one.finish();
    if (take(key, value)) value.finish();
    else if (critical) throw list.fault('it has a critical extension that is not known here');
  }
}

/** Whether a list is this authority's: by its name, its key's identifier where both have one, and its signature. */
export function isCrlOf(crl: Crl, authority: Certificate): boolean {
  if (!isNamedBy(crl, authority)) return false;
  const { signatureAlgorithm: algorithm } = crl;
  if (algorithm === undefined || authority.keyKind === undefined) return false;
  if (!algorithm.keys.includes(authority.keyKind)) return false;
  return verifyBytes(algorithm.hash, crl.tbs, authority.publicKey(), crl.signature);
}

/** Whether a list says that it is this authority's. */
export function isNamedBy(crl: Crl, authority: Certificate): boolean {
  const { subjectKeyId } = authority;
  if (!crl.issuerName.equals(authority.subjectName)) return false;
  return (
    crl.authorityKeyId === undefined || subjectKeyId === undefined || crl.authorityKeyId === subjectKeyId
  );
}
