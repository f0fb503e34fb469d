import { InterlockError, isInterlockError } from '../../access/index.ts';
import { type Bundle, parseBundle, type SkippedKey } from '../bundle/index.ts';
import { endpointTrustDomain, type FederationRelationship, sameRelationship } from './relationship.ts';
import { failed, fetched, isStale, type PeerState, type Random, startPeer } from './schedule.ts';

/** Gets the bundle document of a relationship; `trustBundle` authenticates an https_spiffe endpoint. */
export type FetchBundle = (
  relationship: FederationRelationship,
  trustBundle: Bundle | undefined,
  signal: AbortSignal,
) => Promise<Uint8Array>;

/** The time, and being called back later. */
export interface Timers {
  /** Milliseconds since 1970. */
  now(): number;
  /** Calls `run` once after `ms` milliseconds; the function given back calls it off. */
  after(ms: number, run: () => void): () => void;
}

/** What the client is made of. */
export interface FederationOptions {
  readonly fetchBundle: FetchBundle;
  readonly timers: Timers;
  readonly random: Random;
  /** A peer's bundle has changed or, with undefined, is gone with its relationship: to be kept and pushed. */
  readonly onBundle: (trustDomain: string, bundle: Bundle | undefined) => void;
  /** A look has ended, well or not: to be logged. `skipped` are the entries that were left out of the bundle. */
  readonly onLook?: ((state: PeerState, skipped: readonly SkippedKey[]) => void) | undefined;
  /** Bundles of domains that are no peer but whose members serve endpoints: our own above all. */
  readonly bundleOf?: ((trustDomain: string) => Bundle | undefined) | undefined;
}

/** A peer as shown to people. */
export interface PeerStatus extends PeerState {
  readonly relationship: FederationRelationship;
  readonly isStale: boolean;
  readonly isLooking: boolean;
}

/** What is known of a peer from before. */
export interface KnownBundle {
  readonly bundle: Bundle;
  /** Milliseconds since 1970; undefined where an operator gave it. */
  readonly fetchedAt?: number | undefined;
}

/** A fetch that has not ended by then is given up, whatever it waits for: in milliseconds. */
const LOOK_TIMEOUT = 30_000;
/** A timer cannot wait longer (2^31 - 1 ms); schedules stay far below. */
const MAX_TIMER = 2 ** 31 - 1;

interface Peer {
  readonly relationship: FederationRelationship;
  state: PeerState;
  cancelTimer: () => void;
  look: Look | undefined;
}

interface Look {
  readonly abort: AbortController;
  readonly done: Promise<void>;
}

/**
 * Keeps the bundles of other trust domains fresh. Each peer has its own timer and its own fetch: what one does, or does
 * not answer, never delays another.
 */
export class FederationClient {
  readonly #options: FederationOptions;
  readonly #peers = new Map<string, Peer>();
  #stopped = false;

  constructor(options: FederationOptions) {
    this.#options = options;
  }

  /**
   * Makes these the relationships. A peer that stays as it was is not disturbed; one whose endpoint changed keeps its
   * bundle; one that is gone is told to `onBundle`. `known` gives the bundles of peers that are new here. Throws
   * `conflict`, with nothing changed, for two of one trust domain, or a bundle of another one than its key says.
   */
  setRelationships(
    relationships: readonly FederationRelationship[],
    known: ReadonlyMap<string, KnownBundle> = new Map(),
  ): void {
    const wanted = byTrustDomain(relationships);
    for (const [trustDomain, { bundle }] of known) checkOwner(trustDomain, bundle);
    for (const [trustDomain, peer] of this.#peers) {
      if (!wanted.has(trustDomain)) {
        this.#drop(peer);
        this.#options.onBundle(trustDomain, undefined);
      }
    }
    for (const relationship of wanted.values()) {
      const peer = this.#peers.get(relationship.trustDomain);
      if (peer !== undefined && sameRelationship(peer.relationship, relationship)) continue;
      if (peer !== undefined) this.#drop(peer);
      const { timers, random } = this.#options;
      const held = peer?.state ?? known.get(relationship.trustDomain) ?? {};
      const state = startPeer(relationship.trustDomain, held, timers.now(), random);
      this.#add(relationship, state);
    }
  }

  /**
   * Takes a bundle from an operator: the first of an https_spiffe peer, or after its domain was set up anew, when the
   * sequence may go back. Throws `not_found` for a domain without relationship.
   */
  setBundle(bundle: Bundle): void {
    const peer = this.#peer(bundle.trustDomain);
    const { timers, random, onBundle } = this.#options;
    this.#drop(peer);
    this.#add(peer.relationship, startPeer(bundle.trustDomain, { bundle }, timers.now(), random));
    onBundle(bundle.trustDomain, bundle);
  }

  /** Looks at a peer now, or waits for the look under way. The outcome stands in the status. Throws `not_found`. */
  async refresh(trustDomain: string): Promise<PeerStatus> {
    const peer = this.#peer(trustDomain);
    if (peer.look === undefined) this.#startLook(peer);
    await peer.look?.done;
    return this.#statusOf(this.#peer(trustDomain));
  }

  /** Every peer, by name. */
  status(): PeerStatus[] {
    return [...this.#peers.keys()].sort().map((name) => this.#statusOf(this.#peer(name)));
  }

  /** No more looks and no more callbacks. */
  stop(): void {
    this.#stopped = true;
    for (const peer of this.#peers.values()) this.#drop(peer);
  }

  #peer(trustDomain: string): Peer {
    const peer = this.#peers.get(trustDomain);
    if (peer !== undefined) return peer;
    throw new InterlockError(
      'not_found',
      trustDomain,
      `there is no federation with ${trustDomain}; set up a relationship first`,
    );
  }

  #statusOf({ relationship, state, look }: Peer): PeerStatus {
    const now = this.#options.timers.now();
    return { ...state, relationship, isStale: isStale(state, now), isLooking: look !== undefined };
  }

