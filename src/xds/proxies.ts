import type { Limits } from './limits.ts';
import type { ProxyNode } from './node.ts';
import type { Protocol } from './subscription.ts';
import type { Kind } from './types.ts';

/** What a proxy refused, in its own words. */
export interface Refusal {
  readonly version: string;
  readonly message: string;
  /** Milliseconds since 1970 UTC. */
  readonly at: number;
}

/** How far one type has come with a proxy: hashes of what was sent and accepted last. */
export interface TypeStatus {
  readonly sent?: string;
  readonly accepted?: string;
  /** Stands until a later answer is accepted. What was accepted before stays in force. */
  readonly refused?: Refusal;
}

/**
 * `waiting`: it was sent something, and has the time to say so; `unconfirmed`: it has not said so in that time;
 * `left`: its stream ended.
 */
export type ProxyState = 'confirmed' | 'waiting' | 'unconfirmed' | 'refused' | 'left';

/** A proxy as lists show it. Times are milliseconds since 1970 UTC. */
export interface ProxyStatus {
  readonly node: ProxyNode;
  readonly protocol: Protocol;
  readonly state: ProxyState;
  /** Since when it is in this state. */
  readonly since: number;
  readonly connectedAt: number;
  readonly perType: ReadonlyMap<Kind, TypeStatus>;
  /** Version of the newest snapshot that was made for it, and of the newest of which it accepted everything. */
  readonly snapshot?: number;
  readonly confirmed?: number;
}

/** When a proxy confirmed a state; `at` is absent where it has not. */
export interface Confirmation {
  readonly node: ProxyNode;
  readonly state: ProxyState;
  readonly at?: number;
}

/** What the book asks a stream. */
export interface Tracked {
  readonly node: ProxyNode;
  status(): ProxyStatus;
}

interface Entry {
  readonly tracked: Tracked;
  readonly history: History;
}

interface Left {
  readonly status: ProxyStatus;
  readonly history: History;
}

type History = { readonly version: number; readonly at: number }[];

/** Which proxies there are and were, and what they confirmed when. */
export class ProxyBook {
  readonly #limits: Limits;
  readonly #now: () => number;
  readonly #connected = new Map<Tracked, Entry>();
  /** By name; the one that left last is at the end. */
  readonly #left = new Map<string, Left>();
  readonly #listeners = new Set<(status: ProxyStatus) => void>();

  constructor(limits: Limits, now: () => number) {
    this.#limits = limits;
    this.#now = now;
  }

  /** Every connected proxy, and those that left not long ago. */
  statuses(): ProxyStatus[] {
    this.#forget();
    return [
      ...[...this.#connected.keys()].map((tracked) => tracked.status()),
      ...[...this.#left.values()].map(({ status }) => status),
    ];
  }

  /** When each proxy first confirmed a snapshot of this version or a newer one. */
  confirmations(version: number): Confirmation[] {
    this.#forget();
    const of = (node: ProxyNode, state: ProxyState, history: History): Confirmation => {
      const at = history.find((each) => each.version >= version)?.at;
      return at === undefined ? { node, state } : { node, state, at };
    };
    return [
      ...[...this.#connected.values()].map(({ tracked, history }) =>
        of(tracked.node, tracked.status().state, history),
      ),
      ...[...this.#left.values()].map(({ status, history }) => of(status.node, status.state, history)),
    ];
  }

  /** Tells of every change of a proxy's state. Gives the function that ends it. */
  onStatus(listener: (status: ProxyStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A proxy has come. */
  add(tracked: Tracked): void {
    const key = keyOf(tracked.node);
    this.#connected.set(tracked, { tracked, history: this.#left.get(key)?.history ?? [] });
    this.#left.delete(key);
    this.changed(tracked);
  }

  /** A proxy has another state. */
  changed(tracked: Tracked): void {
    this.#tell(tracked.status());
  }

  /** A proxy accepted all of this version. */
  confirmed(tracked: Tracked, version: number): void {
    const history = this.#connected.get(tracked)?.history;
    history?.push({ version, at: this.#now() });
    if (history !== undefined && history.length > this.#limits.confirmations) history.shift();
    this.changed(tracked);
  }

  /** A proxy's stream ended. */
  remove(tracked: Tracked): void {
    const entry = this.#connected.get(tracked);
    if (!this.#connected.delete(tracked) || entry === undefined) return;
    const status = this.#last(tracked);
    const key = keyOf(tracked.node);
    this.#left.delete(key);
    // It may have come back before its old stream was found dead.
    const isBack = [...this.#connected.keys()].some(({ node }) => keyOf(node) === key);
    if (!isBack) this.#left.set(key, { status, history: entry.history });
    this.#forget();
    if (!isBack) this.#tell(status);
  }

  /** Without what the proxy told of itself at length: nobody renders for it any more. */
  #last(tracked: Tracked): ProxyStatus {
    const node = { ...tracked.node, metadata: {} };
    return { ...tracked.status(), node, state: 'left', since: this.#now() };
  }

  #forget(): void {
    const oldest = this.#now() - this.#limits.leftMs;
    for (const [key, { status }] of this.#left) {
      if (this.#left.size <= this.#limits.left && status.since > oldest) return;
      this.#left.delete(key);
    }
  }

  #tell(status: ProxyStatus): void {
    for (const listener of this.#listeners) listener(status);
  }
}

function keyOf({ spiffeId, id }: ProxyNode): string {
  return `${spiffeId} ${id}`;
}
