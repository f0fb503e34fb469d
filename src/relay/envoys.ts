import { InterlockError, type SpiffeId } from '../access/index.ts';
import { parseNodeId } from '../engines/envoy/index.ts';
import {
  AdsServer,
  type ProxyNode,
  type ProxyStatus,
  type Refusal,
  type Resource,
  type Snapshot,
  snapshotOf,
  type SnapshotSource,
  type XdsClock,
  type XdsEvent,
} from '../xds/index.ts';

/** Streams at one time: an Envoy, the one before it while it drains, and those that are not found dead yet. */
const MAX_STREAMS = 8;

/** What became of the newest resources. `away`: no Envoy is there to say. */
export type Verdict =
  | { readonly kind: 'away' | 'waiting' | 'confirmed' }
  /** In the words of Envoy, with the service that the resource belongs to. */
  | { readonly kind: 'refused'; readonly message: string };

export interface EnvoysOptions {
  readonly workload: SpiffeId;
  readonly clock: XdsClock;
  /** Told of every change of the verdict. Not while {@link Envoys.set} runs. */
  readonly onVerdict: (verdict: Verdict) => void;
  readonly onEvent: (event: XdsEvent) => void;
}

/** The Envoy beside this relay; two of them while one takes over from another. All are given the same. */
export class Envoys implements SnapshotSource {
  readonly ads: AdsServer;
  readonly #options: EnvoysOptions;
  readonly #listeners = new Set<(snapshot: Snapshot) => void>();
  /** What was refused of earlier resources says nothing of the newest. */
  readonly #old = new WeakSet<Refusal>();
  #snapshot: Snapshot | undefined;
  #verdict: Verdict = { kind: 'away' };
  #isSetting = false;

  constructor(options: EnvoysOptions) {
    this.#options = options;
    const { workload, clock, onEvent } = options;
    this.ads = new AdsServer({
      source: this,
      clock,
      // Whoever can open the socket is the Envoy of this workload: its mode and group say who can.
      identify: () => workload,
      limits: { streamsPerIdentity: MAX_STREAMS },
      onEvent: (event) => {
        onEvent(event);
        // A second refusal in a row is no new state of the stream, and nobody else would tell of it.
        if (event.event === 'refused') queueMicrotask(() => this.#look());
      },
    });
    this.ads.onStatus(() => this.#look());
  }

  get verdict(): Verdict {
    return this.#verdict;
  }

  /** Those that are connected, as they say it of themselves. */
  get connected(): readonly ProxyStatus[] {
    return this.ads.statuses().filter(({ state }) => state !== 'left');
  }

  /** Gives every Envoy these resources, now and when it comes; each is to answer even where nothing changed. */
  set(resources: readonly Resource[]): void {
    for (const { perType } of this.connected)
      for (const { refused } of perType.values()) if (refused !== undefined) this.#old.add(refused);
    const version = (this.#snapshot?.version ?? 0) + 1;
    this.#snapshot = snapshotOf(version, resources, { previous: this.#snapshot, prove: true });
    this.#isSetting = true;
    try {
      for (const listener of this.#listeners) listener(this.#snapshot);
    } finally {
      this.#isSetting = false;
    }
    // Nobody can have answered yet.
    this.#verdict = { kind: this.connected.length === 0 ? 'away' : 'waiting' };
  }

  open(node: ProxyNode, listener: (snapshot: Snapshot) => void): () => void {
    const { workload } = this.#options;
    const named = parseNodeId(node.id);
    if (named?.workload !== workload)
      throw new InterlockError(
        'forbidden',
        node.id.slice(0, 200),
        `this relay serves the Envoy of ${workload}: make its bootstrap with "interlock envoy bootstrap --workload ${workload}"`,
      );
    this.#listeners.add(listener);
    if (this.#snapshot !== undefined) listener(this.#snapshot);
    return () => {
      this.#listeners.delete(listener);
      // It is still among the connected ones until this has come back.
      queueMicrotask(() => this.#look());
    };
  }

  close(): void {
    this.ads.close();
  }

  #look(): void {
    if (this.#isSetting) return;
    const verdict = this.#judge();
    const before = this.#verdict;
    const isSame =
      verdict.kind === 'refused'
        ? before.kind === 'refused' && before.message === verdict.message
        : before.kind === verdict.kind;
    if (isSame) return;
    this.#verdict = verdict;
    this.#options.onVerdict(verdict);
  }

  #judge(): Verdict {
    const { connected } = this;
    const version = this.#snapshot?.version;
    if (connected.length === 0 || version === undefined) return { kind: 'away' };
    for (const { state, snapshot, perType } of connected) {
      if (state !== 'refused' || snapshot !== version) continue;
      for (const [kind, { sent, refused }] of perType)
        if (refused !== undefined && refused.version === sent && !this.#old.has(refused))
          return { kind: 'refused', message: `${kind}: ${refused.message}` };
    }
    const isConfirmed = connected.every(({ confirmed = 0 }) => confirmed >= version);
    return { kind: isConfirmed ? 'confirmed' : 'waiting' };
  }
}
