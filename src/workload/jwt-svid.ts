import { decodeJwt, decodeProtectedHeader, type JWTPayload } from 'jose';
import { InterlockError, parseSpiffeId, type SpiffeId } from '../access/index.ts';
import { MAX_JWT_BYTES } from '../identity/index.ts';
import type { JWTSVID } from '../proto/index.ts';

/** A token of this workload's own. */
export interface JwtSvid {
  readonly spiffeId: SpiffeId;
  /** The compact token: a secret until it expires. */
  readonly token: string;
  readonly audience: readonly string[];
  /** Milliseconds since 1970. */
  readonly issuedAt: number;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
  readonly hint: string;
  /** Which of the bundle's keys signed it. */
  readonly keyId: string | undefined;
}

/**
 * Reads a token that the agent issued to this workload, without verifying its signature: who receives it does that. A
 * token that is for others, for another audience, or expired is refused. Throws `invalid_token`.
 */
export function readOwnJwtSvid(svid: JWTSVID, audience: readonly string[], now: number): JwtSvid {
  const spiffeId = parseSpiffeId(svid.spiffeId);
  const { claims, keyId } = contentOf(svid.svid, spiffeId);
  const { sub, exp, iat } = claims;
  const aud = Array.isArray(claims.aud) ? claims.aud : claims.aud === undefined ? [] : [claims.aud];
  if (sub !== spiffeId) throw bad(spiffeId, 'its subject is another identity');
  const missing = audience.find((name) => !aud.includes(name));
  if (missing !== undefined) throw bad(spiffeId, `it is not for the audience "${missing}"`);
  if (exp === undefined) throw bad(spiffeId, 'it never expires');
  if (exp * 1000 <= now) throw bad(spiffeId, 'it has expired');
  // JWT-SVID.md does not require "iat"; without it the life left counts as the whole.
  const issuedAt = Math.min(iat === undefined ? now : iat * 1000, now);
  const expiresAt = exp * 1000;
  return { spiffeId, token: svid.svid, audience: aud, issuedAt, expiresAt, hint: svid.hint, keyId };
}

function contentOf(token: string, subject: string): { claims: JWTPayload; keyId: string | undefined } {
  if (token.length > MAX_JWT_BYTES) throw bad(subject, `it is larger than ${MAX_JWT_BYTES} bytes`);
  try {
    return { claims: decodeJwt(token), keyId: decodeProtectedHeader(token).kid };
  } catch {
    // The cause may quote the token.
    throw bad(subject, 'it is no JWT');
  }
}

function bad(subject: string, why: string): InterlockError {
  return new InterlockError(
    'invalid_token',
    subject,
    `the token that the agent gave for ${subject} is refused: ${why}`,
  );
}
