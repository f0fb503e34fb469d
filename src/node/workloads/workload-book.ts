import type { SpiffeId } from '../../access/index.ts';
import type { Bundles, GivenIdentity, WorkloadAttributes } from '../../identity/index.ts';
import type { HeldSvid } from '../svids/svid.ts';
import { svidKey } from '../svids/svid.ts';
import type { SvidCache } from '../svids/svid-cache.ts';
import type { Timers } from '../timers.ts';

/** An SVID with what its rule adds for the workload. */
export interface ServedSvid extends HeldSvid {
  readonly hint: string;
}

/** What the agent trusts. */
export interface TrustState {
  readonly version: bigint;
  readonly trustDomain: string;
  /** Of the own trust domain and of all federated ones. */
  readonly bundles: Bundles;
  /** DER. */
  readonly crls: readonly Buffer[];
}

/** Everything that a workload has at one moment. */
export interface WorkloadState {
  /** In the order of the rules' names: the first is the default. */
  readonly svids: readonly ServedSvid[];
  /** `waiting`: some identity that it is entitled to is not signed yet. `none`: no rule gives it any. */
  readonly missing: 'nothing' | 'waiting' | 'refused' | 'none';
  readonly trustDomain: string;
  /** The own one, and those that the workload's rules federate with. */
  readonly bundles: Bundles;
  readonly crls: readonly Buffer[];
}

export interface WorkloadBookOptions {
  readonly timers: Timers;
  readonly svids: SvidCache;
  /** The identities that the rules give to a workload now. */
  readonly identitiesOf: (attributes: WorkloadAttributes) => readonly GivenIdentity[];
  readonly trust: () => TrustState;
  /** Identities that get nothing. */
  readonly isRevoked: (id: SpiffeId) => boolean;
}

/** How long a first state waits for SVIDs that are being signed, before it is given without them. */
const SETTLE_MS = 5000;

interface Subscriber {
  readonly attributes: WorkloadAttributes;
  readonly listener: (state: WorkloadState) => void;
  given: readonly GivenIdentity[];
  keys: ReadonlySet<string>;
  /** What was told last: equal ones are not told again. */
  told: string | undefined;
  settled: boolean;
  cancelSettle: () => void;
}

/** The workloads that listen, and what each of them has: told anew, whole, whenever it changes. */
export class WorkloadBook {
  readonly #options: WorkloadBookOptions;
  readonly #subscribers = new Set<Subscriber>();
  readonly #byKey = new Map<string, Set<Subscriber>>();

  constructor(options: WorkloadBookOptions) {
    this.#options = options;
  }

  /** How many workloads listen. */
  get size(): number {
    return this.#subscribers.size;
  }

  /** Tells the listener what the workload has, now and whenever it changes, until the result is called. */
  subscribe(attributes: WorkloadAttributes, listener: (state: WorkloadState) => void): () => void {
    const subscriber: Subscriber = {
      attributes,
      listener,
      given: [],
      keys: new Set(),
      told: undefined,
      settled: false,
      cancelSettle: () => undefined,
    };
    this.#subscribers.add(subscriber);
    subscriber.cancelSettle = this.#options.timers.after(SETTLE_MS, () => {
      subscriber.settled = true;
      this.#tell(subscriber);
    });
    this.#match(subscriber);
    this.#tell(subscriber);
    return () => {
      if (!this.#subscribers.delete(subscriber)) return;
      subscriber.cancelSettle();
      this.#setGiven(subscriber, []);
    };
  }

  /** The identities that a workload may have, without those that are revoked. */
  given(attributes: WorkloadAttributes): GivenIdentity[] {
    const { identitiesOf, isRevoked } = this.#options;
    return identitiesOf(attributes).filter(({ spiffeId }) => !isRevoked(spiffeId));
  }

  /** What a workload has now, without listening. */
  stateOf(attributes: WorkloadAttributes): WorkloadState {
    return this.#stateOf(this.given(attributes));
  }

  /** The rules, or what is revoked, have changed. */
  rulesChanged(): void {
    for (const subscriber of this.#subscribers) {
      this.#match(subscriber);
      this.#tell(subscriber);
    }
  }

  /** Bundles or CRLs have changed. */
  trustChanged(): void {
    for (const subscriber of this.#subscribers) this.#tell(subscriber);
  }

  /** An SVID came, went or was refused. */
  svidChanged(key: string): void {
    for (const subscriber of this.#byKey.get(key) ?? []) this.#tell(subscriber);
  }

  #match(subscriber: Subscriber): void {
    this.#setGiven(subscriber, this.given(subscriber.attributes));
  }

  #setGiven(subscriber: Subscriber, given: readonly GivenIdentity[]): void {
    const { svids } = this.#options;
    const before = subscriber.keys;
    const keys = new Set(given.map(svidKey));
    subscriber.given = given;
    subscriber.keys = keys;
    for (const identity of given) {
      const key = svidKey(identity);
      if (before.has(key)) continue;
      let listeners = this.#byKey.get(key);
      if (listeners === undefined) this.#byKey.set(key, (listeners = new Set()));
      listeners.add(subscriber);
      svids.want(identity, subscriber.attributes);
    }
    for (const key of before) {
      if (keys.has(key)) continue;
      const listeners = this.#byKey.get(key);
      listeners?.delete(subscriber);
      if (listeners?.size === 0) this.#byKey.delete(key);
      svids.release(key, subscriber.attributes);
    }
  }

  #tell(subscriber: Subscriber): void {
    const state = this.#stateOf(subscriber.given);
    if (state.missing === 'waiting' && !subscriber.settled) return;
    subscriber.settled = true;
    subscriber.cancelSettle();
    const told = this.#digest(state);
    if (told === subscriber.told) return;
    subscriber.told = told;
    subscriber.listener(state);
  }

  #stateOf(given: readonly GivenIdentity[]): WorkloadState {
    const { svids: cache } = this.#options;
    const { trustDomain, bundles, crls } = this.#options.trust();
    const svids: ServedSvid[] = [];
    let [waiting, refused] = [false, false];
    const trusted = new Set([trustDomain]);
    for (const identity of given) {
      const svid = cache.get(svidKey(identity));
      if (svid === 'waiting') waiting = true;
      else if (svid === 'refused') refused = true;
      else svids.push({ ...svid, hint: identity.hint });
      for (const domain of identity.federatesWith) trusted.add(domain);
    }
    const missing = given.length === 0 ? 'none' : waiting ? 'waiting' : refused ? 'refused' : 'nothing';
    return {
      svids,
      missing,
      trustDomain,
      bundles: new Map([...bundles].filter(([domain]) => trusted.has(domain))),
      crls,
    };
  }

  #digest({ svids, missing, bundles }: WorkloadState): string {
    return JSON.stringify([
      // An SVID that is still being signed is told when it is there.
      svids.length === 0 ? missing : '',
      svids.map(({ serial, hint }) => [serial, hint]),
      [...bundles.keys()],
      String(this.#options.trust().version),
    ]);
  }
}
