import { InterlockError, parseSpiffeId, pathOf, type SpiffeId, trustDomainOf } from '../../access/index.ts';
import { authorityFor, type Cutover, isInside, type StayReason } from '../../identity/index.ts';
import type { IdentityStore } from '../../store/index.ts';
import type { Timers } from '../timers.ts';
import { abroadFault } from './abroad-fault.ts';
import { type Authorities, DEFAULT_AUTHORITY } from './authorities.ts';
import type { Recorder } from './recorder.ts';
import type { Registry } from './registry.ts';
import { certificateOf } from './slots.ts';

/** An authority that ends sooner signs for nobody who can be with another one, milliseconds. */
const LAST_MS = 5 * 60_000;

/** Who signs for a workload, and as what. */
export interface Place {
  /** The named authority. */
  readonly authority: string;
  /** The ID that the rule gives, or the one of the same path in the trust domain of that authority. */
  readonly spiffeId: SpiffeId;
}

/** Who asks, and for what a rule gives. */
export interface Asked {
  readonly spiffeId: SpiffeId;
  /** The authority that the rule names; absent for the default one. */
  readonly authority: string | undefined;
  readonly takesTargets: boolean;
}

export interface PlacesOptions {
  readonly registry: Registry;
  readonly authorities: Authorities;
  readonly recorder: Recorder;
  readonly store: IdentityStore;
  readonly timers: Timers;
  /** Something that a person has to look at; said again only after a while. */
  readonly onWarning: (about: string, message: string) => void;
}

/** Where cutovers have workloads: which authority signs for each, and under which trust domain. */
export class Places {
  readonly #options: PlacesOptions;
  readonly #cutovers: () => readonly Cutover[];

  constructor(options: PlacesOptions, cutovers: () => readonly Cutover[]) {
    this.#options = options;
    this.#cutovers = cutovers;
  }

  /** The other trust domains between which these move. */
  foreignTo(cutovers: readonly Pick<Cutover, 'from' | 'to'>[]): string[] {
    const { registry } = this.#options;
    const names = cutovers.flatMap(({ from, to }) => [from, to]);
    const domains = names.map((name) => this.domainOf(name));
    return [...new Set(domains)].filter((domain) => domain !== registry.domain.trustDomain).sort();
  }

  /** The trust domain of what a named authority signs. */
  domainOf(name: string): string {
    const { registry } = this.#options;
    return (registry.abroad.joined.get(name)?.bundle ?? registry.domain).trustDomain;
  }

  /**
   * Who signs the next X509-SVID of a workload, and as what; not `away`, which was asked and cannot now. Throws
   * `forbidden`.
   */
  async placeOf(
    { spiffeId, authority: given = DEFAULT_AUTHORITY, takesTargets }: Asked,
    away?: string,
  ): Promise<Place> {
    const { registry, onWarning } = this.#options;
    const cutovers = this.#cutovers();
    const { trustDomain } = registry.domain;
    if (this.domainOf(given) !== trustDomain)
      throw new InterlockError(
        'forbidden',
        spiffeId,
        `the authority "${given}" is of the trust domain ${this.domainOf(given)}: a rule cannot name it, only a cutover moves IDs there`,
      );
    if (cutovers.length === 0) return { authority: given, spiffeId };
    const isPaused = cutovers.some(({ state }) => state === 'paused');
    const current = isPaused ? await this.#current(spiffeId) : undefined;
    const fault = (name: string) => {
      const found = name === away ? 'target' : this.fault(name, spiffeId, takesTargets);
      if (found === 'target')
        onWarning(
          `cutover to ${name}`,
          `"${name}" cannot sign: workloads that were moved to it get the identities of the authority before it again`,
        );
      return found;
    };
    const authority = authorityFor(spiffeId, given, cutovers, { current, fault });
    return { authority, spiffeId: this.#inDomain(spiffeId, this.domainOf(authority)) };
  }

  /**
   * Who signs a workload's JWT-SVIDs, and as what: it has the ID of its X509-SVID, which moves at its renewal. Throws
   * `forbidden`.
   */
  async tokenPlaceOf(asked: Asked, agent: string): Promise<Place> {
    const { spiffeId, takesTargets } = asked;
    const current = this.#cutovers().length === 0 ? undefined : await this.#current(spiffeId, agent);
    if (current === undefined || this.fault(current, spiffeId, takesTargets) !== undefined)
      return this.placeOf(asked);
    return { authority: current, spiffeId: this.#inDomain(spiffeId, this.domainOf(current)) };
  }

  /** The same ID in the own trust domain and in every one that it may have moved to. */
  namesOf(id: SpiffeId): SpiffeId[] {
    const { trustDomain } = this.#options.registry.domain;
    const domains = [trustDomain, ...this.foreignTo(this.#cutovers())];
    if (!domains.includes(trustDomainOf(id))) return [id];
    return [...new Set([id, ...domains.map((domain) => this.#inDomain(id, domain))])];
  }

  /** The ID that a rule gives for one that may have moved. */
  given(id: SpiffeId): SpiffeId {
    return this.#inDomain(id, this.#options.registry.domain.trustDomain);
  }

  #inDomain(id: SpiffeId, trustDomain: string): SpiffeId {
    return trustDomainOf(id) === trustDomain ? id : parseSpiffeId(`spiffe://${trustDomain}${pathOf(id)}`);
  }

  /** Why a named authority cannot sign for an ID now. */
  fault(name: string, id: SpiffeId, takesTargets: boolean): StayReason | undefined {
    const { authorities, registry, timers } = this.#options;
    const slot = authorities.slots.find((each) => each.name === name && each.state === 'active');
    if (slot === undefined || slot.notAfter - timers.now() < LAST_MS) return 'target';
    const joined = registry.abroad.joined.get(name);
    if (joined !== undefined && abroadFault(slot, joined) !== undefined) return 'target';
    if (!takesTargets && this.domainOf(name) !== registry.domain.trustDomain) return 'agent';
    return isInside(id, certificateOf(slot).prefixes) ? undefined : 'prefixes';
  }

  /** The name of the authority that signed what the ID has now, through one agent where it is named. */
  async #current(id: SpiffeId, agent?: string): Promise<string | undefined> {
    const { authorities, store, timers, recorder } = this.#options;
    const found = this.namesOf(id).map((spiffeId) => {
      const filter = { spiffeId, kind: 'workload', liveAt: timers.now() } as const;
      return recorder.within(store.issued(agent === undefined ? filter : { ...filter, agent }));
    });
    const live = (await Promise.all(found)).flat();
    const svid = live.toSorted((a, b) => b.issuedAt - a.issuedAt)[0];
    return authorities.slots.find(({ id }) => id === svid?.authority)?.name;
  }
}
