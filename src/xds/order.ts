import type { Held, Resource, ResourceSet, Snapshot } from './resources.ts';
import type { Subscription, Target } from './subscription.ts';
import { type Kind, typeOfKind } from './types.ts';

/** A target; whether it is not yet all of the snapshot; and whether even this has to wait. */
export interface Step extends Target {
  readonly isHeldBack: boolean;
  readonly isWaiting: boolean;
}

/**
 * Make before break, for one stream: what a proxy may have now of a type, on its way to a snapshot (xDS protocol,
 * "Eventual consistency considerations"). A listener or route waits until the proxy has judged the clusters that it
 * refers to, which Envoy does when they are warm; a resource goes once nothing that the proxy may still use refers to it.
 */
export class Order {
  readonly #subscriptions: ReadonlyMap<Kind, Subscription>;

  constructor(subscriptions: ReadonlyMap<Kind, Subscription>) {
    this.#subscriptions = subscriptions;
  }

  /** What the proxy asks for of the snapshot. */
  wanted(subscription: Subscription, snapshot: Snapshot): ResourceSet {
    // A snapshot has a set for each type.
    return subscription.names.of(snapshot.byType.get(subscription.type.kind) as ResourceSet);
  }

  /**
   * What it may have of that now. `isLate`: the proxy had the time to judge what it was sent, and to ask for all that
   * it will ask for; what only waits for that goes ahead.
   */
  step(subscription: Subscription, snapshot: Snapshot, isLate: boolean): Step {
    const wanted = this.wanted(subscription, snapshot);
    const early = this.#early(subscription, wanted, snapshot, isLate);
    const kept = this.#kept(subscription, wanted, snapshot, isLate);
    if (early.size === 0 && kept.length === 0)
      return { resources: wanted.resources, version: wanted.version, isHeldBack: false, isWaiting: false };
    const resources = new Map<string, Held>(kept);
    for (const [name, resource] of wanted.resources) {
      if (!early.has(name)) resources.set(name, resource);
      else {
        const before = subscription.held(name);
        if (before !== undefined) resources.set(name, before);
      }
    }
    const names = new Set(kept.map(([name]) => name));
    // The first answer is whole: what it leaves out, a proxy that comes back would give up.
    return {
      resources,
      kept: names,
      isHeldBack: true,
      isWaiting: early.size > 0 && subscription.isUnanswered,
    };
  }

  /** The proxy has accepted all that it asks for of the type. */
  isSettled(subscription: Subscription, snapshot: Snapshot): boolean {
    if (subscription.isInFlight || subscription.isRefused) return false;
    return subscription.update(this.wanted(subscription, snapshot)) === undefined;
  }

  /** Names whose new version refers to clusters that the proxy has not judged. */
  #early(
    subscription: Subscription,
    wanted: ResourceSet,
    snapshot: Snapshot,
    isLate: boolean,
  ): ReadonlySet<string> {
    const names = new Set<string>();
    const clusters = this.#subscriptions.get('cds');
    const all = snapshot.byType.get('cds')?.resources;
    const refers = subscription.type.kind === 'lds' || subscription.type.kind === 'rds';
    if (!refers || clusters === undefined || all === undefined || clusters.isAllAnswered(all)) return names;
    const isReady = (name: string) =>
      !all.has(name) ||
      !clusters.names.has(name) ||
      clusters.isAnswered(name) ||
      (isLate && clusters.held(name) !== undefined);
    const isEarly = ({ name, version, references }: Resource) =>
      subscription.held(name)?.version !== version && !(references.cds ?? []).every(isReady);
    for (const resource of wanted.resources.values()) if (isEarly(resource)) names.add(resource.name);
    return names;
  }

  /** What is no longer in the snapshot, and may still be in use. */
  #kept(
    subscription: Subscription,
    wanted: ResourceSet,
    snapshot: Snapshot,
    isLate: boolean,
  ): readonly [string, Held][] {
    if (!subscription.canRemove) return [];
    const gone = [...subscription.sentNames()].filter((name) => !wanted.resources.has(name));
    if (gone.length === 0) return [];
    const isInUse = (kind: Kind) => {
      const user = this.#subscriptions.get(kind);
      if (user !== undefined && !this.isSettled(user, snapshot)) return true;
      if (isLate) return false;
      // A proxy opens with its clusters, and asks for its listeners next, and then for their routes.
      if (kind === 'rds') return this.#lacksRoutes(snapshot);
      return user === undefined && typeOfKind(kind).isRoot && subscription.names.isWildcard;
    };
    if (!subscription.type.usedBy.some(isInUse)) return [];
    return gone.flatMap((name): [string, Held][] => {
      const held = subscription.held(name);
      return held === undefined ? [] : [[name, held]];
    });
  }

  /** A listener has routes that the proxy has not asked for yet. */
  #lacksRoutes(snapshot: Snapshot): boolean {
    const listeners = this.#subscriptions.get('lds');
    if (listeners === undefined) return false;
    const isLacking = (name: string) =>
      snapshot.byType.get('rds')?.resources.has(name) === true &&
      this.#subscriptions.get('rds')?.names.has(name) !== true;
    for (const { references } of this.wanted(listeners, snapshot).resources.values())
      if ((references.rds ?? []).some(isLacking)) return true;
    return false;
  }
}
