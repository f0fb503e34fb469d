import { createPublicKey, type KeyObject } from 'node:crypto';
import { InterlockError, type SpiffeId, spiffeIdOf } from '../../access/index.ts';
import { bufferOf, DerError, DerReader, oidKey, readTime, TAG } from '../der/index.ts';
import {
  type KeyAlgorithm,
  type KeyKind,
  readPublicKey,
  SIGNATURE_ALGORITHMS,
  type PublicKeyInfo,
  type SignatureAlgorithmRow,
} from '../keys/index.ts';
import { type Extensions, noExtensions, readExtensions } from './extensions.ts';
import type { NameConstraints } from './name-constraints.ts';
import { expectName, nameText } from './name.ts';

/** The largest certificate read: one with 500 DNS names has 16 KiB, one of ML-DSA-87 with its signature 8 KiB. */
export const MAX_CERTIFICATE_BYTES: number = 64 * 1024;
/** Certificates that are read out of one concatenation: a large bundle holds some tens. */
const MAX_CERTIFICATES = 1024;
/** RFC 5280 section 4.1.2.2. */
const MAX_SERIAL_BYTES = 20;

/** An X.509 certificate (RFC 5280 section 4), read. It looks into `der`, which must not change. */
export interface Certificate {
  readonly der: Buffer;
  /** 1 to 3. */
  readonly version: number;
  /** Hex of whole bytes without zeros before them, as OpenSSL shows it in small letters. */
  readonly serial: string;
  /** For people (RFC 4514). Names are compared by `subjectName` and `issuerName`. */
  readonly subject: string;
  readonly issuer: string;
  /** The Name, DER. */
  readonly subjectName: Buffer;
  readonly issuerName: Buffer;
  /** Milliseconds since 1970; both ends are inside. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Buffer;
  /** The kind of its key; undefined where it is not accepted here. */
  readonly keyKind: KeyKind | undefined;
  /** The same, where it is a kind that this program also makes. */
  readonly algorithm: KeyAlgorithm | undefined;
  /** Bits of the modulus of an RSA key. */
  readonly modulusBits: number | undefined;
  readonly isAuthority: boolean;
  readonly pathLength: number | undefined;
  /** Bits of KEY_USAGE. */
  readonly keyUsage: number | undefined;
  readonly isKeyUsageCritical: boolean;
  /** Dotted object identifiers; undefined where there is no such extension. */
  readonly extendedKeyUsage: readonly string[] | undefined;
  readonly uriNames: readonly string[];
  readonly dnsNames: readonly string[];
  /** The ID, where there is exactly one URI and it is one. */
  readonly spiffeId: SpiffeId | undefined;
  /** Hex. */
  readonly subjectKeyId: string | undefined;
  readonly authorityKeyId: string | undefined;
  /** Path prefixes that it may speak for, where it is limited. */
  readonly prefixes: readonly string[] | undefined;
  /** What the names of certificates below it may be, where it says so. */
  readonly nameConstraints: NameConstraints | undefined;
  /** Dotted object identifiers. */
  readonly unknownCritical: readonly string[];
  /** What is signed, by which algorithm (undefined: one that is not accepted), and the signature. */
  readonly tbs: Buffer;
  readonly signatureAlgorithm: SignatureAlgorithmRow | undefined;
  readonly signature: Buffer;
  /** The public key, made at the first call. Throws `invalid_certificate` where it is none, such as a point off its curve. */
  publicKey(): KeyObject;
}

/** Reads one certificate. Throws `invalid_certificate`. */
export function parseCertificate(der: Uint8Array): Certificate {
  const bytes = bufferOf(der);
  const reader = new DerReader(bytes, 'a certificate');
  const certificate = readCertificate(reader);
  reader.finish();
  return certificate;
}

/** Reads certificates that follow each other without anything between, as the Workload API gives them. */
export function parseCertificates(concatenated: Uint8Array): Certificate[] {
  const reader = new DerReader(bufferOf(concatenated), 'a list of certificates');
  const certificates: Certificate[] = [];
  while (!reader.done) {
    if (certificates.push(readCertificate(reader)) > MAX_CERTIFICATES)
      throw new InterlockError(
        'limit',
        'certificates',
        `a list holds more than ${MAX_CERTIFICATES} certificates`,
      );
  }
  return certificates;
}

