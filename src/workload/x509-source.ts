import type { InterlockError } from '../access/index.ts';
import type { Bundles, Crl } from '../identity/index.ts';
import { interlockErrorOf } from './api-error.ts';
import { type ClientOptions, WorkloadApiClient } from './client.ts';
import { systemClock } from './clock.ts';
import { Latest } from './latest.ts';
import { isLasting } from './lasting.ts';
import type { X509State, X509Svid, X509View } from './x509-state.ts';
import { type PickSvid, readX509Update } from './x509-update.ts';

/** How an {@link X509Source} is opened. */
export interface X509SourceOptions extends ClientOptions {
  /** A client to share; without it the source makes, and closes, its own. */
  readonly client?: WorkloadApiClient | undefined;
  /** Ends the wait for the first update. */
  readonly signal?: AbortSignal | undefined;
  readonly pick?: PickSvid | undefined;
  /** Why there is no newer state, or why one was refused. The last good one stays. */
  readonly onError?: ((error: InterlockError) => void) | undefined;
}

/** The X.509 identities of this process, kept up to date by the Workload API. */
export class X509Source implements X509View, AsyncIterable<X509State> {
  readonly #latest = new Latest<X509State>();
  readonly #client: WorkloadApiClient;
  readonly #ownsClient: boolean;
  readonly #onError: (error: InterlockError) => void;
  readonly #watch: { close(): void };
  #lastError: InterlockError | undefined;

  private constructor(options: X509SourceOptions) {
    this.#ownsClient = options.client === undefined;
    this.#client = options.client ?? new WorkloadApiClient(options);
    this.#onError = options.onError ?? (() => {});
    const clock = options.clock ?? systemClock;
    const pick = options.pick ?? (([first]) => first);
    this.#watch = this.#client.watchX509Svids({
      onMessage: (response) => {
        const previous = this.#latest.current;
        const onFault = (error: InterlockError) => this.#tell(error);
        const state = readX509Update(response, { now: clock.now(), pick, previous, onFault });
        this.#lastError = undefined;
        this.#latest.set(state, (error) => this.#tell(interlockErrorOf('a listener', error)));
      },
      onError: (error) => {
        this.#tell(error);
        if (isLasting(error, this.#latest.current !== undefined)) this.#latest.fail(error);
      },
    });
  }

  /**
   * Resolves at the first good update, however long that takes: bound it with `signal`. Rejects at once with `usage`
   * where the endpoint is malformed or the agent calls the request so, and with `not_found` where it has no X.509.
   */
  static async open(options: X509SourceOptions = {}): Promise<X509Source> {
    const source = new X509Source(options);
    try {
      await source.#latest.first('the X509Source', options.signal);
      return source;
    } catch (error) {
      source.close();
      throw error;
    }
  }

  /** The newest complete state. */
  get state(): X509State {
    const state = this.#latest.current;
    // open() gives the source out only after its first state.
    if (state === undefined) throw new TypeError('the X509Source has no state yet');
    return state;
  }

  /** The identity to act with now. It may have expired, where the agent has not answered for long. */
  get svid(): X509Svid {
    return this.state.svid;
  }

  get bundles(): Bundles {
    return this.state.bundles;
  }

  get crls(): readonly Crl[] {
    return this.state.crls;
  }

  /** Why there is no newer state than this one; undefined while all is well. */
  get lastError(): InterlockError | undefined {
    return this.#lastError;
  }

  onUpdate(listener: (state: X509State) => void): () => void {
    return this.#latest.listen(listener);
  }

  /** The newest state, then every newer one; a slow reader gets the newest, not each. Ends when the source is closed. */
  [Symbol.asyncIterator](): AsyncIterator<X509State, void, void> {
    return this.#latest.states();
  }

  close(): void {
    this.#watch.close();
    if (this.#ownsClient) this.#client.close();
    this.#latest.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #tell(error: InterlockError): void {
    this.#lastError = error;
    this.#onError(error);
  }
}
