import { create } from '@bufbuild/protobuf';
import { InterlockError, isInterlockError, type SpiffeId, spiffeIdOf } from '../../access/index.ts';
import { type delegated, X509SVIDResponseSchema, X509SVIDSchema } from '../../proto/index.ts';
import { readX509Update, type X509State, type X509View } from '../../workload/index.ts';

/** Authorities by trust domain, as the agent sends them: `spiffe://NAME` to certificates in DER, one after the other. */
export type DelegatedBundles = Readonly<Record<string, Uint8Array>>;

/** The identity of one workload of the node, renewed as long as one of its processes is known. */
export class WorkloadView implements X509View {
  readonly #listeners = new Set<(state: X509State) => void>();
  readonly #onFault: (error: InterlockError) => void;
  #state: X509State;

  constructor(state: X509State, onFault: (error: InterlockError) => void) {
    this.#state = state;
    this.#onFault = onFault;
  }

  get state(): X509State {
    return this.#state;
  }

  onUpdate(listener: (state: X509State) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  set(state: X509State): void {
    this.#state = state;
    for (const listener of this.#listeners) {
      try {
        listener(state);
      } catch (error) {
        // One that fails keeps no other from hearing of it.
        this.#onFault(faultOf('a listener', error));
      }
    }
  }
}

export interface ViewsOptions {
  /** The workloads of this node; what else the agent gives is nobody's business here. */
  readonly workloads: ReadonlySet<SpiffeId>;
  /** The node proxy's own, for the revocation lists: the Delegated Identity API has none. */
  readonly own: X509View;
  readonly now: () => number;
  readonly onView: (workload: SpiffeId, view: WorkloadView) => void;
  readonly onFault: (error: InterlockError) => void;
}

/** The identities of the workloads of a node, by workload. */
export class Views {
  readonly #options: ViewsOptions;
  readonly #views = new Map<SpiffeId, WorkloadView>();
  /** What each view was made of, so that a hundred processes of one workload are read once. */
  readonly #made = new Map<SpiffeId, { readonly generation: number; readonly chain: Buffer }>();
  #bundles: DelegatedBundles | undefined;
  #generation = 0;

  constructor(options: ViewsOptions) {
    this.#options = options;
  }

  get(workload: SpiffeId): WorkloadView | undefined {
    return this.#views.get(workload);
  }

  get all(): ReadonlyMap<SpiffeId, WorkloadView> {
    return this.#views;
  }

  /** Whether the trust is known by which identities are checked. */
  get isReady(): boolean {
    return this.#bundles !== undefined;
  }

  /** Authorities or revocation lists have changed: what is taken after this is read anew. */
  trust(bundles: DelegatedBundles | undefined = this.#bundles): void {
    this.#bundles = bundles;
    this.#generation++;
  }

  /**
   * Takes what the agent gives a process, and gives the workloads of this node that it is, in the agent's order. An
   * identity that is not proven by the trust of this moment is none.
   */
  take({ x509Svids, federatesWith }: delegated.SubscribeToX509SVIDsResponse): SpiffeId[] {
    return x509Svids.flatMap((svid) => {
      const { trustDomain = '', path = '' } = svid.x509Svid?.id ?? {};
      const id = spiffeIdOf(`spiffe://${trustDomain}${path}`);
      if (id === undefined || !this.#options.workloads.has(id)) return [];
      try {
        this.#put(id, svid, federatesWith);
        return id;
      } catch (error) {
        this.#options.onFault(faultOf(id, error));
        return [];
      }
    });
  }

  #put(id: SpiffeId, svid: delegated.X509SVIDWithKey, federatesWith: readonly string[]): void {
    const chain = Buffer.concat(svid.x509Svid?.certChain ?? []);
    const generation = this.#generation;
    const made = this.#made.get(id);
    if (made?.generation === generation && made.chain.equals(chain)) return;
    const bundles = this.#bundles ?? {};
    const bundleOf = (domain: string) => (Object.hasOwn(bundles, domain) ? bundles[domain] : undefined);
    const own = `spiffe://${svid.x509Svid?.id?.trustDomain ?? ''}`;
    const { own: proxy, now, onFault, onView } = this.#options;
    const before = this.#views.get(id);
    const federatedBundles = Object.fromEntries(
      federatesWith.flatMap((domain) => {
        const bundle = bundleOf(domain);
        return bundle === undefined || domain === own ? [] : [[domain, bundle]];
      }),
    );
    const response = create(X509SVIDResponseSchema, {
      svids: [
        create(X509SVIDSchema, {
          spiffeId: id,
          x509Svid: chain,
          x509SvidKey: svid.x509SvidKey,
          bundle: bundleOf(own) ?? new Uint8Array(),
          hint: svid.x509Svid?.hint ?? '',
        }),
      ],
      federatedBundles,
    });
    const read = readX509Update(response, {
      now: now(),
      pick: ([first]) => first,
      previous: before?.state,
      onFault,
    });
    const state = { ...read, crls: proxy.state.crls };
    // Between two messages two processes of a workload may have an SVID and its successor: the later one counts.
    if (made?.generation === generation && issuedAt(before?.state) > issuedAt(state)) return;
    this.#made.set(id, { generation, chain });
    if (before !== undefined) return before.set(state);
    const view = new WorkloadView(state, onFault);
    this.#views.set(id, view);
    onView(id, view);
  }
}

function issuedAt(state: X509State | undefined): number {
  return state?.svid.chain[0]?.notBefore ?? 0;
}

function faultOf(subject: string, cause: unknown): InterlockError {
  if (isInterlockError(cause)) return cause;
  const text = `${subject}: what the agent gives cannot be used`;
  return new InterlockError('invalid_certificate', subject, text, { cause });
}
