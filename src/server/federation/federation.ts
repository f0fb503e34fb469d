import {
  type Bundle,
  checkRelationship,
  endpointTrustDomain,
  FederationClient,
  type FederationRelationship,
  type FetchBundle,
  type PeerStatus,
  startPeer,
} from '../../identity/index.ts';
import { z } from 'zod';
import { InterlockError } from '../../access/index.ts';
import type { IdentityStore, Json } from '../../store/index.ts';
import type { Children } from '../identity/children.ts';
import type { Following } from '../identity/following.ts';
import type { Leadership } from '../identity/leadership.ts';
import type { Actor, Recorder } from '../identity/recorder.ts';
import type { Registry } from '../identity/registry.ts';
import type { Timers } from '../timers.ts';

export interface FederationParts {
  readonly registry: Registry;
  readonly recorder: Recorder;
  readonly store: IdentityStore;
  readonly children: Pick<Children, 'owners'>;
  readonly timers: Timers;
  /** Where other control planes have the same state. */
  readonly leadership?: Leadership;
  readonly following?: Following;
  readonly fetchBundle: FetchBundle;
  readonly onEvent: (peer: string, message: string) => void;
  readonly onFault: (error: unknown) => void;
}

const schema = z.strictObject({
  trustDomain: z.string(),
  endpointUrl: z.string(),
  profile: z.string(),
  endpointSpiffeId: z.string().optional(),
});

/** The trust domains that this one federates with, their bundles kept fresh and pushed. */
export class Federation {
  readonly #parts: FederationParts;
  /** At the control plane that leads: the bundles are fetched once. */
  #client: FederationClient | undefined;
  #isStopped = false;
  readonly #undo: (() => void)[] = [];
  #relationships: ReadonlyMap<string, FederationRelationship>;

  private constructor(parts: FederationParts, relationships: readonly FederationRelationship[]) {
    this.#parts = parts;
    this.#relationships = byName(relationships);
    const { leadership, following } = parts;
    this.#undo.push(
      leadership?.onChange((isLeader) => this.#lead(isLeader)) ?? (() => {}),
      following?.on(['peer'], () => this.#follow()) ?? (() => {}),
    );
    this.#lead(leadership?.isLeader ?? true);
  }

  #newClient(): FederationClient {
    const { fetchBundle, timers, registry, onFault, onEvent } = this.#parts;
    return new FederationClient({
      fetchBundle,
      timers,
      random: () => timers.random(),
      bundleOf: (trustDomain) => registry.bundles.current.value.bundles.get(trustDomain),
      onBundle: (trustDomain, bundle) => void this.#keep(trustDomain, bundle).catch(onFault),
      onLook: ({ trustDomain, failures, lastFault }) => {
        if (failures > 0 && lastFault !== undefined) onEvent(trustDomain, lastFault.message);
      },
    });
  }

