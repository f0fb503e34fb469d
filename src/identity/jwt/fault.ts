import { type ErrorCode, InterlockError } from '../../access/index.ts';

/** Why a JWT-SVID is refused, with the error code each has. */
export const JWT_FAULTS = {
  /** Not three canonical base64url parts, of which the first two are JSON objects. */
  malformed: 'invalid_token',
  /** Larger or deeper than is read. */
  too_large: 'limit',
  /** Five parts: an encrypted token, JWE. */
  encrypted: 'invalid_token',
  /** A header that JWT-SVID.md section 2 does not list, `crit` among them. */
  header: 'invalid_token',
  /** `alg` is none of section 2.1. */
  algorithm: 'invalid_token',
  /** `typ` is neither JWT nor JOSE. */
  type: 'invalid_token',
  /** `sub` is no SPIFFE ID. */
  subject: 'invalid_token',
  /** `aud` is missing, empty or not made of strings. */
  no_audience: 'invalid_token',
  /** `exp` is missing. */
  no_expiry: 'invalid_token',
  /** `exp`, `nbf` or `iat` is not a time. */
  time: 'invalid_token',
  /** No bundle, or one without JWT authorities, for the trust domain of `sub`. */
  no_bundle: 'untrusted',
  /** The bundle has no such key, or none that fits `alg`. */
  unknown_key: 'untrusted',
  /** The key did not sign this. */
  signature: 'untrusted',
  /** It is meant for others. */
  audience: 'untrusted',
  expired: 'untrusted',
  not_yet_valid: 'untrusted',
  issued_in_future: 'untrusted',
} as const satisfies Readonly<Record<string, ErrorCode>>;

export type JwtFault = keyof typeof JWT_FAULTS;

/** A JWT-SVID that is refused; `fault` says why. Neither the message nor the cause holds the token. */
export class JwtSvidError extends InterlockError {
  readonly fault: JwtFault;

  constructor(fault: JwtFault, subject: string, reason: string) {
    super(JWT_FAULTS[fault], subject, `the JWT-SVID is refused: ${reason}`);
    this.fault = fault;
  }
}