function readCertificate(reader: DerReader): Certificate {
  const outer = reader.enter(TAG.sequence);
  const der = reader.whole();
  if (der.length > MAX_CERTIFICATE_BYTES) {
    throw new InterlockError(
      'limit',
      'certificate',
      `a certificate has more than ${MAX_CERTIFICATE_BYTES} bytes`,
    );
  }
  const tbs = outer.enter(TAG.sequence);
  const [tbsFrom, tbsStop] = [outer.from, outer.stop];
  const version = readVersion(tbs);
  const serial = readSerial(tbs);
  const [algorithmFrom, algorithmStop, algorithm] = readSignatureAlgorithm(tbs);
  expectName(tbs);
  const [issuerFrom, issuerStop] = [tbs.from, tbs.stop];
  const validity = tbs.enter(TAG.sequence);
  const notBefore = readTime(validity);
  const notAfter = readTime(validity);
  validity.finish();
  expectName(tbs);
  const [subjectFrom, subjectStop] = [tbs.from, tbs.stop];
  const key = readPublicKey(tbs);
  const extensions = readOptionalParts(tbs, version);
  outer.expect(TAG.sequence);
  const { bytes } = outer;
  if (bytes.compare(bytes, algorithmFrom, algorithmStop, outer.from, outer.stop) !== 0)
    throw reader.fault('its two signature algorithms differ');
  const signature = outer.bitString();
  outer.finish();
  return new ReadCertificate({
    der,
    version,
    serialBytes: serial,
    subjectName: bytes.subarray(subjectFrom, subjectStop),
    issuerName: bytes.subarray(issuerFrom, issuerStop),
    notBefore,
    notAfter,
    key,
    extensions,
    tbs: bytes.subarray(tbsFrom, tbsStop),
    signatureAlgorithm: algorithm,
    signature,
  });
}

/** [0] EXPLICIT INTEGER, absent for version 1. */
function readVersion(tbs: DerReader): number {
  if (tbs.peek() !== 0xa0) return 1;
  const inside = tbs.enter(0xa0);
  const version = inside.smallInteger() + 1;
  inside.finish();
  if (version === 1) throw tbs.fault('a default value is written out');
  if (version > 3) throw tbs.fault(`its version ${version} is unknown`);
  return version;
}

/** A serial number's INTEGER content as hex, without the byte that only says that it is not negative. */
export function serialText(content: Buffer): string {
  return content.toString('hex', content[0] === 0 && content.length > 1 ? 1 : 0);
}

function readSerial(tbs: DerReader): Buffer {
  const serial = tbs.integer();
  if ((serial[0] as number) >= 0x80) throw tbs.fault('its serial number is negative');
  if (serial.length > MAX_SERIAL_BYTES) throw tbs.fault('its serial number is longer than 20 bytes');
  return serial;
}

/** Where the AlgorithmIdentifier that comes next stands, and its row; undefined for one that is not accepted. */
export function readSignatureAlgorithm(
  reader: DerReader,
): [from: number, stop: number, row: SignatureAlgorithmRow | undefined] {
  const inside = reader.enter(TAG.sequence);
  inside.expect(TAG.oid);
  const row = SIGNATURE_ALGORITHMS.get(oidKey(inside.bytes, inside.start, inside.stop));
  let isKnown = row !== undefined;
  if (!inside.done) {
    const tag = inside.next();
    isKnown &&= tag === TAG.null && inside.start === inside.stop && row?.nullParameters === true;
  }
  inside.finish();
  return [reader.from, reader.stop, isKnown ? row : undefined];
}

/** [1] and [2], the unique identifiers that nobody uses, and [3], the extensions. */
function readOptionalParts(tbs: DerReader, version: number): Extensions {
  for (const tag of [0x81, 0x82]) {
    if (tbs.peek() !== tag) continue;
    if (version < 2) throw tbs.fault('its version has no unique identifiers');
    tbs.next();
  }
  if (tbs.done) return noExtensions();
  if (version < 3) throw tbs.fault('its version has no extensions');
  const inside = tbs.enter(0xa3);
  const extensions = readExtensions(inside);
  inside.finish();
  tbs.finish();
  return extensions;
}

