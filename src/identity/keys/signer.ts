import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign as signBytes,
} from 'node:crypto';
import { InterlockError } from '../../access/index.ts';
import { KEY_ALGORITHMS, type KeyAlgorithm } from './algorithms.ts';
import { keyIdOf, rowOfSpki } from './public-key.ts';

/** Gives so many unpredictable bytes, the caller's to keep and change: randomBytes of node:crypto, or a test's own. */
export type RandomBytes = (size: number) => Uint8Array;

/** Random bytes taken from the source at once. */
const POOL_BYTES = 8 * 1024;

/** The same source asked for many wants at a time: a call for a few bytes costs as much as one for thousands. */
export function pooledRandom(random: RandomBytes): RandomBytes {
  let pool: Uint8Array = new Uint8Array(0);
  let at = 0;
  return (size) => {
    if (size > POOL_BYTES) return random(size);
    if (at + size > pool.length) {
      pool = random(POOL_BYTES);
      at = 0;
    }
    // A copy, which slice() of a Buffer is not: what was handed out is gone from the pool.
    const taken = new Uint8Array(pool.subarray(at, at + size));
    pool.fill(0, at, (at += size));
    return taken;
  };
}

/** A private key that signs and never shows itself: in memory, or behind a device. */
export interface Signer {
  readonly algorithm: KeyAlgorithm;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Buffer;
  /** Hex SHA-1 of the key's bits, as in SubjectKeyIdentifier (RFC 5280 section 4.2.1.2, method 1). */
  readonly keyId: string;
  /** The signature over `data` in the form that X.509 carries (ECDSA: DER). */
  sign(data: Uint8Array): Buffer;
}

/** A new private key. */
export function generateKey(algorithm: KeyAlgorithm): KeyObject {
  const row = KEY_ALGORITHMS[algorithm];
  if (row.nodeType === 'ec')
    return generateKeyPairSync('ec', { namedCurve: row.namedCurve ?? '' }).privateKey;
  if (row.nodeType === 'ed25519') return generateKeyPairSync('ed25519').privateKey;
  return generateKeyPairSync('ml-dsa-65').privateKey;
}

/** The SubjectPublicKeyInfo of a private or public key, DER. */
export function spkiOf(key: KeyObject): Buffer {
  return (key.type === 'private' ? createPublicKey(key) : key).export({ type: 'spki', format: 'der' });
}

/** A signer over a private key in memory. Throws `invalid_certificate` for a kind of key that is not in the table. */
export function signerOf(privateKey: KeyObject): Signer {
  const spki = spkiOf(privateKey);
  const row = rowOfSpki(spki);
  if (row === undefined) {
    const labels = Object.values(KEY_ALGORITHMS).map(({ label }) => label);
    throw new InterlockError(
      'invalid_certificate',
      'key',
      `a key of type ${privateKey.asymmetricKeyType ?? 'unknown'} cannot sign here; use one of ${labels.join(', ')}`,
    );
  }
  const { algorithm, hash } = row;
  return { algorithm, spki, keyId: keyIdOf(spki), sign: (data) => signBytes(hash, data, privateKey) };
}

/** The private key as PKCS#8 DER (RFC 5958), not encrypted: to be handed to its owner or sealed by the caller. */
export function exportPkcs8(key: KeyObject): Buffer {
  return key.export({ type: 'pkcs8', format: 'der' });
}

/** The largest private key read: an RSA key of 8192 bits has 4.7 KiB. */
const MAX_KEY_BYTES = 16 * 1024;

/** Reads a private key from PKCS#8 DER. Throws `invalid_certificate`, which says nothing of the bytes. */
export function importPkcs8(der: Uint8Array): KeyObject {
  try {
    if (der.length > MAX_KEY_BYTES) throw new RangeError('too long');
    return createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' });
  } catch {
    // The cause may quote the key: it goes nowhere.
    throw new InterlockError('invalid_certificate', 'key', 'the private key is no PKCS#8 that can be read');
  }
}
