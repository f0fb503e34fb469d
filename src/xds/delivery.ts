import type { Limits } from './limits.ts';
import { Order } from './order.ts';
import type { Resource, Snapshot } from './resources.ts';
import { type Protocol, Subscription, type Update, type Verdict } from './subscription.ts';
import { type Kind, RESOURCE_TYPES, type ResourceType } from './types.ts';
import { type AdsRequest, writeAnswer } from './wire.ts';

export interface DeliveryOptions {
  readonly protocol: Protocol;
  readonly limits: Limits;
  /** Gives an encoded answer to the stream; false: nothing more until {@link Delivery.push} is called again. */
  readonly send: (bytes: Uint8Array) => boolean;
  /** Something waits for the proxy's word on what it was sent. */
  readonly onHeldBack: () => void;
}

/** Brings one stream from snapshot to snapshot. The newest wins; there is no queue. */
export class Delivery {
  readonly #options: DeliveryOptions;
  readonly #subscriptions = new Map<Kind, Subscription>();
  readonly #order = new Order(this.#subscriptions);
  #snapshot: Snapshot | undefined;
  #nonces = 0;
  #isLate = false;
  /** The snapshot of which everything that is referred to was found to be asked for. */
  #whole: Snapshot | undefined;

  constructor(options: DeliveryOptions) {
    this.#options = options;
  }

  get snapshot(): Snapshot | undefined {
    return this.#snapshot;
  }

  get subscriptions(): ReadonlyMap<Kind, Subscription> {
    return this.#subscriptions;
  }

  /** Takes the newest state; what was not sent of an older one never is. */
  setSnapshot(snapshot: Snapshot): void {
    if (snapshot.prove && snapshot.version !== this.#snapshot?.version) this.#demandAnswer();
    this.#snapshot = snapshot;
    this.#isLate = false;
  }

  /** Takes a request in. Gives what it says of the last answer of its type, if it says something new. Throws `limit`. */
  take(type: ResourceType, request: AdsRequest): Verdict | undefined {
    let subscription = this.#subscriptions.get(type.kind);
    if (subscription === undefined) {
      subscription = new Subscription(type, this.#options.protocol, this.#options.limits);
      this.#subscriptions.set(type.kind, subscription);
    }
    return subscription.take(request);
  }

  /** Sends what is due, in the order of the table of types. */
  push(): void {
    const snapshot = this.#snapshot;
    if (snapshot === undefined) return;
    let isHeldBack = false;
    for (const { kind } of RESOURCE_TYPES) {
      const subscription = this.#subscriptions.get(kind);
      if (subscription === undefined) continue;
      const step = this.#order.step(subscription, snapshot, this.#isLate);
      isHeldBack ||= step.isHeldBack;
      if (step.isWaiting) continue;
      const update = subscription.update(step);
      // Envoy keeps its word on clusters back until all are warm: one that never will be is mended by a newer answer.
      if (update !== undefined && subscription.isInFlight && !this.#isLate) {
        isHeldBack = true;
        continue;
      }
      if (update !== undefined && !this.#send(subscription, update)) return;
    }
    if (isHeldBack && !this.#isLate) this.#options.onHeldBack();
  }

  /** The proxy had time enough: what waits only for its word goes ahead with the next push. */
  goAhead(): void {
    this.#isLate = true;
  }

  /** The proxy has accepted everything that it asks for of the newest snapshot, and asks for all that it refers to. */
  isConfirmed(): boolean {
    const snapshot = this.#snapshot;
    if (snapshot === undefined || this.#subscriptions.size === 0) return false;
    for (const subscription of this.#subscriptions.values()) {
      if (!this.#order.isSettled(subscription, snapshot)) return false;
    }
    if (this.#whole !== snapshot && this.#asksForAll(snapshot)) this.#whole = snapshot;
    return this.#whole === snapshot;
  }

  /** The proxy refused an answer, and has not accepted a later one. */
  isRefused(): boolean {
    return [...this.#subscriptions.values()].some(({ isRefused }) => isRefused);
  }

  #send(subscription: Subscription, update: Update): boolean {
    const nonce = String(++this.#nonces);
    const { version, removed, resources } = update;
    const head = { typeUrl: subscription.type.url, version, nonce, removed };
    const field = this.#options.protocol === 'whole' ? wholeOf : deltaOf;
    subscription.sent(update, nonce);
    // Envoy warms a cluster that changed only once its endpoints have come anew ("Resource warming").
    const endpoints = this.#subscriptions.get('eds');
    for (const { references } of update.changed) {
      for (const name of references.eds ?? []) endpoints?.sendAgain(name);
    }
    return this.#options.send(writeAnswer(head, resources.map(field)));
  }

  /** One answer is proof enough; that of the listeners is the one that says that they are in force. */
  #demandAnswer(): void {
    const asked = this.#subscriptions.get('lds') ?? this.#subscriptions.values().next().value;
    asked?.demandAnswer();
  }

  #asksForAll(snapshot: Snapshot): boolean {
    const subscriptions = [...this.#subscriptions.values()];
    // A proxy that asks for everything of one kind of root asks for the others as soon as it has it.
    const asksForEverything = subscriptions.some(({ names }) => names.isWildcard);
    for (const set of snapshot.byType.values()) {
      const isMissing = set.type.isRoot && set.resources.size > 0 && !this.#subscriptions.has(set.type.kind);
      if (isMissing && asksForEverything) return false;
    }
    return subscriptions.every((subscription) => {
      if (this.#isKnownWhole(subscription.type, snapshot)) return true;
      const { resources } = this.#order.wanted(subscription, snapshot);
      return [...resources.values()].every((resource) => this.#asksForWhatItNeeds(resource, snapshot));
    });
  }

  /** Nothing changed of it since all was asked for. */
  #isKnownWhole({ kind }: ResourceType, snapshot: Snapshot): boolean {
    const known = this.#whole?.byType;
    const child: Kind = kind === 'cds' ? 'eds' : 'rds';
    return ([kind, child] as const).every((each) => known?.get(each) === snapshot.byType.get(each));
  }

  /** The endpoints of a cluster and the routes of a listener, without which Envoy does not use it. */
  #asksForWhatItNeeds({ references }: Resource, snapshot: Snapshot): boolean {
    const isAsked = (kind: Kind, name: string) =>
      snapshot.byType.get(kind)?.resources.has(name) !== true ||
      this.#subscriptions.get(kind)?.names.has(name) === true;
    return (
      (references.eds ?? []).every((name) => isAsked('eds', name)) &&
      (references.rds ?? []).every((name) => isAsked('rds', name))
    );
  }
}

function wholeOf({ whole }: Resource): Uint8Array {
  return whole;
}

function deltaOf({ delta }: Resource): Uint8Array {
  return delta;
}
