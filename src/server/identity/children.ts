import {
  InterlockError,
  isInterlockError,
  parseSpiffeId,
  parseTrustDomain,
  type SpiffeId,
} from '../../access/index.ts';
import {
  type AgentAttributes,
  type Bundle,
  parseBundle,
  sameAuthorities,
  wentBack,
  withoutAuthorities,
} from '../../identity/index.ts';
import type { BelowRevocations, ChildTokenRequest, SignedCertificate, SignedToken } from '../agents/desk.ts';
import type { IdentityStore } from '../../store/index.ts';
import { Pace } from '../pace.ts';
import type { Timers } from '../timers.ts';
import type { Authorities } from './authorities.ts';
import { belowJson, checkSize, type ChildScope, isOfChild, mayRevoke } from './below.ts';
import { assertModest } from './bundle-limits.ts';
import { rightsOf } from './child-rights.ts';
import { signChildJwt } from './child-tokens.ts';
import { type Issuing, signedOf } from './issuing.ts';
import type { Recorder } from './recorder.ts';
import type { Registry } from './registry.ts';
import { certificateOf } from './slots.ts';

/** How often what one child says is taken: each goes to every agent, and from there to every workload. */
const PACE = { burst: 8, everyMs: 5000 };
/** Shortest time between two revocations of one child, milliseconds. */
const APART_MS = 250;
/** Longest wait of a child for its turn, milliseconds: it gives up after 10 s, and then says what is new by then. */
const MAX_TURN_MS = 8000;

export interface ChildrenOptions {
  readonly registry: Registry;
  readonly authorities: Authorities;
  readonly issuing: Issuing;
  readonly store: IdentityStore;
  readonly recorder: Recorder;
  readonly timers: Timers;
  /** The agent of an ID. Throws `forbidden` for one that may not act. */
  readonly agentOf: (id: SpiffeId) => AgentAttributes;
  /** Trust domains that are federated by their own endpoints. */
  readonly isPeer: (trustDomain: string) => boolean;
}

/** Child authorities: intermediates of this trust domain, and trust domains that this one makes known. */
export class Children {
  readonly #options: ChildrenOptions;
  /** When what a child says is taken next, by its agent ID and what it is. */
  readonly #pace = new Map<string, Pace>();

  constructor(options: ChildrenOptions) {
    this.#options = options;
  }

  /** The trust domains that children have published, and who did. */
  get owners(): ReadonlyMap<string, string> {
    return this.#options.registry.owners;
  }

