import type { Bundle } from '../../identity/index.ts';
import type { X509State, X509Svid, X509View } from '../x509-state.ts';

/** An {@link X509View} that a test sets, for mutual TLS without a Workload API. */
export class TestView implements X509View {
  state: X509State;
  readonly #listeners = new Set<(state: X509State) => void>();

  constructor(svid: X509Svid, bundles: readonly Bundle[]) {
    this.state = { svid, svids: [svid], bundles: new Map(bundles.map((b) => [b.trustDomain, b])), crls: [] };
  }

  set(change: Partial<X509State>): void {
    this.state = { ...this.state, ...change };
    for (const listener of this.#listeners) listener(this.state);
  }

  onUpdate(listener: (state: X509State) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
