import { InterlockError, parseTrustDomain } from '../../access/index.ts';
import { readX509Authority } from './certificate-key.ts';
import { isObject, type JsonSubject, member, readJsonObject } from './json.ts';
import { authority, readPublicJwk } from './jwk.ts';
import { SKIP_REASONS, type SkippedKey, type SkipReason } from './skipped.ts';
import type { Bundle, JwtAuthority } from './types.ts';

/** Largest bundle document that is read; SPIRE's have a few kilobytes. */
export const MAX_BUNDLE_BYTES = 1024 * 1024;
/** Most entries in a bundle's `keys`. */
export const MAX_BUNDLE_KEYS = 512;
const MAX_DEPTH = 16;
const MAX_KEY_ID_LENGTH = 512;

/** Told about every entry that is left out. */
export type OnSkipped = (skipped: SkippedKey) => void;

/**
 * Reads a SPIFFE bundle (SPIFFE_Trust_Domain_and_Bundle.md section 4). What it must ignore, and single broken entries,
 * are left out and told to `onSkipped`. Throws `invalid_document` where `keys` is missing, a number is not one, or of
 * all entries that are ours none is usable: that is a fault of the publisher, and not trust withdrawn. Throws `limit`.
 */
export function parseBundle(json: string | Uint8Array, trustDomain: string, onSkipped?: OnSkipped): Bundle {
  const document = readDocument(json, trustDomain);
  const reader = new KeyReader(trustDomain, onSkipped);
  for (const [index, entry] of keysOf(document, trustDomain).entries()) {
    const use = isObject(entry) ? member(entry, 'use') : undefined;
    if (!isObject(entry)) reader.skip(index, 'not_an_object');
    else if (use === 'x509-svid') reader.addX509(index, entry);
    else if (use === 'jwt-svid') reader.addJwt(index, entry);
    else reader.skip(index, 'unknown_use');
  }
  const sequence = integerOf(document, 'spiffe_sequence', trustDomain);
  const refreshHint = integerOf(document, 'spiffe_refresh_hint', trustDomain);
  return {
    ...reader.finish(),
    ...(sequence === undefined ? {} : { sequence }),
    ...(refreshHint === undefined ? {} : { refreshHint }),
  };
}

/**
 * Reads the JWT bundle of the Workload API: a JWK Set whose entries have a `kid` and, as SPIRE sends them, no `use`.
 * Entries whose `use` is neither jwt-svid nor sig are left out. Errors as for {@link parseBundle}.
 */
export function parseJwtBundle(
  json: string | Uint8Array,
  trustDomain: string,
  onSkipped?: OnSkipped,
): Bundle {
  const reader = new KeyReader(trustDomain, onSkipped);
  for (const [index, entry] of keysOf(readDocument(json, trustDomain), trustDomain).entries()) {
    const use = isObject(entry) ? member(entry, 'use') : undefined;
    if (!isObject(entry)) reader.skip(index, 'not_an_object');
    else if (use === undefined || use === 'jwt-svid' || use === 'sig') reader.addJwt(index, entry);
    else reader.skip(index, 'unknown_use');
  }
  return reader.finish();
}

class KeyReader {
  readonly #trustDomain: string;
  readonly #onSkipped: OnSkipped | undefined;
  readonly #certificates = new Map<string, Buffer>();
  readonly #jwtAuthorities = new Map<string, JwtAuthority>();
  #faults: SkippedKey[] = [];

  constructor(trustDomain: string, onSkipped: OnSkipped | undefined) {
    this.#trustDomain = trustDomain;
    this.#onSkipped = onSkipped;
  }

  skip(index: number, reason: SkipReason): void {
    const skipped = { index, reason };
    if (!SKIP_REASONS[reason].foreign) this.#faults.push(skipped);
    this.#onSkipped?.(skipped);
  }

  addX509(index: number, entry: Readonly<Record<string, unknown>>): void {
    const read = readX509Authority(entry);
    if (typeof read === 'string') return this.skip(index, read);
    const id = read.toString('base64');
    if (this.#certificates.has(id)) return this.skip(index, 'duplicate');
    this.#certificates.set(id, read);
  }

  addJwt(index: number, entry: Readonly<Record<string, unknown>>): void {
    const keyId = member(entry, 'kid');
    if (typeof keyId !== 'string' || keyId === '' || keyId.length > MAX_KEY_ID_LENGTH) {
      return this.skip(index, 'no_key_id');
    }
    const read = readPublicJwk(entry);
    if ('fault' in read) return this.skip(index, read.fault);
    const held = this.#jwtAuthorities.get(keyId);
    if (held !== undefined) {
      const isSame = JSON.stringify(held.jwk) === JSON.stringify(read.jwk);
      return this.skip(index, isSame ? 'duplicate' : 'duplicate_key_id');
    }
    this.#jwtAuthorities.set(keyId, authority(keyId, read.algorithm, read.jwk));
  }

  finish(): Bundle {
    const [fault] = this.#faults;
    if (fault !== undefined && this.#certificates.size + this.#jwtAuthorities.size === 0) {
      throw new InterlockError(
        'invalid_document',
        this.#trustDomain,
        `the bundle of ${this.#trustDomain} has no usable authority and ${this.#faults.length} broken ` +
          `entries; entry ${fault.index + 1}: ${SKIP_REASONS[fault.reason].says}`,
      );
    }
    return {
      trustDomain: this.#trustDomain,
      x509Authorities: [...this.#certificates.values()],
      jwtAuthorities: [...this.#jwtAuthorities.values()],
    };
  }
}

function readDocument(json: string | Uint8Array, trustDomain: string): Readonly<Record<string, unknown>> {
  const name = parseTrustDomain(trustDomain);
  const about: JsonSubject = {
    code: 'invalid_document',
    subject: name,
    what: `the bundle of ${name}`,
    maxBytes: MAX_BUNDLE_BYTES,
    maxDepth: MAX_DEPTH,
  };
  return readJsonObject(json, about);
}

function keysOf(document: Readonly<Record<string, unknown>>, trustDomain: string): readonly unknown[] {
  const keys = member(document, 'keys');
  if (!Array.isArray(keys)) {
    throw new InterlockError(
      'invalid_document',
      trustDomain,
      `the bundle of ${trustDomain} has no "keys" array`,
    );
  }
  if (keys.length > MAX_BUNDLE_KEYS) {
    throw new InterlockError(
      'limit',
      trustDomain,
      `the bundle of ${trustDomain} has ${keys.length} keys; at most ${MAX_BUNDLE_KEYS} are read`,
    );
  }
  return keys;
}

/** A whole number, or undefined where the member is absent. Beyond 2^53 - 1 an order could not be told any more. */
function integerOf(
  document: Readonly<Record<string, unknown>>,
  name: string,
  trustDomain: string,
): number | undefined {
  const value = member(document, name);
  if (value === undefined) return undefined;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new InterlockError(
    'invalid_document',
    trustDomain,
    `the bundle of ${trustDomain} has a "${name}" that is not a whole number from 0 to 2^53 - 1`,
  );
}
