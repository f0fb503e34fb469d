import { Metadata, type ServerDuplexStream } from '@grpc/grpc-js';
import { InterlockError, type SpiffeId } from '../access/index.ts';
import { Delivery } from './delivery.ts';
import { Allowance, clip, type Limits } from './limits.ts';
import { nodeOf, type ProxyNode } from './node.ts';
import type { ProxyBook, ProxyState, ProxyStatus, Refusal, Tracked, TypeStatus } from './proxies.ts';
import { hash, type Snapshot } from './resources.ts';
import { statusOf } from './status.ts';
import type { Protocol, Subscription } from './subscription.ts';
import { type Kind, typeOfUrl } from './types.ts';
import { type AdsRequest, DELTA_REQUEST, readRequest, WHOLE_REQUEST } from './wire.ts';

/** Time, passed in. */
export interface XdsClock {
  /** Milliseconds since 1970 UTC. */
  now(): number;
  /** Calls `run` once after `ms`; the function it gives back calls that off. */
  after(ms: number, run: () => void): () => void;
}

/** Where the snapshots of a proxy come from. */
export interface SnapshotSource {
  /**
   * Tells the listener every snapshot of this proxy, each complete, from now until the function that it gives is
   * called; the first may come before it returns. Throws where the proxy may not have any: an InterlockError ends the
   * stream with its code.
   */
  open(node: ProxyNode, listener: (snapshot: Snapshot) => void): () => void;
}

/** What the streams tell the log. */
export interface XdsEvent {
  readonly event: 'connected' | 'left' | 'ended' | 'refused' | 'ignored-type' | 'slowed';
  /** The identity, and the node's own name once it is known. */
  readonly who: string;
  /** The type and the proxy's words, where it refused an answer; the type that is not served. */
  readonly detail?: string;
  readonly error?: unknown;
}

export type AdsStream = ServerDuplexStream<Uint8Array, Uint8Array>;

export interface SessionOptions {
  readonly call: AdsStream;
  readonly protocol: Protocol;
  readonly spiffeId: SpiffeId;
  readonly source: SnapshotSource;
  readonly book: ProxyBook;
  readonly clock: XdsClock;
  readonly limits: Limits;
  readonly onEvent: (event: XdsEvent) => void;
  readonly onGone: () => void;
}

/** Names that a request costs as much as one more request. */
const NAMES_PER_TOKEN = 100;
const BYTES_PER_TOKEN = 64 * 1024;

/** One stream of one proxy. */
export class Session implements Tracked {
  readonly #options: SessionOptions;
  readonly #delivery: Delivery;
  readonly #allowance: Allowance;
  readonly #connectedAt: number;
  readonly #refusals = new Map<Kind, Refusal>();
  readonly #cancels = new Map<string, () => void>();
  #node: ProxyNode | undefined;
  /** Of the node as it came last: Envoy's lists its extensions, too much to keep for each proxy. */
  #nodeHash: string | undefined;
  #close: (() => void) | undefined;
  #isOver = false;
  #isBlocked = false;
  #isOverdue = false;
  #hasIgnored = false;
  #confirmed: number | undefined;
  #state: ProxyState = 'waiting';
  #since: number;