  #add(relationship: FederationRelationship, state: PeerState): void {
    const peer: Peer = { relationship, state, cancelTimer: () => {}, look: undefined };
    this.#peers.set(relationship.trustDomain, peer);
    this.#arm(peer);
  }

  #drop(peer: Peer): void {
    peer.cancelTimer();
    peer.look?.abort.abort();
    this.#peers.delete(peer.relationship.trustDomain);
  }

  #arm(peer: Peer): void {
    if (this.#stopped) return;
    const { timers } = this.#options;
    const wait = Math.min(Math.max(0, peer.state.nextAt - timers.now()), MAX_TIMER);
    peer.cancelTimer = timers.after(wait, () => this.#startLook(peer));
  }

  #startLook(peer: Peer): void {
    if (this.#stopped || peer.look !== undefined) return;
    peer.cancelTimer();
    const abort = new AbortController();
    const done = this.#look(peer, abort);
    peer.look = { abort, done };
  }

  async #look(peer: Peer, abort: AbortController): Promise<void> {
    const { timers, random } = this.#options;
    const skipped: SkippedKey[] = [];
    let offered: Bundle | undefined;
    let fault: Pick<InterlockError, 'code' | 'message'> | undefined;
    try {
      const document = await this.#fetchInTime(peer.relationship, abort);
      offered = parseBundle(document, peer.relationship.trustDomain, (one) => skipped.push(one));
    } catch (error) {
      fault = faultOf(error);
    }
    // Another peer object, or none, holds the name by now: this answer is nobody's.
    if (this.#stopped || this.#peers.get(peer.relationship.trustDomain) !== peer) return;
    peer.look = undefined;
    const at = timers.now();
    peer.state =
      offered === undefined
        ? failed(peer.state, { at, ...(fault ?? faultOf(undefined)) }, random)
        : this.#take(peer.state, offered, at);
    this.#arm(peer);
    this.#options.onLook?.(peer.state, skipped);
  }

  /** Holds a new bundle only once it was handed on: what could not be kept or pushed is offered again later. */
  #take(before: PeerState, offered: Bundle, now: number): PeerState {
    const { random, onBundle } = this.#options;
    const after = fetched(before, offered, now, random);
    if (after.bundle === before.bundle) return after;
    try {
      onBundle(after.trustDomain, after.bundle);
      return after;
    } catch (error) {
      return failed(before, { at: now, ...faultOf(error) }, random);
    }
  }

  async #fetchInTime(relationship: FederationRelationship, abort: AbortController): Promise<Uint8Array> {
    const { timers, fetchBundle } = this.#options;
    let cancel = (): void => {};
    const givenUp = new Promise<never>((_resolve, reject) => {
      const giveUp = (reason: string): void =>
        reject(new InterlockError('unavailable', relationship.trustDomain, reason));
      cancel = timers.after(LOOK_TIMEOUT, () => {
        giveUp(`${relationship.endpointUrl} did not answer within ${LOOK_TIMEOUT / 1000} s`);
        abort.abort();
      });
      abort.signal.addEventListener('abort', () => giveUp('the look was called off'), { once: true });
    });
    // Where nothing waits for it any more, being called off is no error.
    givenUp.catch(() => {});
    try {
      return await Promise.race([
        fetchBundle(relationship, this.#trustBundleOf(relationship), abort.signal),
        givenUp,
      ]);
    } finally {
      cancel();
    }
  }

  /** The last known bundle of the endpoint's own trust domain, for https_spiffe. Throws `untrusted` without one. */
  #trustBundleOf(relationship: FederationRelationship): Bundle | undefined {
    const trustDomain = endpointTrustDomain(relationship);
    if (trustDomain === undefined) return undefined;
    const bundle = this.#peers.get(trustDomain)?.state.bundle ?? this.#options.bundleOf?.(trustDomain);
    if (bundle !== undefined) return bundle;
    throw new InterlockError(
      'untrusted',
      relationship.trustDomain,
      `the endpoint cannot be authenticated: there is no bundle of ${trustDomain} yet; set its first one by hand`,
    );
  }
}

function byTrustDomain(
  relationships: readonly FederationRelationship[],
): ReadonlyMap<string, FederationRelationship> {
  const wanted = new Map<string, FederationRelationship>();
  for (const relationship of relationships) {
    const { trustDomain } = relationship;
    if (wanted.has(trustDomain)) {
      const message = `there are two relationships with ${trustDomain}; a trust domain has one bundle endpoint`;
      throw new InterlockError('conflict', trustDomain, message);
    }
    wanted.set(trustDomain, relationship);
  }
  return wanted;
}

/** A bundle under another's name would let one domain speak for another. */
function checkOwner(trustDomain: string, bundle: Bundle): void {
  if (bundle.trustDomain === trustDomain) return;
  const message = `the bundle kept for ${trustDomain} is the one of ${bundle.trustDomain}`;
  throw new InterlockError('conflict', trustDomain, message);
}

function faultOf(error: unknown): Pick<InterlockError, 'code' | 'message'> {
  if (isInterlockError(error)) return { code: error.code, message: error.message };
  return {
    code: 'unavailable',
    message: error instanceof Error ? error.message : 'the bundle was not fetched',
  };
}
