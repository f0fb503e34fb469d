import { InterlockError, type SpiffeId } from '../../access/index.ts';
import { KEY_ALGORITHMS, type RandomBytes, type Signer } from '../keys/index.ts';
import { MAX_JWT_BYTES } from './token.ts';

/** A JWT-SVID to make. */
export interface JwtSvidRequest {
  readonly spiffeId: SpiffeId;
  /** Who may accept it; at least one, and better not more (JWT-SVID.md section 3.2). */
  readonly audience: readonly string[];
  /** Milliseconds since 1970. */
  readonly now: number;
  /** How long it is valid, in milliseconds; cut to whole seconds. */
  readonly ttl: number;
  readonly signer: Signer;
  /** The `kid` under which the signer's key stands in the bundle. */
  readonly keyId: string;
  /** The `iss`, for relying parties that find the keys by OpenID Connect discovery. */
  readonly issuer?: string | undefined;
  /** The `jti`: see {@link newTokenId}. */
  readonly id: string;
}

/** The octets of one half of an ECDSA signature (RFC 7518 section 3.4). */
const HALF = { ES256: 32, ES384: 48 } as const;

/**
 * Makes a JWT-SVID as a compact JWS. Throws `invalid_token` for what a verifier would refuse: no audience, no whole
 * second of life, a key whose algorithm JWT-SVIDs cannot have; and for one larger than is read.
 */
export function signJwtSvid(request: JwtSvidRequest): string {
  const { spiffeId, audience, signer, keyId } = request;
  const { jwt: alg, label } = KEY_ALGORITHMS[signer.algorithm];
  if (alg === undefined) throw refused(spiffeId, `the standard has no algorithm for ${label} keys`);
  if (audience.length === 0 || audience.includes('')) throw refused(spiffeId, 'it needs an audience');
  const issuedAt = Math.floor(request.now / 1000);
  const expiresAt = Math.floor((request.now + request.ttl) / 1000);
  if (!(expiresAt > issuedAt)) throw refused(spiffeId, 'it would expire at once');
  const claims = {
    sub: spiffeId,
    aud: audience,
    exp: expiresAt,
    iat: issuedAt,
    jti: request.id,
    iss: request.issuer,
  };
  const input = `${segment({ alg, kid: keyId, typ: 'JWT' })}.${segment(claims)}`;
  const raw = rawSignature(signer.sign(Buffer.from(input, 'latin1')), HALF[alg]);
  const token = `${input}.${raw.toString('base64url')}`;
  if (token.length > MAX_JWT_BYTES) throw refused(spiffeId, `it would be larger than ${MAX_JWT_BYTES} bytes`);
  return token;
}

/** A `jti` of 128 random bits: no two are the same. */
export function newTokenId(random: RandomBytes): string {
  return Buffer.from(random(16)).toString('base64url');
}

function segment(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

/** ECDSA-Sig-Value (RFC 3279 section 2.2.3) to the two numbers one behind the other (RFC 7518 section 3.4). */
function rawSignature(der: Uint8Array, octets: number): Buffer {
  const raw = Buffer.alloc(2 * octets);
  let at = 2;
  for (const end of [octets, 2 * octets]) {
    const length = der[at + 1] ?? 0;
    const number = der.subarray(at + 2, at + 2 + length);
    // A leading zero octet keeps the number positive in DER; it is not part of the number.
    const digits = number[0] === 0 ? number.subarray(1) : number;
    raw.set(digits, end - digits.length);
    at += 2 + length;
  }
  return raw;
}

function refused(spiffeId: SpiffeId, reason: string): InterlockError {
  return new InterlockError('invalid_token', spiffeId, `no JWT-SVID for ${spiffeId}: ${reason}`);
}