  constructor(options: SessionOptions) {
    this.#options = options;
    const { call, clock, limits, protocol, spiffeId } = options;
    this.#connectedAt = clock.now();
    this.#since = this.#connectedAt;
    this.#allowance = new Allowance(limits.requestsPerSecond, limits.requestBurst, this.#connectedAt);
    this.#delivery = new Delivery({
      protocol,
      limits,
      send: (bytes) => this.#send(bytes),
      onHeldBack: () => this.#later('gate', limits.gateMs, () => this.#goAhead()),
    });
    this.#later('greeting', limits.greetingMs, () =>
      this.end(new InterlockError('usage', spiffeId, 'no request came on the stream')),
    );
    call.on('data', (bytes: Uint8Array) => this.#guard(() => this.#take(bytes)));
    call.on('end', () => {
      this.#stop();
      call.end();
    });
    call.on('cancelled', () => this.#stop());
    call.on('close', () => this.#stop());
    call.on('error', () => this.#stop());
    // Some clients wait for the headers before they say anything.
    call.sendMetadata(new Metadata());
  }

  /** The node of the first request; before it there is only the identity. */
  get node(): ProxyNode {
    const { spiffeId } = this.#options;
    return this.#node ?? { spiffeId, id: '', cluster: '', metadata: {}, userAgent: '' };
  }

  /** Ends the stream with the error's status. */
  end(error: unknown): void {
    if (this.#isOver) return;
    this.#options.onEvent({ event: 'ended', who: this.#who(), error });
    this.#stop();
    this.#options.call.emit('error', statusOf(error));
  }

  status(): ProxyStatus {
    const perType = new Map<Kind, TypeStatus>();
    for (const [kind, subscription] of this.#delivery.subscriptions)
      perType.set(kind, typeStatus(subscription, this.#refusals.get(kind)));
    const snapshot = this.#delivery.snapshot?.version;
    return {
      node: this.node,
      protocol: this.#options.protocol,
      state: this.#state,
      since: this.#since,
      connectedAt: this.#connectedAt,
      perType,
      ...(snapshot === undefined ? {} : { snapshot }),
      ...(this.#confirmed === undefined ? {} : { confirmed: this.#confirmed }),
    };
  }

  #take(bytes: Uint8Array): void {
    const { protocol, limits } = this.#options;
    const request = readRequest(bytes, protocol === 'whole' ? WHOLE_REQUEST : DELTA_REQUEST, limits);
    this.#pace(request, bytes.length);
    this.#meet(request);
    if (request.typeUrl === '')
      throw new InterlockError('usage', this.#who(), 'a request on an aggregated stream needs its type_url');
    const type = typeOfUrl(request.typeUrl);
    if (type === undefined) return this.#ignore(request.typeUrl);
    const verdict = this.#delivery.take(type, request);
    if (verdict?.kind === 'accepted') this.#refusals.delete(type.kind);
    if (verdict?.kind === 'refused') {
      const { version, message } = verdict;
      this.#refusals.set(type.kind, { version, message, at: this.#options.clock.now() });
      this.#tell('refused', `${type.kind}: ${message}`);
    }
    this.#push();
  }

  /** Reads no more for a while from a proxy that asks too much: it waits, and so does nobody else. */
  #pace({ names, unsubscribe, known }: AdsRequest, bytes: number): void {
    const { call, clock } = this.#options;
    const listed = names.length + unsubscribe.length + known.size;
    const cost = 1 + listed / NAMES_PER_TOKEN + bytes / BYTES_PER_TOKEN;
    const waitMs = this.#allowance.take(cost, clock.now());
    if (waitMs === 0 || this.#cancels.has('pace')) return;
    call.pause();
    this.#tell('slowed');
    this.#later('pace', waitMs, () => call.resume());
  }

  /** The first request says who it is; later ones may repeat it, and say nothing else. */
  #meet({ node: bytes }: AdsRequest): void {
    const { spiffeId, source, book, limits } = this.#options;
    if (this.#node === undefined) {
      if (bytes === undefined)
        throw new InterlockError('usage', spiffeId, 'the first request of a stream needs its node');
      this.#node = nodeOf(bytes, spiffeId, limits);
      this.#nodeHash = hash(bytes);
      this.#cancel('greeting');
      const close = source.open(this.#node, (snapshot) => this.#guard(() => this.#setSnapshot(snapshot)));
      if (this.#isOver) return close();
      // Only what the source knows is a proxy, and is listed.
      this.#close = close;
      book.add(this);
      this.#tell('connected');
      return;
    }
    if (bytes === undefined || hash(bytes) === this.#nodeHash) return;
    const again = nodeOf(bytes, spiffeId, limits);
    if (again.id !== this.#node.id || again.cluster !== this.#node.cluster)
      throw new InterlockError('usage', this.#who(), 'the node changed within a stream');
    this.#nodeHash = hash(bytes);
  }

  #setSnapshot(snapshot: Snapshot): void {
    this.#delivery.setSnapshot(snapshot);
    this.#push();
  }

  #goAhead(): void {
    this.#delivery.goAhead();
    this.#push();
  }

  #push(): void {
    if (this.#isOver) return;
    if (!this.#isBlocked) this.#delivery.push();
    this.#look();
  }

  #send(bytes: Uint8Array): boolean {
    const { call } = this.#options;
    if (call.write(bytes)) return true;
    // Nothing is made for a proxy that does not read: it gets the newest state after what it has been given.
    this.#isBlocked = true;
    call.once('drain', () => {
      this.#isBlocked = false;
      this.#guard(() => this.#push());
    });
    return false;
  }

  /** Finds the proxy's state, and tells of it where it is another. */
  #look(): void {
    const { book, limits } = this.#options;
    const version = this.#delivery.snapshot?.version;
    if (version === undefined || this.#isOver) return;
    if (this.#delivery.isConfirmed()) {
      this.#cancel('confirm');
      this.#isOverdue = false;
      if (this.#confirmed === version && this.#state === 'confirmed') return;
      this.#confirmed = version;
      // What was refused and never accepted since is of no matter any more.
      this.#refusals.clear();
      this.#setState('confirmed');
      return book.confirmed(this, version);
    }
    this.#later('confirm', limits.confirmMs, () => {
      this.#isOverdue = true;
      this.#look();
    });
    const state = this.#delivery.isRefused() ? 'refused' : this.#isOverdue ? 'unconfirmed' : 'waiting';
    if (state === this.#state) return;
    this.#setState(state);
    book.changed(this);
  }

  #setState(state: ProxyState): void {
    if (state !== this.#state) this.#since = this.#options.clock.now();
    this.#state = state;
  }

  /** What is asked for and not served stays unanswered, as if there were none of it. */
  #ignore(typeUrl: string): void {
    if (!this.#hasIgnored) this.#tell('ignored-type', clip(typeUrl, 200));
    this.#hasIgnored = true;
  }

  #tell(event: XdsEvent['event'], detail?: string): void {
    this.#options.onEvent({ event, who: this.#who(), ...(detail === undefined ? {} : { detail }) });
  }

  #who(): string {
    const { spiffeId, id } = this.node;
    return id === '' ? spiffeId : `${spiffeId} (${id})`;
  }

  #guard(work: () => void): void {
    if (this.#isOver) return;
    try {
      work();
    } catch (error) {
      this.end(error);
    }
  }

  /** One timer of each name at a time. */
  #later(name: string, ms: number, run: () => void): void {
    if (this.#isOver || this.#cancels.has(name)) return;
    const cancel = this.#options.clock.after(ms, () => {
      this.#cancels.delete(name);
      this.#guard(run);
    });
    this.#cancels.set(name, cancel);
  }

  #cancel(name: string): void {
    this.#cancels.get(name)?.();
    this.#cancels.delete(name);
  }

  #stop(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const cancel of this.#cancels.values()) cancel();
    this.#cancels.clear();
    if (this.#close !== undefined) {
      this.#close();
      this.#options.book.remove(this);
      this.#tell('left');
    }
    this.#options.onGone();
  }
}

function typeStatus(
  { sentVersion: sent, acceptedVersion: accepted }: Subscription,
  refused: Refusal | undefined,
): TypeStatus {
  return {
    ...(sent === undefined ? {} : { sent }),
    ...(accepted === undefined ? {} : { accepted }),
    ...(refused === undefined ? {} : { refused }),
  };
}
