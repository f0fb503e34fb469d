import { member } from '../bundle/json.ts';
import { JwtSvidError } from './fault.ts';
import type { JsonObject } from './token.ts';

/** How far clocks may be apart, in milliseconds; go-spiffe's verifier allows the same minute. */
export const DEFAULT_LEEWAY = 60_000;
/** The largest time that a Date can hold, in seconds (ECMA-262 section 21.4.1.1). */
const MAX_SECONDS = 8.64e12;

/**
 * `exp` is required and not reached; `nbf` and `iat`, where they stand, are not in the future (RFC 7519 sections
 * 4.1.4 to 4.1.6). Gives the expiry in milliseconds.
 */
export function checkTimes(claims: JsonObject, subject: string, now: number, leeway: number): number {
  const expiresAt = timeOf(claims, 'exp', subject);
  const notBefore = timeOf(claims, 'nbf', subject);
  const issuedAt = timeOf(claims, 'iat', subject);
  if (expiresAt === undefined) throw new JwtSvidError('no_expiry', subject, 'it has no "exp"');
  if (now >= expiresAt + leeway) {
    throw new JwtSvidError('expired', subject, `it expired ${seconds(now - expiresAt)} ago`);
  }
  if (notBefore !== undefined && now < notBefore - leeway) {
    const reason = `it is not valid for another ${seconds(notBefore - now)}`;
    throw new JwtSvidError('not_yet_valid', subject, reason);
  }
  if (issuedAt !== undefined && now < issuedAt - leeway) {
    const reason = `it was issued ${seconds(issuedAt - now)} in the future; check the clocks`;
    throw new JwtSvidError('issued_in_future', subject, reason);
  }
  return expiresAt;
}

/** `aud` is required, and holds one of the names that the verifier goes by (JWT-SVID.md section 3.2). */
export function checkAudience(
  claims: JsonObject,
  subject: string,
  accepted: string | readonly string[],
): void {
  const aud = member(claims, 'aud');
  const audiences: readonly unknown[] = Array.isArray(aud) ? aud : aud === undefined ? [] : [aud];
  if (audiences.length === 0) throw new JwtSvidError('no_audience', subject, 'it has no "aud"');
  if (audiences.some((audience) => typeof audience !== 'string')) {
    throw new JwtSvidError('no_audience', subject, 'its "aud" is neither a text nor a list of texts');
  }
  const names = typeof accepted === 'string' ? [accepted] : accepted;
  if (!names.some((name) => name !== '' && audiences.includes(name))) {
    throw new JwtSvidError('audience', subject, 'it is meant for another audience');
  }
}

/** A NumericDate (RFC 7519 section 2) in milliseconds; fractions of a second are allowed. */
function timeOf(claims: JsonObject, name: 'exp' | 'nbf' | 'iat', subject: string): number | undefined {
  const value = member(claims, name);
  if (value === undefined) return undefined;
  if (typeof value === 'number' && value >= 0 && value <= MAX_SECONDS) return value * 1000;
  throw new JwtSvidError('time', subject, `its "${name}" is not a time in seconds since 1970`);
}

function seconds(ms: number): string {
  return `${Math.ceil(ms / 1000)} s`;
}