  #lead(isLeader: boolean): void {
    this.#client?.stop();
    this.#client = isLeader && !this.#isStopped ? this.#newClient() : undefined;
    this.#set();
  }

  /** Another control plane has changed the relationships. */
  async #follow(): Promise<void> {
    const { store, registry, recorder } = this.#parts;
    const kept = await recorder.within(store.documents('peer'));
    const { trustDomain } = registry.domain;
    this.#relationships = byName(kept.map(({ data }) => relationshipOf(data, trustDomain)));
    this.#set();
  }

  /** Starts with the relationships that were kept. */
  static async open(parts: FederationParts): Promise<Federation> {
    const own = parts.registry.domain.trustDomain;
    const kept = await parts.store.documents('peer');
    return new Federation(
      parts,
      kept.map(({ data }) => relationshipOf(data, own)),
    );
  }

  status(): PeerStatus[] {
    if (this.#client !== undefined) return this.#client.status();
    const { foreignBundles } = this.#parts.registry;
    const names = [...this.#relationships.keys()].sort();
    return names.flatMap((name) => {
      const relationship = this.#relationships.get(name);
      return relationship === undefined ? [] : [elsewhere(relationship, foreignBundles.get(name))];
    });
  }

  async refresh(trustDomain: string): Promise<PeerStatus> {
    if (this.#client !== undefined) return this.#client.refresh(trustDomain);
    // Once, for who asks: the one that leads goes on at its own times.
    const relationship = this.#relationships.get(trustDomain);
    const client = this.#newClient();
    try {
      if (relationship !== undefined) client.setRelationships([relationship], this.#known());
      return await client.refresh(trustDomain);
    } finally {
      client.stop();
    }
  }

  /**
   * Adds a relationship or replaces the one with the same trust domain. Throws `conflict` for a domain of a child, and
   * `invalid_document` where nothing is there to authenticate the endpoint by.
   */
  async put(
    who: Actor,
    relationship: FederationRelationship,
    first?: Bundle,
  ): Promise<PeerStatus | undefined> {
    const { recorder, children } = this.#parts;
    const { trustDomain, endpointUrl } = relationship;
    if (children.owners.has(trustDomain))
      throw new InterlockError(
        'conflict',
        trustDomain,
        `the bundle of ${trustDomain} comes from a child authority`,
      );
    this.#refuseUnprovable(relationship, first);
    await recorder.commit(
      [{ change: 'put', kind: 'peer', name: trustDomain, data: jsonOf(relationship) }],
      recorder.entry(who, 'federation.put', trustDomain, { endpointUrl, profile: relationship.profile.name }),
    );
    this.#relationships = new Map([...this.#relationships, [trustDomain, relationship]]);
    this.#set();
    if (first !== undefined && this.#client === undefined) await this.#keep(trustDomain, first);
    if (first !== undefined) this.#client?.setBundle(first);
    return this.status().find((peer) => peer.trustDomain === trustDomain);
  }

  /** Ends a relationship; its bundle is withdrawn everywhere. Throws `not_found`. */
  async remove(who: Actor, trustDomain: string): Promise<void> {
    const { recorder } = this.#parts;
    if (!this.#relationships.has(trustDomain))
      throw new InterlockError('not_found', trustDomain, `there is no federation with ${trustDomain}`);
    await recorder.commit(
      [{ change: 'remove', kind: 'peer', name: trustDomain }],
      recorder.entry(who, 'federation.remove', trustDomain),
    );
    const left = new Map(this.#relationships);
    left.delete(trustDomain);
    this.#relationships = left;
    this.#set();
  }

  has(trustDomain: string): boolean {
    return this.#relationships.has(trustDomain);
  }

  stop(): void {
    this.#isStopped = true;
    for (const undo of this.#undo.splice(0)) undo();
    this.#client?.stop();
  }

  /** An https_spiffe endpoint of which no bundle is known could never be fetched from. */
  #refuseUnprovable(relationship: FederationRelationship, first: Bundle | undefined): void {
    const prover = endpointTrustDomain(relationship);
    const { trustDomain } = relationship;
    if (prover === undefined || (prover === trustDomain && first !== undefined)) return;
    if (this.#parts.registry.bundles.current.value.bundles.has(prover)) return;
    const how =
      prover === trustDomain
        ? 'give its first one with --bundle: there, "interlock authority bundle --format spiffe" writes it'
        : `federate with ${prover} first`;
    throw new InterlockError(
      'invalid_document',
      trustDomain,
      `federation with ${trustDomain}: its endpoint proves a SPIFFE ID of ${prover}, and no bundle of ${prover} is known to check that by; ${how}`,
    );
  }

  #set(): void {
    this.#client?.setRelationships([...this.#relationships.values()], this.#known());
  }

  #known(): ReadonlyMap<string, { readonly bundle: Bundle }> {
    const known = [...this.#parts.registry.foreignBundles]
      .filter(([name]) => this.#relationships.has(name))
      .map(([name, bundle]) => [name, { bundle }] as const);
    return new Map(known);
  }

  async #keep(trustDomain: string, bundle: Bundle | undefined): Promise<void> {
    const { registry, recorder } = this.#parts;
    await registry.step(async () => {
      const foreign = new Map(registry.foreignBundles);
      if (bundle === undefined) foreign.delete(trustDomain);
      else foreign.set(trustDomain, bundle);
      const details = {
        sequence: bundle?.sequence ?? null,
        authorities: bundle?.x509Authorities.length ?? 0,
      };
      return {
        step: { foreign },
        entry: recorder.entry('system', 'federation.bundle', trustDomain, details),
      };
    });
  }
}

function byName(
  relationships: readonly FederationRelationship[],
): ReadonlyMap<string, FederationRelationship> {
  return new Map(relationships.map((relationship) => [relationship.trustDomain, relationship]));
}

/** A peer whose bundle another control plane fetches: that one knows how it goes. */
function elsewhere(relationship: FederationRelationship, bundle: Bundle | undefined): PeerStatus {
  const { trustDomain } = relationship;
  return {
    ...startPeer(trustDomain, bundle === undefined ? {} : { bundle }, 0, () => 0),
    relationship,
    isStale: false,
    isLooking: false,
  };
}

function jsonOf({ trustDomain, endpointUrl, profile }: FederationRelationship): Json {
  return profile.name === 'https_spiffe'
    ? { trustDomain, endpointUrl, profile: profile.name, endpointSpiffeId: profile.endpointSpiffeId }
    : { trustDomain, endpointUrl, profile: profile.name };
}

function relationshipOf(data: Json, own: string): FederationRelationship {
  const parsed = schema.safeParse(data);
  if (parsed.success) return checkRelationship(parsed.data, own);
  throw new InterlockError(
    'state',
    'federation',
    'a federation relationship in the identity database is not readable',
  );
}
