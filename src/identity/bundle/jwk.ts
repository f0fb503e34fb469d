import { createPublicKey, type KeyObject } from 'node:crypto';
import { InterlockError } from '../../access/index.ts';
import { member } from './json.ts';
import type { SkipReason } from './skipped.ts';
import { JWT_ALGORITHMS, type JwtAlgorithm, type JwtAuthority, type PublicJwk } from './types.ts';

/** Curves of RFC 7518 section 6.2.1.1: the algorithm each is for (section 3.4), and the octets of a coordinate. */
const CURVES = {
  'P-256': { algorithm: 'ES256', octets: 32 },
  'P-384': { algorithm: 'ES384', octets: 48 },
  'P-521': { algorithm: 'ES512', octets: 66 },
} as const;

/** RFC 7518 section 3.3 asks for 2048 bits at least; above 8192 a verification costs milliseconds. */
const RSA_BITS = { least: 2048, most: 8192 };
/** Public exponents up to 32 bits; 65537 is what everybody uses. */
const MAX_EXPONENT_OCTETS = 4;

/** A key read from a JWK, or why it cannot be used. */
export type ReadKey =
  | { readonly jwk: PublicJwk; readonly algorithm: JwtAlgorithm | undefined }
  | { readonly fault: SkipReason };

/** Reads the key of a JWK of outside origin: only the public members are kept, and OpenSSL has accepted the key. */
export function readPublicJwk(entry: Readonly<Record<string, unknown>>): ReadKey {
  const kty = member(entry, 'kty');
  if (kty !== 'EC' && kty !== 'RSA') return { fault: 'unknown_key_type' };
  if (member(entry, 'd') !== undefined) return { fault: 'private_key' };
  const key = kty === 'EC' ? readEc(entry) : readRsa(entry);
  if ('fault' in key) return key;
  const stated = member(entry, 'alg');
  if (stated === undefined) return isImportable(key.jwk) ? key : { fault: 'bad_key' };
  const algorithm = JWT_ALGORITHMS.find((known) => known === stated);
  if (algorithm === undefined || !fitsKey(algorithm, key.jwk)) return { fault: 'wrong_algorithm' };
  return isImportable(key.jwk) ? { jwk: key.jwk, algorithm } : { fault: 'bad_key' };
}

function readEc(entry: Readonly<Record<string, unknown>>): ReadKey {
  const crv = member(entry, 'crv');
  if (crv !== 'P-256' && crv !== 'P-384' && crv !== 'P-521') return { fault: 'unknown_key_type' };
  const { algorithm, octets } = CURVES[crv];
  const x = base64urlOf(member(entry, 'x'));
  const y = base64urlOf(member(entry, 'y'));
  if (x?.length !== octets || y?.length !== octets) return { fault: 'bad_key' };
  return { jwk: { kty: 'EC', crv, x: x.toString('base64url'), y: y.toString('base64url') }, algorithm };
}

function readRsa(entry: Readonly<Record<string, unknown>>): ReadKey {
  const n = base64urlOf(member(entry, 'n'));
  const e = base64urlOf(member(entry, 'e'));
  // RFC 7518 section 6.3.1: no leading zero octets.
  if (n === undefined || e === undefined || n[0] === 0 || e[0] === 0) return { fault: 'bad_key' };
  const bits = n.length * 8 - Math.clz32(n[0] ?? 0) + 24;
  if (bits < RSA_BITS.least || bits > RSA_BITS.most) return { fault: 'weak_key' };
  const last = e.at(-1) ?? 0;
  if (e.length > MAX_EXPONENT_OCTETS || last % 2 === 0 || (e.length === 1 && last === 1)) {
    return { fault: 'bad_key' };
  }
  const jwk = { kty: 'RSA', n: n.toString('base64url'), e: e.toString('base64url') } as const;
  return { jwk, algorithm: undefined };
}

/** The octets of canonical base64url text without padding, or undefined. */
function base64urlOf(value: unknown): Buffer | undefined {
  if (typeof value !== 'string' || value === '') return undefined;
  const octets = Buffer.from(value, 'base64url');
  return octets.toString('base64url') === value ? octets : undefined;
}

function isImportable(jwk: PublicJwk): boolean {
  try {
    createPublicKey({ key: { ...jwk }, format: 'jwk' });
    return true;
  } catch {
    // Most of all: a point that is not on its curve.
    return false;
  }
}

function fitsKey(algorithm: JwtAlgorithm, jwk: PublicJwk): boolean {
  if (jwk.kty === 'EC') return CURVES[jwk.crv].algorithm === algorithm;
  return algorithm.startsWith('RS') || algorithm.startsWith('PS');
}

/** Whether an authority can have made a signature of this algorithm. */
export function fitsAlgorithm(key: JwtAuthority, algorithm: JwtAlgorithm): boolean {
  return key.algorithm === undefined ? fitsKey(algorithm, key.jwk) : key.algorithm === algorithm;
}

/**
 * The authority to publish for a key that signs JWT-SVIDs: a key object, or its SubjectPublicKeyInfo in DER. Throws
 * `invalid_certificate` for a key that may not sign them.
 */
export function jwtAuthorityOf(keyId: string, key: KeyObject | Uint8Array): JwtAuthority {
  const read = readKeyObject(key);
  if (!('fault' in read)) return authority(keyId, read.algorithm, read.jwk);
  throw new InterlockError(
    'invalid_certificate',
    keyId,
    `key "${keyId}" cannot sign JWT-SVIDs: they need ECDSA on P-256, P-384 or P-521, or RSA of 2048 to 8192 bits`,
  );
}

function readKeyObject(key: KeyObject | Uint8Array): ReadKey {
  try {
    const jwk = publicHalf(key).export({ format: 'jwk' });
    return readPublicJwk({ ...jwk });
  } catch {
    return { fault: 'bad_key' };
  }
}

/** A JWT authority that has no `algorithm` member where the key may be used with several. */
export function authority(keyId: string, algorithm: JwtAlgorithm | undefined, jwk: PublicJwk): JwtAuthority {
  return algorithm === undefined ? { keyId, jwk } : { keyId, algorithm, jwk };
}

function publicHalf(key: KeyObject | Uint8Array): KeyObject {
  if (key instanceof Uint8Array)
    return createPublicKey({ key: Buffer.from(key), format: 'der', type: 'spki' });
  return key.type === 'private' ? createPublicKey(key) : key;
}

const imported = new WeakMap<PublicJwk, KeyObject>();

/** The key object of a JWT authority; imported once for each. */
export function publicKeyOf({ jwk }: JwtAuthority): KeyObject {
  let key = imported.get(jwk);
  if (key === undefined) {
    key = createPublicKey({ key: { ...jwk }, format: 'jwk' });
    imported.set(jwk, key);
  }
  return key;
}
