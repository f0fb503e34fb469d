import { createHash } from 'node:crypto';
import { type CompactJWSHeaderParameters, compactVerify, errors, type FlattenedJWSInput } from 'jose';
import { formatDuration, InterlockError, isInterlockError } from '../../access/index.ts';

/** Largest token, in characters; those of CI systems and clouds have 1 to 4 KiB. */
export const MAX_TOKEN_LENGTH = 16 * 1024;
/** How far two clocks may be apart, in milliseconds. */
export const CLOCK_LEEWAY = 60_000;

/** Asymmetric signatures of RFC 7518 section 3.1 and RFC 8037; never "none", never a shared secret. */
export const TOKEN_ALGORITHMS: readonly string[] = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
];

/** Finds the key that a token says it is signed by. Throws `unavailable` where keys cannot be had. */
export type KeyFinder = (
  header: CompactJWSHeaderParameters,
  token: FlattenedJWSInput,
) => Promise<CryptoKey | Uint8Array>;

/** What a token must say. */
export interface TokenTerms {
  /** Whose token it is, for messages. */
  readonly subject: string;
  readonly keys: KeyFinder;
  readonly issuer: string | undefined;
  readonly audience: string;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** Longest life that is accepted, milliseconds; undefined for any. */
  readonly longest?: number | undefined;
}

/** A token that was verified. */
export interface VerifiedToken {
  readonly claims: Readonly<Record<string, unknown>>;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
  /** Of issuer and signed part: the same for every form that the same token can be sent in (ECDSA has two). */
  readonly hash: string;
}

/** The token's claims, read from what the signature covers. Throws `invalid_token` or `untrusted` with the reason. */
export async function verifyToken(token: string, terms: TokenTerms): Promise<VerifiedToken> {
  const { subject } = terms;
  if (token.length > MAX_TOKEN_LENGTH)
    throw new InterlockError('limit', subject, `a token has at most ${MAX_TOKEN_LENGTH} characters`);
  const payload = await verifiedPayload(token, terms);
  const claims = objectOf(payload);
  if (claims === undefined) throw malformed(subject, 'its payload is no JSON object');
  if (terms.issuer !== undefined && claims['iss'] !== terms.issuer)
    throw refused(subject, `it is from ${quoted(claims['iss'])}, not from "${terms.issuer}"`);
  checkAudience(claims['aud'], terms);
  const expiresAt = checkTimes(claims, terms);
  const signed = token.slice(0, token.lastIndexOf('.'));
  const hash = createHash('sha256')
    .update(`${typeof claims['iss'] === 'string' ? claims['iss'] : ''}\n${signed}`)
    .digest('hex');
  return { claims, expiresAt, hash };
}

async function verifiedPayload(token: string, { subject, keys }: TokenTerms): Promise<Uint8Array> {
  try {
    const { payload, protectedHeader } = await compactVerify(token, keys, {
      algorithms: [...TOKEN_ALGORITHMS],
    });
    if (protectedHeader.crit !== undefined) throw malformed(subject, 'its header has "crit"');
    return payload;
  } catch (cause) {
    if (isInterlockError(cause)) throw cause;
    if (cause instanceof errors.JWSSignatureVerificationFailed)
      throw refused(subject, 'its signature is not of the issuer');
    if (cause instanceof errors.JWKSNoMatchingKey)
      throw refused(subject, 'it is signed by a key that the issuer does not have');
    if (cause instanceof errors.JOSEAlgNotAllowed)
      throw malformed(subject, `its algorithm is none of ${TOKEN_ALGORITHMS.join(', ')}`);
    // jose's own message may quote the token.
    throw new InterlockError('invalid_token', subject, 'the token is not accepted: it is no signed token', {
      cause,
    });
  }
}

/** The claims of a token that nobody has verified yet: good only for choosing by whom it is to be verified. */
export function unverifiedIssuer(token: string): string | undefined {
  const [, payload = ''] = token.length > MAX_TOKEN_LENGTH ? [] : token.split('.');
  const issuer = objectOf(Buffer.from(payload, 'base64url'))?.['iss'];
  return typeof issuer === 'string' ? issuer : undefined;
}

function objectOf(json: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    const data: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json));
    // Shown to be an object with text keys.
    if (typeof data === 'object' && data !== null && !Array.isArray(data))
      return data as Record<string, unknown>;
    return undefined;
  } catch {
    return undefined;
  }
}

function checkAudience(audience: unknown, { subject, audience: wanted }: TokenTerms): void {
  const list: readonly unknown[] = Array.isArray(audience) ? audience : [audience];
  if (!list.includes(wanted))
    throw refused(subject, `it is meant for ${list.slice(0, 4).map(quoted).join(', ')}, not for "${wanted}"`);
}

/** RFC 7519 sections 4.1.4 to 4.1.6, with the reason in terms of this server's clock. Gives the end in milliseconds. */
function checkTimes(
  claims: Readonly<Record<string, unknown>>,
  { subject, now, longest }: TokenTerms,
): number {
  const time = (name: string) => {
    const seconds = claims[name];
    if (seconds === undefined) return undefined;
    if (typeof seconds !== 'number' || !Number.isFinite(seconds) || Math.abs(seconds) > 8.64e12)
      throw malformed(subject, `its "${name}" is no time`);
    return seconds * 1000;
  };
  const end = time('exp');
  if (end === undefined) throw malformed(subject, 'it has no "exp": it would never end');
  if (now >= end + CLOCK_LEEWAY) throw refused(subject, `it expired ${distance(end, now)}`);
  const starts = [time('nbf'), time('iat')].filter((start) => start !== undefined);
  for (const start of starts)
    if (start > now + CLOCK_LEEWAY)
      throw refused(subject, `it is valid only from ${distance(start, now)}: compare the clocks`);
  if (longest !== undefined && end - Math.min(now, ...starts) > longest)
    throw refused(subject, `it lives longer than ${formatDuration(longest)}`);
  return end;
}

/** `2026-11-21T05:00:00.000Z, 5m ago by this server's clock`. */
function distance(at: number, now: number): string {
  const apart = formatDuration(Math.abs(at - now));
  return `${new Date(at).toISOString()}, ${at < now ? `${apart} ago` : `in ${apart}`} by this server's clock`;
}

function quoted(value: unknown): string {
  return typeof value === 'string' ? `"${value.slice(0, 120)}"` : 'nobody';
}

function malformed(subject: string, reason: string): InterlockError {
  return new InterlockError('invalid_token', subject, `the token is not accepted: ${reason}`);
}

function refused(subject: string, reason: string): InterlockError {
  return new InterlockError('untrusted', subject, `the token is not accepted: ${reason}`);
}

/** Where used tokens are remembered. */
export interface UsedTokens {
  /** Remembers a token until it expires; false if it was remembered already, also where two come at once. */
  useToken(hash: string, until: number, now: number): Promise<boolean>;
}

/** Takes a token that may be used once. Throws `untrusted` for its second use. */
export async function takeOnce(
  used: UsedTokens,
  token: VerifiedToken,
  subject: string,
  now: number,
): Promise<void> {
  if (await used.useToken(token.hash, token.expiresAt + CLOCK_LEEWAY, now)) return;
  throw refused(subject, 'it was used already, and each is taken once: get a new one');
}
