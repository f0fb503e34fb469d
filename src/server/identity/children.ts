import { InterlockError, parseTrustDomain } from '../../access/index.ts';
import {
  type AgentAttributes,
  authorityOf,
  type GivenAuthority,
  parseBundle,
  wentBack,
} from '../../identity/index.ts';
import type { SignedCertificate } from '../agents/desk.ts';
import type { Timers } from '../timers.ts';
import type { Authorities } from './authorities.ts';
import { signedOf } from './issuing.ts';
import type { Recorder } from './recorder.ts';
import type { Registry } from './registry.ts';

export interface ChildrenOptions {
  readonly registry: Registry;
  readonly authorities: Authorities;
  readonly recorder: Recorder;
  readonly timers: Timers;
  /** Trust domains that are federated by their own endpoints. */
  readonly isPeer: (trustDomain: string) => boolean;
}

/** Child authorities: intermediates of this trust domain, and trust domains that this one makes known. */
export class Children {
  readonly #options: ChildrenOptions;
  /** Which child has published the bundle of a trust domain. */
  readonly #owners: Map<string, string>;

  constructor(options: ChildrenOptions, owners: ReadonlyMap<string, string>) {
    this.#options = options;
    this.#owners = new Map(owners);
  }

  /** The trust domains that children have published, and who did. */
  get owners(): ReadonlyMap<string, string> {
    return this.#owners;
  }

  /** Certifies the key of a child authority. Throws `forbidden` where no rule lets the agent be one. */
  async sign(agent: AgentAttributes, csr: Uint8Array, ttlMs: number): Promise<SignedCertificate> {
    const { authorities, recorder, timers } = this.#options;
    const given = this.#allowed(agent);
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
      [{ change: 'issue', svid }],
      recorder.entry(id, 'authority.sign-child', given.spiffeId, details),
    );
    return signed;
  }

  /** Takes the bundle of a child's own trust domain; the version of the bundles that holds it. */
  async publish(agent: AgentAttributes, name: string, document: Uint8Array): Promise<number> {
    const { registry, recorder, isPeer } = this.#options;
    const given = this.#allowed(agent);
    const { id } = agent.agent;
    const trustDomain = parseTrustDomain(name);
    if (trustDomain === registry.domain.trustDomain)
      throw new InterlockError('forbidden', id, `the bundle of ${trustDomain} is not a child's to publish`);
    // Else a stolen child could speak for any domain that somebody federates with.
    if (!given.trustDomains.includes(trustDomain)) {
      throw new InterlockError(
        'forbidden',
        id,
        `rule "${given.rule}" does not let ${id} publish the bundle of ${trustDomain}: name it in "trustDomains" of its "downstream"`,
      );
    }
    const bundle = parseBundle(document, trustDomain);
    await registry.step(async () => {
      const owner = this.#owners.get(trustDomain);
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
          changes: [{ change: 'put', kind: 'child', name: trustDomain, data: { agent: id } }],
        },
        entry: recorder.entry(id, 'bundle.publish', trustDomain, {
          authorities: bundle.x509Authorities.length,
        }),
      };
    });
    this.#owners.set(trustDomain, id);
    return registry.bundles.current.version;
  }

  #allowed(agent: AgentAttributes): GivenAuthority {
    const given = authorityOf(this.#options.registry.rules.current.value, agent);
    if (given !== undefined) return given;
    const { id } = agent.agent;
    throw new InterlockError('forbidden', id, `no rule with "downstream" lets ${id} be a child authority`);
  }
}
