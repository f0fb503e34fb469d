import { pathOf, type SpiffeId, spiffeIdOf, trustDomainOf } from '../../access/index.ts';
import type { Bundle, Bundles, GivenIdentity, WorkloadAttributes } from '../../identity/index.ts';
import type { HeldSvid } from '../svids/svid.ts';
import { svidKey } from '../svids/svid.ts';
import type { SvidCache } from '../svids/svid-cache.ts';
import type { Timers } from '../timers.ts';
import { fitting, fittingLists } from './fitting.ts';
import { IdentityQuota, MAX_PER_OWNER, MAX_PER_RULE } from './identity-quota.ts';

/** An SVID with what its rule adds for the workload. */
export interface ServedSvid extends HeldSvid {
  readonly hint: string;
  /** The ID that the rule gives: the SVID's own, but for its trust domain where a cutover has moved it. */
  readonly given: SpiffeId;
}

/** What the agent trusts. */
export interface TrustState {
  readonly version: bigint;
  readonly trustDomain: string;
  /** Of the own trust domain and of all federated ones. */
  readonly bundles: Bundles;
  /** DER. */
  readonly crls: readonly Buffer[];
  /** Trust domains to which a cutover moves identities: they are this estate's as well. */
  readonly targets: readonly string[];
  /** The own bundle without what other regions have added: by it the control plane is known. */
  readonly local: Bundle | undefined;
}

/** Why a workload lacks an SVID that it could have. */
export type Missing = 'nothing' | 'waiting' | 'refused' | 'none' | 'limit';

/** Everything that a workload has at one moment. */
export interface WorkloadState {
  /** In the order of the rules' names: the first is the default. */
  readonly svids: readonly ServedSvid[];
  /**
   * `waiting`: some identity that it is entitled to is not signed yet. `none`: no rule gives it any. `limit`: there are
   * too many of its kind already.
   */
  readonly missing: Missing;
  readonly trustDomain: string;
  /** Trust domains to which a cutover moves identities. */
  readonly targets: readonly string[];
  /** The own one, those to which identities move, and those that the workload's rules federate with. */
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
  /** Hears of what is left out because of a limit: identities, bundles. */
  readonly onLimit?: ((fields: Readonly<Record<string, unknown>>, message: string) => void) | undefined;
}

/** How long a first state waits for SVIDs that are being signed, before it is given without them. */
const SETTLE_MS = 5000;

interface Subscriber {
  readonly attributes: WorkloadAttributes;
  readonly listener: (state: WorkloadState) => void;
  given: readonly GivenIdentity[];
  isLimited: boolean;
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

  readonly #quota: IdentityQuota;

  constructor(options: WorkloadBookOptions) {
    this.#options = options;
    this.#quota = new IdentityQuota(options.timers);
  }

  /** How often a workload was refused an identity because there were too many. */
  get overQuota(): number {
    return this.#quota.refused;
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
      isLimited: false,
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

  /** The identities that a workload may have, without those that are revoked or too many. */
  given(attributes: WorkloadAttributes): GivenIdentity[] {
    return this.#admitted(attributes).given;
  }

  /** Whether a workload lacks identities because there are too many. */
  isLimited(attributes: WorkloadAttributes): boolean {
    return this.#admitted(attributes).isLimited;
  }

  #admitted(attributes: WorkloadAttributes): { given: GivenIdentity[]; isLimited: boolean } {
    const { identitiesOf, isRevoked, onLimit } = this.#options;
    const valid = identitiesOf(attributes).filter(({ spiffeId }) => !isRevoked(spiffeId));
    const given = valid.filter((identity) => {
      if (this.#quota.admit(identity, attributes)) return true;
      const { rule, spiffeId } = identity;
      onLimit?.(
        { rule, spiffeId, uid: attributes.unix?.uid, refused: this.overQuota },
        `an identity was not given: a pod or user has at most ${MAX_PER_OWNER} at a time, and a rule gives ${MAX_PER_RULE} on a node`,
      );
      return false;
    });
    return { given, isLimited: given.length < valid.length };
  }

  /** Whether somebody who names an ID means the one that a rule gives: under its own name, or where it has moved. */
  means(asked: string, given: SpiffeId): boolean {
    if (asked === given) return true;
    const { trustDomain, targets } = this.#options.trust();
    const id = spiffeIdOf(asked);
    if (id === undefined || trustDomainOf(given) !== trustDomain) return false;
    return pathOf(id) === pathOf(given) && targets.includes(trustDomainOf(id));
  }

  /** What a workload has now, without listening. */
  stateOf(attributes: WorkloadAttributes): WorkloadState {
    const { given, isLimited } = this.#admitted(attributes);
    return this.#stateOf(given, isLimited);
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
    const { given, isLimited } = this.#admitted(subscriber.attributes);
    subscriber.isLimited = isLimited;
    this.#setGiven(subscriber, given);
  }

  #setGiven(subscriber: Subscriber, given: readonly GivenIdentity[]): void {
    const { svids } = this.#options;
    const before = subscriber.keys;
    // Held before the others are let go, so that none of those that stay counts as gone in between.
    for (const identity of given) this.#quota.hold(identity, subscriber.attributes, 1);
    for (const identity of subscriber.given) this.#quota.hold(identity, subscriber.attributes, -1);
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
    const state = this.#stateOf(subscriber.given, subscriber.isLimited);
    if (state.missing === 'waiting' && !subscriber.settled) return;
    subscriber.settled = true;
    subscriber.cancelSettle();
    const told = this.#digest(state);
    if (told === subscriber.told) return;
    subscriber.told = told;
    subscriber.listener(state);
  }

  #stateOf(given: readonly GivenIdentity[], isLimited: boolean): WorkloadState {
    const { svids: cache } = this.#options;
    const { trustDomain, bundles, crls, targets } = this.#options.trust();
    const svids: ServedSvid[] = [];
    let [waiting, refused] = [false, false];
    // Who has moved and who has not know each other, whatever their rules say.
    const trusted = new Set([trustDomain, ...targets]);
    for (const identity of given) {
      const svid = cache.get(svidKey(identity));
      if (svid === 'waiting') waiting = true;
      else if (svid === 'refused') refused = true;
      else svids.push({ ...svid, hint: identity.hint, given: identity.spiffeId });
      for (const domain of identity.federatesWith) trusted.add(domain);
    }
    const none = isLimited ? 'limit' : 'none';
    const missing = given.length === 0 ? none : waiting ? 'waiting' : refused ? 'refused' : 'nothing';
    const fits = this.#fitting(
      new Map([...bundles].filter(([domain]) => trusted.has(domain))),
      trustDomain,
      targets,
    );
    const lists = this.#fittingLists(crls, fits);
    return { svids, missing, trustDomain, targets, bundles: fits, crls: lists };
  }

  #fittingLists(all: readonly Buffer[], bundles: Bundles): readonly Buffer[] {
    const lists = fittingLists(all, bundles);
    if (lists.length < all.length)
      this.#options.onLimit?.(
        { lists: all.length, leftOut: all.length - lists.length },
        'revocation lists were left out: together they are larger than an answer can be',
      );
    return lists;
  }

  #fitting(all: Bundles, trustDomain: string, targets: readonly string[]): Bundles {
    const { bundles, leftOut } = fitting(all, new Set([trustDomain, ...targets]));
    if (leftOut.length > 0)
      this.#options.onLimit?.(
        { trustDomains: leftOut.slice(0, 16), leftOut: leftOut.length },
        'federated bundles were left out: together they are larger than an answer can be',
      );
    return bundles;
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
