import { createHash, timingSafeEqual } from 'node:crypto';
import { InterlockError } from '../../access/index.ts';
import type { RandomBytes } from '../keys/index.ts';
import { type Claim, claimsOf } from '../registration/index.ts';
import type { Attested, AttestContext, NodeAttestor } from './attestor.ts';

/** A join token as it is kept. */
export interface JoinToken {
  /** SHA-256 of the token, hex. */
  readonly hash: string;
  /** The agent's name below /interlock/agent/join_token/. */
  readonly agent: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
  readonly attributes?: unknown;
}

/** Where join tokens are kept. */
export interface JoinTokens {
  /** Takes the token away: its record to one caller, once, and undefined to everyone else, also of two at once. */
  takeJoinToken(hash: string): Promise<JoinToken | undefined>;
}

/** `ijt_`, 32 random bytes in base64url, and after a "." the beginning of the SHA-256 of the root's key. */
const TOKEN = /^(ijt_[A-Za-z0-9_-]{43})(?:\.([0-9a-f]{32}))?$/;
const PIN_DIGITS = 32;

/** A new token to hand out, and the hash to keep. `rootSpki`: the root certificate's SubjectPublicKeyInfo, DER. */
export function createJoinToken(random: RandomBytes, rootSpki: Uint8Array): { token: string; hash: string } {
  const secret = `ijt_${Buffer.from(random(32)).toString('base64url')}`;
  return { token: `${secret}.${pinOf(rootSpki)}`, hash: sha256(secret) };
}

/** What a token's pin must be for an authority with this key (SubjectPublicKeyInfo, DER). */
export function pinOf(spki: Uint8Array): string {
  return sha256(spki).slice(0, PIN_DIGITS);
}

/** The parts of a token as an agent gets it. Throws `invalid_token`, which does not repeat the token. */
export function readJoinToken(token: string): { secret: string; pin: string | undefined } {
  const match = TOKEN.exec(token);
  if (match === null)
    throw new InterlockError(
      'invalid_token',
      'join token',
      'this is no join token: it begins with "ijt_" and comes from the control plane',
    );
  return { secret: match[1] ?? '', pin: match[2] };
}

/** Whether an authority's key is the one that the token was made under. */
export function matchesPin(spki: Uint8Array, pin: string): boolean {
  const found = Buffer.from(pinOf(spki));
  const wanted = Buffer.from(pin);
  return found.length === wanted.length && timingSafeEqual(found, wanted);
}

/** Attests a node by a token that was handed to it and that is taken away at its first use, right or wrong. */
export class JoinTokenAttestor implements NodeAttestor {
  readonly name = 'join_token';
  readonly #tokens: JoinTokens;

  constructor(tokens: JoinTokens) {
    this.#tokens = tokens;
  }

  async attest(payload: Uint8Array, { now }: AttestContext): Promise<Attested> {
    const text = payload.byteLength > 256 ? '' : Buffer.from(payload).toString('latin1');
    const hash = sha256(readJoinToken(text).secret);
    const token = await this.#tokens.takeJoinToken(hash);
    if (token === undefined || !timingSafeEqual(Buffer.from(sha256(hash)), Buffer.from(sha256(token.hash))))
      throw refused('it was used already, was withdrawn, or was never made here');
    if (!(now < token.expiresAt)) throw refused(`it expired at ${new Date(token.expiresAt).toISOString()}`);
    return {
      name: token.agent,
      selectors: [],
      claims: attributesOf(token.attributes),
      reattestable: false,
    };
  }
}

function attributesOf(attributes: unknown): Readonly<Record<string, Claim>> {
  if (typeof attributes !== 'object' || attributes === null || Array.isArray(attributes)) return {};
  return claimsOf({ ...attributes });
}

function refused(reason: string): InterlockError {
  return new InterlockError(
    'untrusted',
    'join token',
    `this join token is not accepted: ${reason}. Make a new one`,
  );
}

function sha256(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}
