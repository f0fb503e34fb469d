import { InterlockError, type SpiffeId, trustDomainOf } from '../access/index.ts';
import { type Bundle, type Bundles, type VerifiedJwtSvid, verifyJwtSvid } from '../identity/index.ts';
import { interlockErrorOf } from './api-error.ts';
import { readJwtBundles } from './bundle-map.ts';
import { type ClientOptions, WorkloadApiClient } from './client.ts';
import { type Clock, systemClock } from './clock.ts';
import { JwtCache } from './jwt-cache.ts';
import { type JwtSvid, readOwnJwtSvid } from './jwt-svid.ts';
import { isLasting } from './lasting.ts';
import { Latest } from './latest.ts';

/** How a {@link JwtSource} is opened. */
export interface JwtSourceOptions extends ClientOptions {
  /** A client to share; without it the source makes, and closes, its own. */
  readonly client?: WorkloadApiClient | undefined;
  /** Ends the wait for the first update. */
  readonly signal?: AbortSignal | undefined;
  /** Why there are no newer bundles, or why a token could not be renewed before its time. */
  readonly onError?: ((error: InterlockError) => void) | undefined;
}

/** Tokens for this workload, and the bundles that judge the tokens of others. */
export class JwtSource {
  readonly #latest = new Latest<Bundles>();
  readonly #client: WorkloadApiClient;
  readonly #ownsClient: boolean;
  readonly #clock: Clock;
  readonly #onError: (error: InterlockError) => void;
  readonly #watch: { close(): void };
  readonly #cache = new JwtCache();
  readonly #asked = new Map<string, Promise<JwtSvid>>();
  /** What is asked for before the tokens are renewed all at once is not fresh when it comes. */
  #round = 0;

  private constructor(options: JwtSourceOptions) {
    this.#ownsClient = options.client === undefined;
    this.#client = options.client ?? new WorkloadApiClient(options);
    this.#clock = options.clock ?? systemClock;
    this.#onError = options.onError ?? (() => {});
    this.#watch = this.#client.watchJwtBundles({
      onMessage: ({ bundles }) => {
        const state = readJwtBundles(bundles, this.#latest.current, this.#onError);
        this.#takeKeys(state);
        this.#latest.set(state, (error) => this.#onError(interlockErrorOf('a listener', error)));
      },
      onError: (error) => {
        this.#onError(error);
        if (isLasting(error, this.#latest.current !== undefined)) this.#latest.fail(error);
      },
    });
  }

  /** Resolves when the first bundles are there; rejects as {@link X509Source.open} does. */
  static async open(options: JwtSourceOptions = {}): Promise<JwtSource> {
    const source = new JwtSource(options);
    try {
      await source.#latest.first('the JwtSource', options.signal);
      return source;
    } catch (error) {
      source.close();
      throw error;
    }
  }

  /** JWT authorities by bare trust domain name. */
  get bundles(): Bundles {
    return this.#latest.current ?? new Map();
  }

  onUpdate(listener: (bundles: Bundles) => void): () => void {
    return this.#latest.listen(listener);
  }

  /**
   * A token for one or several audiences, as the workload's first identity or as `subject`. Kept and given out again
   * until half of its life is over; after that a new one, or where the agent does not answer, the old one to its end.
   * One whose key left the bundle is not given out again.
   */
  async fetchJwtSvid(audience: string | readonly string[], subject?: SpiffeId): Promise<JwtSvid> {
    const names = [...new Set(typeof audience === 'string' ? [audience] : audience)].toSorted();
    if (names.length === 0 || names.includes('')) {
      throw new InterlockError('usage', 'audience', 'a JWT-SVID needs an audience: name who shall accept it');
    }
    const key = JSON.stringify([subject ?? '', ...names]);
    const now = this.#clock.now();
    const held = this.#cache.get(key, now);
    if (held !== undefined && now < held.freshUntil) return held.svid;
    try {
      return await this.#ask(key, names, subject);
    } catch (error) {
      const kept = this.#cache.get(key, this.#clock.now())?.svid;
      if (kept === undefined) throw error;
      this.#onError(interlockErrorOf(kept.spiffeId, error));
      return kept;
    }
  }

  /**
   * Has every token asked for anew when it is wanted next, and not only at half of its life. To be called when the
   * workload's X509-SVID was replaced: the authority that signed both may be relied on no more.
   */
  renewAll(): void {
    this.#round += 1;
    this.#asked.clear();
    this.#cache.age();
  }

  /** Judges a token of another by the bundles held here; nothing is asked of the agent. Throws as `verifyJwtSvid`. */
  async validate(token: string, audience: string | readonly string[]): Promise<VerifiedJwtSvid> {
    return await verifyJwtSvid(token, { bundles: this.bundles, audience, now: this.#clock.now() });
  }

  close(): void {
    this.#watch.close();
    if (this.#ownsClient) this.#client.close();
    this.#latest.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** One question at a time for the same token, however many want it. */
  #ask(key: string, audience: readonly string[], subject: SpiffeId | undefined): Promise<JwtSvid> {
    const asked = this.#asked.get(key);
    if (asked !== undefined) return asked;
    const answer = this.#fetch(key, audience, subject).finally(() => {
      if (this.#asked.get(key) === answer) this.#asked.delete(key);
    });
    this.#asked.set(key, answer);
    return answer;
  }

  /** Tokens of keys that are gone are accepted nowhere any more. */
  #takeKeys(bundles: Bundles): void {
    const before = this.#latest.current;
    if (before === undefined || !lostKeys(before, bundles)) return;
    this.#round += 1;
    this.#asked.clear();
    this.#cache.drop(({ spiffeId, keyId }) => !hasKey(bundles.get(trustDomainOf(spiffeId)), keyId));
  }

  async #fetch(key: string, audience: readonly string[], subject: SpiffeId | undefined): Promise<JwtSvid> {
    const round = this.#round;
    const [first] = await this.#client.fetchJwtSvids(audience, { subject });
    if (first === undefined) {
      throw new InterlockError('not_found', 'JWT-SVID', 'the Workload API answered without a JWT-SVID');
    }
    const svid = readOwnJwtSvid(first, audience, this.#clock.now());
    if (subject !== undefined && svid.spiffeId !== subject) {
      throw new InterlockError(
        'invalid_token',
        subject,
        `asked for a token of ${subject}, the agent gave one of ${svid.spiffeId}`,
      );
    }
    // Of a round that is over: the caller gets it, and who asks next something newer.
    if (round === this.#round) this.#cache.set(key, { svid, freshUntil: renewAt(svid) });
    return svid;
  }
}

function lostKeys(before: Bundles, now: Bundles): boolean {
  return [...before].some(([trustDomain, { jwtAuthorities }]) =>
    jwtAuthorities.some(({ keyId }) => !hasKey(now.get(trustDomain), keyId)),
  );
}

function hasKey(bundle: Bundle | undefined, keyId: string | undefined): boolean {
  return bundle?.jwtAuthorities.some((authority) => authority.keyId === keyId) === true;
}

/** When half of a token's life is over, in milliseconds since 1970. */
export function renewAt({ issuedAt, expiresAt }: JwtSvid): number {
  return issuedAt + (expiresAt - issuedAt) / 2;
}
