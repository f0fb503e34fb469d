import type { InterlockError } from '../access/index.ts';
import { type Bundle, type Bundles, type Crl, parseCrl } from '../identity/index.ts';
import { interlockErrorOf } from './api-error.ts';
import { readJwtBundles, readX509Bundles } from './bundle-map.ts';
import { type ClientOptions, WorkloadApiClient } from './client.ts';
import { isLasting } from './lasting.ts';
import { Latest } from './latest.ts';

/** How a {@link BundleSource} is opened. */
export interface BundleSourceOptions extends ClientOptions {
  /** A client to share; without it the source makes, and closes, its own. */
  readonly client?: WorkloadApiClient | undefined;
  /** Ends the wait for the first update. */
  readonly signal?: AbortSignal | undefined;
  /** Which bundles are wanted; both where not said. An operator may have turned one kind off. */
  readonly kinds?: readonly ('x509' | 'jwt')[] | undefined;
  readonly onError?: ((error: InterlockError) => void) | undefined;
}

/** What verifiers need, at one moment. */
export interface BundleState {
  /** By bare trust domain name, with authorities of the kinds asked for. */
  readonly bundles: Bundles;
  readonly crls: readonly Crl[];
}

/** Whom to trust, without an identity of one's own: for verifiers, and for processes that only listen. */
export class BundleSource implements AsyncIterable<BundleState> {
  readonly #latest = new Latest<BundleState>();
  readonly #client: WorkloadApiClient;
  readonly #ownsClient: boolean;
  readonly #onError: (error: InterlockError) => void;
  readonly #watches: { close(): void }[] = [];
  readonly #kinds: ReadonlySet<'x509' | 'jwt'>;
  #x509: Bundles | undefined;
  #jwt: Bundles | undefined;
  #crls: readonly Crl[] = [];

  private constructor(options: BundleSourceOptions) {
    this.#ownsClient = options.client === undefined;
    this.#client = options.client ?? new WorkloadApiClient(options);
    this.#onError = options.onError ?? (() => {});
    this.#kinds = new Set(options.kinds ?? ['x509', 'jwt']);
    if (this.#kinds.has('x509')) this.#watchX509();
    if (this.#kinds.has('jwt')) this.#watchJwt();
  }

  /** Resolves when the first bundles of every kind asked for are there; rejects as {@link X509Source.open} does. */
  static async open(options: BundleSourceOptions = {}): Promise<BundleSource> {
    const source = new BundleSource(options);
    try {
      await source.#latest.first('the BundleSource', options.signal);
      return source;
    } catch (error) {
      source.close();
      throw error;
    }
  }

  get bundles(): Bundles {
    return this.#latest.current?.bundles ?? new Map();
  }

  get crls(): readonly Crl[] {
    return this.#crls;
  }

  onUpdate(listener: (state: BundleState) => void): () => void {
    return this.#latest.listen(listener);
  }

  [Symbol.asyncIterator](): AsyncIterator<BundleState, void, void> {
    return this.#latest.states();
  }

  close(): void {
    for (const watch of this.#watches) watch.close();
    if (this.#ownsClient) this.#client.close();
    this.#latest.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #watchX509(): void {
    const watch = this.#client.watchX509Bundles({
      onMessage: ({ bundles, crl }) => {
        const crls = crl.map((der) => parseCrl(der));
        this.#x509 = readX509Bundles(bundles, this.#x509, this.#onError);
        this.#crls = crls;
        this.#publish();
      },
      onError: (error) => this.#failed(error, this.#x509 !== undefined),
    });
    this.#watches.push(watch);
  }

  #watchJwt(): void {
    const watch = this.#client.watchJwtBundles({
      onMessage: ({ bundles }) => {
        this.#jwt = readJwtBundles(bundles, this.#jwt, this.#onError);
        this.#publish();
      },
      onError: (error) => this.#failed(error, this.#jwt !== undefined),
    });
    this.#watches.push(watch);
  }

  #failed(error: InterlockError, hasState: boolean): void {
    this.#onError(error);
    if (isLasting(error, hasState)) this.#latest.fail(error);
  }

  #publish(): void {
    if (this.#kinds.has('x509') && this.#x509 === undefined) return;
    if (this.#kinds.has('jwt') && this.#jwt === undefined) return;
    const state = { bundles: joined(this.#x509, this.#jwt), crls: this.#crls };
    this.#latest.set(state, (error) => this.#onError(interlockErrorOf('a listener', error)));
  }
}

/** Both kinds of authorities of each trust domain; a domain is never given another's. */
function joined(x509: Bundles | undefined, jwt: Bundles | undefined): Bundles {
  const bundles = new Map<string, Bundle>();
  for (const trustDomain of new Set([...(x509?.keys() ?? []), ...(jwt?.keys() ?? [])])) {
    bundles.set(trustDomain, {
      trustDomain,
      x509Authorities: x509?.get(trustDomain)?.x509Authorities ?? [],
      jwtAuthorities: jwt?.get(trustDomain)?.jwtAuthorities ?? [],
    });
  }
  return bundles;
}