interface Parts {
  readonly der: Buffer;
  readonly version: number;
  readonly serialBytes: Buffer;
  readonly subjectName: Buffer;
  readonly issuerName: Buffer;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly key: PublicKeyInfo;
  readonly extensions: Extensions;
  readonly tbs: Buffer;
  readonly signatureAlgorithm: SignatureAlgorithmRow | undefined;
  readonly signature: Buffer;
}

/** What is read at once; texts and the key are made when they are asked for. */
class ReadCertificate implements Certificate {
  readonly #parts: Parts;
  #spiffeId: SpiffeId | undefined | null = null;
  #publicKey: KeyObject | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  get der(): Buffer {
    return this.#parts.der;
  }
  get version(): number {
    return this.#parts.version;
  }
  get serial(): string {
    return serialText(this.#parts.serialBytes);
  }
  get subject(): string {
    return nameText(this.#parts.subjectName);
  }
  get issuer(): string {
    return nameText(this.#parts.issuerName);
  }
  get subjectName(): Buffer {
    return this.#parts.subjectName;
  }
  get issuerName(): Buffer {
    return this.#parts.issuerName;
  }
  get notBefore(): number {
    return this.#parts.notBefore;
  }
  get notAfter(): number {
    return this.#parts.notAfter;
  }
  get spki(): Buffer {
    return this.#parts.key.spki;
  }
  get keyKind(): KeyKind | undefined {
    return this.#parts.key.kind;
  }
  get algorithm(): KeyAlgorithm | undefined {
    return this.#parts.key.algorithm;
  }
  get modulusBits(): number | undefined {
    return this.#parts.key.modulusBits;
  }
  get isAuthority(): boolean {
    return this.#parts.extensions.isAuthority;
  }
  get pathLength(): number | undefined {
    return this.#parts.extensions.pathLength;
  }
  get keyUsage(): number | undefined {
    return this.#parts.extensions.keyUsage;
  }
  get isKeyUsageCritical(): boolean {
    return this.#parts.extensions.isKeyUsageCritical;
  }
  get extendedKeyUsage(): readonly string[] | undefined {
    return this.#parts.extensions.extendedKeyUsage;
  }
  get uriNames(): readonly string[] {
    return this.#parts.extensions.uriNames;
  }
  get dnsNames(): readonly string[] {
    return this.#parts.extensions.dnsNames;
  }
  get spiffeId(): SpiffeId | undefined {
    if (this.#spiffeId === null) {
      const [uri, second] = this.uriNames;
      this.#spiffeId = uri === undefined || second !== undefined ? undefined : spiffeIdOf(uri);
    }
    return this.#spiffeId;
  }
  get subjectKeyId(): string | undefined {
    return this.#parts.extensions.subjectKeyId?.toString('hex');
  }
  get authorityKeyId(): string | undefined {
    return this.#parts.extensions.authorityKeyId?.toString('hex');
  }
  get prefixes(): readonly string[] | undefined {
    return this.#parts.extensions.prefixes;
  }
  get nameConstraints(): NameConstraints | undefined {
    return this.#parts.extensions.nameConstraints;
  }
  get unknownCritical(): readonly string[] {
    return this.#parts.extensions.unknownCritical;
  }
  get tbs(): Buffer {
    return this.#parts.tbs;
  }
  get signatureAlgorithm(): SignatureAlgorithmRow | undefined {
    return this.#parts.signatureAlgorithm;
  }
  get signature(): Buffer {
    return this.#parts.signature;
  }
  publicKey(): KeyObject {
    return (this.#publicKey ??= importSpki(this.spki, 'a certificate'));
  }
}

/** A key of a SubjectPublicKeyInfo. OpenSSL refuses here what is malformed, and a point that is not on its curve. */
export function importSpki(spki: Buffer, what: string): KeyObject {
  try {
    return createPublicKey({ key: spki, format: 'der', type: 'spki' });
  } catch (cause) {
    if (cause instanceof RangeError) throw cause;
    throw new DerError(what, 'its public key is none', 0);
  }
}
