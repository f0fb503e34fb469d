import { hash } from 'node:crypto';
import { DerReader, encodeOid, OID, type OidKey, oidKey, TAG } from '../der/index.ts';
import { KEY_ALGORITHMS, type KeyAlgorithm, type KeyAlgorithmRow, type KeyKind } from './algorithms.ts';

/** What a SubjectPublicKeyInfo says (RFC 5280 section 4.1.2.7), read without a key being made of it. */
export interface PublicKeyInfo {
  /** The SubjectPublicKeyInfo, DER. */
  readonly spki: Buffer;
  /** Undefined for a kind of key that this program does not accept. */
  readonly kind: KeyKind | undefined;
  /** The same kind, where it is one that this program also makes. */
  readonly algorithm: KeyAlgorithm | undefined;
  /** Bits of the modulus, for RSA. */
  readonly modulusBits?: number;
}

const ROWS: ReadonlyMap<number, KeyAlgorithmRow> = new Map(
  Object.values(KEY_ALGORITHMS).map((row) => [spkiLength(row), row]),
);

function spkiLength(row: KeyAlgorithmRow): number {
  // The form byte of a point stands in the header and counts among the key's bytes.
  return row.spkiHeader.length + row.keyBytes - (row.nodeType === 'ec' ? 1 : 0);
}

/** The row of a SubjectPublicKeyInfo that is one of the kinds this program makes, by its only form in DER. */
export function rowOfSpki(bytes: Buffer, start = 0, stop = bytes.length): KeyAlgorithmRow | undefined {
  const row = ROWS.get(stop - start);
  if (row === undefined) return undefined;
  const header = row.spkiHeader;
  for (let i = 0; i < header.length; i++) if (bytes[start + i] !== header[i]) return undefined;
  return row;
}

/** Reads a SubjectPublicKeyInfo. Whether a point lies on its curve is known only once a key is made of it. */
export function readPublicKey(reader: DerReader): PublicKeyInfo {
  reader.expect(TAG.sequence);
  const spki = reader.whole();
  const row = rowOfSpki(reader.bytes, reader.from, reader.stop);
  if (row !== undefined) return { spki, kind: row.algorithm, algorithm: row.algorithm };
  const info = reader.inside();
  const algorithm = info.enter(TAG.sequence);
  algorithm.expect(TAG.oid);
  const kind = KINDS.get(oidKey(algorithm.bytes, algorithm.start, algorithm.stop));
  const parameters = algorithm.at;
  const hasParameters = !algorithm.done;
  if (hasParameters) algorithm.next();
  algorithm.finish();
  const key = info.bitString();
  info.finish();
  if (kind === 'rsa') return { spki, algorithm: undefined, ...readRsa(key, reader.what) };
  const isP521 =
    kind === 'ec-p521' &&
    spki.subarray(parameters - reader.from, algorithm.stop - reader.from).equals(P521) &&
    key.length === 133 &&
    key[0] === 0x04;
  const isPlain = (kind === 'ml-dsa-44' || kind === 'ml-dsa-87') && !hasParameters;
  return { spki, kind: isP521 || isPlain ? kind : undefined, algorithm: undefined };
}

/** Kinds that are only read. Elliptic curves stand here as P-521: the other two are found by their form. */
const KINDS: ReadonlyMap<OidKey, KeyKind> = new Map(
  (
    [
      [OID.ecPublicKey, 'ec-p521'],
      [OID.rsaEncryption, 'rsa'],
      [OID.mlDsa44, 'ml-dsa-44'],
      [OID.mlDsa87, 'ml-dsa-87'],
    ] as const
  ).map(([dotted, kind]) => [oidKey(encodeOid(dotted)), kind]),
);
const P521 = Buffer.concat([Buffer.from([TAG.oid, encodeOid(OID.p521).length]), encodeOid(OID.p521)]);

/** A public exponent is 65537 nearly everywhere; a long one would make each verification as slow as signing. */
const MAX_EXPONENT_BYTES = 4;

/** RSAPublicKey (RFC 8017 appendix A.1.1). A key whose exponent is even, below 3 or long is of no kind. */
function readRsa(key: Buffer, what: string): { kind: KeyKind | undefined; modulusBits: number } {
  const whole = new DerReader(key, what);
  const reader = whole.enter(TAG.sequence);
  whole.finish();
  const modulus = unsigned(reader.integer());
  const exponent = unsigned(reader.integer());
  reader.finish();
  const isSound =
    exponent.length <= MAX_EXPONENT_BYTES && ((exponent.at(-1) ?? 0) & 1) === 1 && !exponent.equals(ONE);
  const top = modulus[0] ?? 0;
  const modulusBits =
    top === 0 || top >= 0x80 ? modulus.length * 8 : modulus.length * 8 - Math.clz32(top) + 24;
  return { kind: isSound ? 'rsa' : undefined, modulusBits };
}

const ONE = Buffer.from([1]);

/** An INTEGER's content without the byte that only says that it is not negative; empty for a negative one. */
function unsigned(content: Buffer): Buffer {
  if ((content[0] as number) >= 0x80) return content.subarray(0, 0);
  return content[0] === 0 ? content.subarray(1) : content;
}

/** The key identifier: hex SHA-1 of the key's bits (RFC 5280 section 4.2.1.2, method 1). A name, no protection. */
export function keyIdOf(spki: Buffer): string {
  return keyIdBytes(spki).toString('hex');
}

/** {@link keyIdOf} as 20 bytes. */
export function keyIdBytes(spki: Buffer): Buffer {
  return hash('sha1', keyBits(spki), 'buffer');
}

function keyBits(spki: Buffer): Buffer {
  const row = rowOfSpki(spki);
  if (row !== undefined) return spki.subarray(spki.length - row.keyBytes);
  const info = new DerReader(spki, 'a public key').enter(TAG.sequence);
  info.expect(TAG.sequence);
  return info.bitString();
}
