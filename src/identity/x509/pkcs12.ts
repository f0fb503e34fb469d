import { createCipheriv, createHmac, hash, type KeyObject, pbkdf2Sync, randomBytes } from 'node:crypto';
import { InterlockError } from '../../access/index.ts';
import { element, integer, NULL, OID, octetString, oid, sequence, set, TAG } from '../der/index.ts';
import { exportPkcs8, type RandomBytes } from '../keys/index.ts';

/** What a PKCS#12 file is to hold. */
export interface Pkcs12Options {
  readonly key: KeyObject;
  /** DER certificates, the key's own first. */
  readonly chain: readonly Uint8Array[];
  /** The name under which programs list the key. */
  readonly friendlyName: string;
  /** Printable ASCII: programs disagree about how others are encoded. */
  readonly password: string;
  /** DER certificates of authorities to be trusted, marked as Java wants it. */
  readonly authorities?: readonly Uint8Array[];
  readonly random?: RandomBytes;
}

/** What Java's keytool uses; with a password that stands beside the file, more rounds protect nothing more. */
const ITERATIONS = 10_000;
const SALT_BYTES = 16;
const IV_BYTES = 16;
/** Digest and block of SHA-256, and the purpose "integrity" of RFC 7292 appendix B. */
const BLOCK_BYTES = 64;
const FOR_MAC = 3;

const PRINTABLE = /^[\x20-\x7e]*$/;

/**
 * A PKCS#12 file (RFC 7292): key and certificates under PBES2 with AES-256-CBC and HMAC-SHA256 (RFC 8018), and a MAC
 * by HMAC-SHA256, which OpenSSL from 1.1, Java from 8u301 and Windows from 1709 read.
 */
export function createPkcs12(options: Pkcs12Options): Buffer {
  const { key, chain, friendlyName, password, authorities = [], random = randomBytes } = options;
  const [own, ...others] = chain;
  if (own === undefined) throw new TypeError('a PKCS#12 file needs the certificate of its key');
  if (!PRINTABLE.test(password)) {
    throw new InterlockError(
      'usage',
      'password',
      'the password of a PKCS#12 file is of printable ASCII characters',
    );
  }
  const keyId = attribute(OID.localKeyId, octetString(hash('sha1', Buffer.from(own), 'buffer')));
  const name = attribute(OID.friendlyName, bmpString(friendlyName));
  const certificates = sequence(
    certificateBag(own, [name, keyId]),
    ...others.map((der) => certificateBag(der, [])),
    ...authorities.map((der, i) =>
      certificateBag(der, [
        attribute(OID.friendlyName, bmpString(`${friendlyName}-authority-${i + 1}`)),
        attribute(OID.javaTrustedKeyUsage, oid(OID.anyExtendedKeyUsage)),
      ]),
    ),
  );
  const sealedKey = seal(exportPkcs8(key), password, random);
  const keys = sequence(
    bag(OID.shroudedKeyBag, sequence(sealedKey.algorithm, octetString(sealedKey.bytes)), [name, keyId]),
  );
  const safe = sequence(encryptedContent(seal(certificates, password, random)), dataContent(keys));
  return sequence(integer(3), dataContent(safe), macOf(safe, password, random));
}

function certificateBag(der: Uint8Array, attributes: readonly Buffer[]): Buffer {
  const value = sequence(oid(OID.x509CertificateBag), element(0xa0, octetString(der)));
  return bag(OID.certificateBag, value, attributes);
}

/** SafeBag (RFC 7292 section 4.2). */
function bag(type: string, value: Buffer, attributes: readonly Buffer[]): Buffer {
  return sequence(oid(type), element(0xa0, value), ...(attributes.length === 0 ? [] : [set(...attributes)]));
}

function attribute(type: string, value: Buffer): Buffer {
  return sequence(oid(type), set(value));
}

function bmpString(text: string): Buffer {
  return element(TAG.bmpString, Buffer.from(text, 'utf16le').swap16());
}

/** ContentInfo of type data (RFC 2315). */
function dataContent(bytes: Buffer): Buffer {
  return sequence(oid(OID.cmsData), element(0xa0, octetString(bytes)));
}

/** ContentInfo of type encryptedData (RFC 2315 section 13). */
function encryptedContent({ algorithm, bytes }: Sealed): Buffer {
  const content = sequence(oid(OID.cmsData), algorithm, element(0x80, bytes));
  return sequence(oid(OID.cmsEncryptedData), element(0xa0, sequence(integer(0), content)));
}

interface Sealed {
  /** AlgorithmIdentifier with its parameters. */
  readonly algorithm: Buffer;
  readonly bytes: Buffer;
}

/** PBES2 (RFC 8018 section 6.2). */
function seal(plain: Buffer, password: string, random: RandomBytes): Sealed {
  const salt = random(SALT_BYTES);
  const iv = random(IV_BYTES);
  const cipher = createCipheriv('aes-256-cbc', pbkdf2Sync(password, salt, ITERATIONS, 32, 'sha256'), iv);
  const derivation = sequence(octetString(salt), integer(ITERATIONS), sequence(oid(OID.hmacSha256), NULL));
  const algorithm = sequence(
    oid(OID.pbes2),
    sequence(sequence(oid(OID.pbkdf2), derivation), sequence(oid(OID.aes256Cbc), octetString(iv))),
  );
  return { algorithm, bytes: Buffer.concat([cipher.update(plain), cipher.final()]) };
}

/** MacData (RFC 7292 section 4). */
function macOf(safe: Buffer, password: string, random: RandomBytes): Buffer {
  const salt = random(SALT_BYTES);
  const mac = createHmac('sha256', macKey(password, salt)).update(safe).digest();
  const digest = sequence(sequence(oid(OID.sha256), NULL), octetString(mac));
  return sequence(digest, octetString(salt), integer(ITERATIONS));
}

/** RFC 7292 appendix B.2 for a key as long as one digest. */
function macKey(password: string, salt: Uint8Array): Buffer {
  const secret = Buffer.from(`${password}\0`, 'utf16le').swap16();
  const start = [Buffer.alloc(BLOCK_BYTES, FOR_MAC), repeated(salt), repeated(secret)];
  let digest: Buffer = hash('sha256', Buffer.concat(start), 'buffer');
  for (let i = 1; i < ITERATIONS; i++) digest = hash('sha256', digest, 'buffer');
  return digest;
}

/** Repeated to whole blocks. */
function repeated(bytes: Uint8Array): Buffer {
  return Buffer.alloc(Math.ceil(bytes.length / BLOCK_BYTES) * BLOCK_BYTES, bytes);
}
