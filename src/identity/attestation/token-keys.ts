import { createLocalJWKSet, type JSONWebKeySet } from 'jose';
import { InterlockError } from '../../access/index.ts';
import type { KeyFinder } from './token-evidence.ts';

/** Gets a document by its address; follows no redirects, waits for a bounded time. Throws where there is none. */
export type FetchText = (url: string) => Promise<string>;

/** Largest document of an issuer, in characters, and most keys in one. */
const MAX_DOCUMENT = 1024 * 1024;
const MAX_KEYS = 256;

/** How long keys are used before they are asked for again, and how long they are used when nobody answers. */
const FRESH = 10 * 60_000;
const STALE = 24 * 3_600_000;
/** A token with an unknown key makes us ask again, but no more often than this. */
const LEAST_PAUSE = 30_000;

/** The keys of an issuer that are given, not fetched. Throws `invalid_document`. */
export function givenKeys(jwks: unknown, issuer: string): KeyFinder {
  return finderOf(keySetOf(jwks, issuer));
}

function finderOf(keys: JSONWebKeySet): KeyFinder {
  const find = createLocalJWKSet(keys);
  return (header, token) => find(header, token);
}

/** The keys of an issuer, asked for when they are needed, kept, and asked for again when a token names a new one. */
export class FetchedKeys {
  readonly #load: () => Promise<unknown>;
  readonly #issuer: string;
  readonly #now: () => number;
  #keys: KeyFinder | undefined;
  #loadedAt = Number.NEGATIVE_INFINITY;
  #askedAt = Number.NEGATIVE_INFINITY;
  #asking: Promise<void> | undefined;

  /** `load` gives the JWKS document as plain data; `now` milliseconds. */
  constructor(issuer: string, load: () => Promise<unknown>, now: () => number) {
    this.#issuer = issuer;
    this.#load = load;
    this.#now = now;
  }

  readonly find: KeyFinder = async (header, token) => {
    if (this.#now() - this.#loadedAt > FRESH) await this.#refresh();
    const known = await this.#lookUp(header, token);
    if (known !== undefined) return known;
    await this.#refresh();
    return this.#current()(header, token);
  };

  async #lookUp(...asked: Parameters<KeyFinder>): Promise<Awaited<ReturnType<KeyFinder>> | undefined> {
    try {
      return await this.#current()(...asked);
    } catch (error) {
      if (error instanceof InterlockError) throw error;
      return undefined;
    }
  }

  #current(): KeyFinder {
    if (this.#keys !== undefined && this.#now() - this.#loadedAt <= STALE) return this.#keys;
    throw new InterlockError('unavailable', this.#issuer, `the keys of ${this.#issuer} cannot be had`);
  }

  /** One question for all who wait; a failure leaves the keys that there are. */
  async #refresh(): Promise<void> {
    if (this.#asking !== undefined) return this.#asking;
    if (this.#now() - this.#askedAt < LEAST_PAUSE) return;
    this.#askedAt = this.#now();
    this.#asking = this.#ask().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #ask(): Promise<void> {
    try {
      this.#keys = givenKeys(await this.#load(), this.#issuer);
      this.#loadedAt = this.#now();
    } catch (cause) {
      // With keys at hand, an issuer that does not answer is no reason to refuse its tokens.
      if (this.#keys !== undefined && this.#now() - this.#loadedAt <= STALE) return;
      // Why is for the log: whoever asks is not known yet.
      throw new InterlockError('unavailable', this.#issuer, `the keys of ${this.#issuer} cannot be had`, {
        cause,
      });
    }
  }
}

/** Loads an issuer's keys by OpenID Connect Discovery 1.0 (section 4). */
export function discovery(issuer: string, fetchText: FetchText): () => Promise<unknown> {
  return async () => {
    const document = jsonOf(await fetchText(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`));
    if (typeof document !== 'object' || document === null || !('issuer' in document))
      throw refused(issuer, 'its discovery document names no issuer');
    // Section 4.3: both must be the same, or one issuer could speak for another.
    if (document.issuer !== issuer) throw refused(issuer, 'its discovery document names another issuer');
    const address = 'jwks_uri' in document ? document.jwks_uri : undefined;
    if (typeof address !== 'string' || !isSafeAddress(address))
      throw refused(issuer, 'its "jwks_uri" is no https address');
    return jsonOf(await fetchText(address));
  };
}

/** Whether keys may come from there: by https, or from this machine. */
export function isSafeAddress(address: string): boolean {
  if (!URL.canParse(address)) return false;
  const { protocol, hostname, username, hash } = new URL(address);
  if (username !== '' || hash !== '') return false;
  return (
    protocol === 'https:' || (protocol === 'http:' && /^(localhost|127\.0\.0\.1|\[::1\])$/.test(hostname))
  );
}

function jsonOf(text: string): unknown {
  if (text.length > MAX_DOCUMENT)
    throw new InterlockError(
      'limit',
      'issuer',
      `a document of an issuer has at most ${MAX_DOCUMENT} characters`,
    );
  return JSON.parse(text);
}

/** The signing keys of a JWKS: what is for encryption, symmetric or private is left out. */
function keySetOf(jwks: unknown, issuer: string): JSONWebKeySet {
  const keys: unknown = typeof jwks === 'object' && jwks !== null && 'keys' in jwks ? jwks.keys : undefined;
  if (!Array.isArray(keys) || keys.length > MAX_KEYS) throw refused(issuer, 'its keys are no JWKS');
  return {
    keys: keys.filter(
      (key: unknown) =>
        typeof key === 'object' &&
        key !== null &&
        'kty' in key &&
        (key.kty === 'RSA' || key.kty === 'EC' || key.kty === 'OKP') &&
        !('d' in key) &&
        !('use' in key && key.use !== 'sig'),
    ),
  };
}

function refused(issuer: string, reason: string): InterlockError {
  return new InterlockError('invalid_document', issuer, `${issuer} cannot be used as an issuer: ${reason}`);
}