  /** Certifies the key of a child authority. Throws `forbidden` where no rule lets the agent be one. */
  async sign(agent: AgentAttributes, csr: Uint8Array, ttlMs: number): Promise<SignedCertificate> {
    const { authorities, recorder, timers } = this.#options;
    const given = rightsOf(this.#options.registry, agent);
    if (given.prefixes?.length === 0) {
      throw new InterlockError(
        'forbidden',
        agent.agent.id,
        `rule "${given.rule}" lets ${agent.agent.id} publish bundles and makes it no authority of this trust domain: give it prefixes`,
      );
    }
    const authority = await authorities.signing(given.authority);
    const issued = await authority.issuer.issueAuthority({
      csr,
      ttl: ttlMs > 0 ? Math.min(ttlMs, given.ttl) : given.ttl,
      prefixes: given.prefixes,
      pathLength: given.pathLength,
    });
    const signed = signedOf(issued, given.spiffeId, authority);
    const { serial, notAfter } = signed;
    const { id } = agent.agent;
    const svid = {
      serial,
      kind: 'authority',
      spiffeId: given.spiffeId,
      agent: id,
      rule: given.rule,
      authority: authority.slot.id,
      issuedAt: timers.now(),
      notAfter,
    } as const;
    const details = { serial, prefixes: [...(given.prefixes ?? ['/'])], rule: given.rule };
    await recorder.commit(
      [...this.#options.issuing.required(given.spiffeId, id), { change: 'issue', svid }],
      recorder.entry(id, 'authority.sign-child', given.spiffeId, details),
    );
    return signed;
  }

  /** Takes the bundle of a child's own trust domain; the version of the bundles that holds it. */
  async publish(agent: AgentAttributes, name: string, document: Uint8Array): Promise<number> {
    const { registry, recorder, isPeer } = this.#options;
    const given = rightsOf(this.#options.registry, agent);
    const { id } = agent.agent;
    const trustDomain = parseTrustDomain(name);
    // Else a stolen child could speak for any domain that somebody federates with.
    if (!given.trustDomains.includes(trustDomain)) {
      throw new InterlockError(
        'forbidden',
        id,
        `rule "${given.rule}" does not let ${id} publish the bundle of ${trustDomain}: name it in "trustDomains" of its "downstream"`,
      );
    }
    await this.#turn(id, 'bundles', 0);
    const bundle = parseBundle(document, trustDomain);
    if (trustDomain === registry.domain.trustDomain) return this.#publishRegion(id, bundle);
    await registry.step(async () => {
      const owner = this.owners.get(trustDomain);
      if ((owner !== undefined && owner !== id) || isPeer(trustDomain)) {
        throw new InterlockError(
          'conflict',
          trustDomain,
          `the bundle of ${trustDomain} comes from ${owner ?? 'its own endpoint'}`,
        );
      }
      const before = registry.foreignBundles.get(trustDomain);
      if (before !== undefined && wentBack(before, bundle))
        throw new InterlockError(
          'conflict',
          trustDomain,
          `the bundle of ${trustDomain} is older than the one known`,
        );
      return {
        step: {
          foreign: new Map([...registry.foreignBundles, [trustDomain, bundle]]),
          owners: new Map([...registry.owners, [trustDomain, id]]),
          changes: [{ change: 'put', kind: 'child', name: trustDomain, data: { agent: id } }],
        },
        entry: recorder.entry(id, 'bundle.publish', trustDomain, {
          authorities: bundle.x509Authorities.length,
        }),
      };
    });
    return registry.bundles.current.version;
  }

  /** Another region of this trust domain: its roots are trusted beside the own ones, for as long as it names them. */
  async #publishRegion(id: string, said: Bundle): Promise<number> {
    const { registry, recorder } = this.#options;
    assertModest(said, id);
    await registry.step(async () => {
      const { abroad } = registry;
      const bundle = withoutAuthorities(said, registry.bundles.current.value.local);
      const before = abroad.regions.get(id);
      if (before !== undefined && sameAuthorities(before, bundle)) return undefined;
      return {
        step: { abroad: { ...abroad, regions: new Map([...abroad.regions, [id, bundle]]) } },
        entry: recorder.entry(id, 'bundle.publish-region', bundle.trustDomain, {
          authorities: bundle.x509Authorities.length,
        }),
      };
    });
    return registry.bundles.current.version;
  }

  /** Trusts regions no more that no rule makes one any longer, or whose agent was evicted. */
  async pruneRegions(): Promise<void> {
    const { registry, recorder, agentOf } = this.#options;
    const isRegion = (id: string) => {
      try {
        const { trustDomains } = rightsOf(registry, agentOf(parseSpiffeId(id)));
        return trustDomains.includes(registry.domain.trustDomain);
      } catch (error) {
        if (isInterlockError(error)) return false;
        throw error;
      }
    };
    await registry.step(async () => {
      const { abroad } = registry;
      const gone = [...abroad.regions.keys()].filter((id) => !isRegion(id));
      if (gone.length === 0) return undefined;
      const regions = new Map([...abroad.regions].filter(([id]) => !gone.includes(id)));
      return {
        step: { abroad: { ...abroad, regions } },
        entry: recorder.entry('system', 'bundle.forget-region', registry.domain.trustDomain, {
          agents: gone,
        }),
      };
    });
  }

  /** A JWT-SVID for a workload of a child that is limited to prefixes. Throws `forbidden` outside them. */
  signJwt(agent: AgentAttributes, request: ChildTokenRequest): Promise<SignedToken> {
    const { registry, issuing } = this.#options;
    return signChildJwt(agent, request, registry, issuing);
  }

  /**
   * Takes all that a child has revoked, in place of what it said before. What is not its to revoke is left out; gives
   * the number of it. Throws `limit` for more than is passed on.
   */
  async publishRevocations(agent: AgentAttributes, said: BelowRevocations): Promise<number> {
    const { registry, recorder } = this.#options;
    const { id } = agent.agent;
    checkSize(id, said);
    rightsOf(registry, agent);
    await this.#turn(id, 'revocations', APART_MS);
    const scope = this.#scopeOf(agent);
    const lists = await Promise.all(said.authorities.map((list) => isOfChild(list, scope)));
    const taken: BelowRevocations = {
      authorities: said.authorities.filter((_, i) => lists[i]),
      spiffeIds: [...new Set(said.spiffeIds)].filter((spiffeId) => mayRevoke(spiffeId, scope)),
    };
    const skipped =
      lists.filter((isGood) => !isGood).length +
      said.spiffeIds.filter((spiffeId) => !mayRevoke(spiffeId, scope)).length;
    await registry.step(async () => {
      const before = registry.below.get(id) ?? { authorities: [], spiffeIds: [] };
      if (JSON.stringify(belowJson(before)) === JSON.stringify(belowJson(taken))) return undefined;
      return {
        step: { below: new Map([...registry.below, [id, taken]]) },
        entry: recorder.entry(id, 'revocations.publish', registry.domain.trustDomain, {
          lists: taken.authorities.length,
          spiffeIds: taken.spiffeIds.length,
          skipped,
        }),
      };
    });
    return skipped;
  }

  /** Forgets what a child has said: it is no child any more, and nobody else could take it back. */
  async forget(id: string): Promise<void> {
    const { registry, recorder } = this.#options;
    await registry.step(async () => {
      if (!registry.below.has(id)) return undefined;
      const below = new Map(registry.below);
      below.delete(id);
      return { step: { below }, entry: recorder.entry('system', 'revocations.forget', id) };
    });
  }

  #scopeOf(agent: AgentAttributes): ChildScope {
    const { registry, authorities, recorder, store, timers } = this.#options;
    const { prefixes, trustDomains } = rightsOf(registry, agent);
    const { id } = agent.agent;
    const domains = trustDomains.flatMap((name) => {
      const bundle = this.owners.get(name) === id ? registry.foreignBundles.get(name) : undefined;
      return bundle === undefined ? [] : [[name, bundle.x509Authorities] as const];
    });
    return {
      trustDomain: registry.domain.trustDomain,
      prefixes,
      domains: new Map(domains),
      issuers: authorities.slots.map(certificateOf),
      now: timers.now(),
      async isCertified({ serial }) {
        const kind = 'authority' as const;
        const [issued] = await recorder.within(store.issued({ serial, kind, agent: id, limit: 1 }));
        return issued !== undefined;
      },
    };
  }

  /** Resolves when what the child says next may be taken. Throws `limit` where it says too much. */
  async #turn(id: string, what: string, apartMs: number): Promise<void> {
    const { timers } = this.#options;
    const key = `${id} ${what}`;
    let pace = this.#pace.get(key);
    if (pace === undefined) this.#pace.set(key, (pace = new Pace({ timers, ...PACE, apartMs })));
    const wait = pace.take(MAX_TURN_MS);
    if (wait === undefined)
      throw new InterlockError(
        'limit',
        id,
        `${id} sends ${what} oftener than they are taken: once in ${PACE.everyMs / 1000} s in the long run`,
      );
    if (wait > 0) await new Promise<void>((resolve) => timers.after(wait, resolve));
  }
}
