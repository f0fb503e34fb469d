import { InterlockError, pathOf, spiffeIdOf, trustDomainOf } from '../../access/index.ts';
import {
  type Bundle,
  type Certificate,
  isCrlOfAny,
  isReservedPath,
  parseBundle,
  parseCertificate,
  sameAuthorities,
} from '../../identity/index.ts';
import type { BundleState } from '../../proto/index.ts';
import type { Change } from '../../store/index.ts';
import type { BelowRevocations } from '../agents/desk.ts';
import { abroadFault } from '../identity/abroad-fault.ts';
import type { Joined } from '../identity/abroad.ts';
import { assertModest } from '../identity/bundle-limits.ts';
import type { CertifiedChain } from '../identity/certified-chain.ts';
import type { ControlPlane } from '../identity/control-plane.ts';
import type { Step } from '../identity/registry.ts';
import {
  bundlesOf,
  type ChildState,
  childStateJson,
  ownPart,
  PARENT_SETTING,
  parentBundleOf,
} from './child-state.ts';
import { revocationsHere, revocationsOf } from './revocations-here.ts';

/** How fast agents replace what nobody accepts any more, milliseconds. */
const AT_ONCE_MS = 2000;
/** What one control plane abroad may have revoked: it goes to every agent. */
const MAX_REVOCATION_BYTES = 1024 * 1024;

/** What another control plane is to this one, which it certifies: where its states are kept, and what follows from them. */
export interface Role {
  /** The other one in log lines. */
  readonly who: string;
  /** Name of the setting that holds what is needed to be known to it. */
  readonly setting: string;
  /** Keeps that. */
  keep(state: ChildState): Change;
  /** Whether it is the one that certifies the authorities of this name. */
  certifies(name: string): boolean;
  /** DER: by these its own certificate may be refused. */
  crls(): readonly Buffer[];
  /** Throws where the certificate is of no use here. */
  check(certified: Omit<CertifiedChain, 'keyId'>): void;
  /** Whether the root is in the bundles already. */
  knows(root: Certificate): boolean;
  /** Asked within a step of the registry; undefined where nothing is new. */
  bundles(state: BundleState): Step | undefined;
  /** Undefined where nothing is new. */
  revocations(crls: readonly Buffer[], spiffeIds: readonly string[]): Step | undefined;
  /** What is revoked here and is its to know; undefined while that is not known. */
  revoked(trustDomain: string): BelowRevocations | undefined;
  /** The bundle that it is to make known; undefined for none. */
  published(parentBundle: Bundle): Bundle | undefined;
  /** A state was taken. */
  taken(): void;
}

/** The parent: what it says holds here and for everybody below. */
export function parentRole(plane: ControlPlane): Role {
  const { registry, children } = plane;
  const { domain } = registry;
  return {
    who: 'parent',
    setting: PARENT_SETTING,
    keep: (state) => ({ change: 'put', kind: 'setting', name: PARENT_SETTING, data: childStateJson(state) }),
    certifies: (name) => !registry.abroad.joined.has(name),
    crls: () => registry.upstream.crls,
    check({ intermediates, root }) {
      const { prefixes = [] } = intermediates[0] ?? root;
      const own = domain.prefixes ?? [];
      if (JSON.stringify([...prefixes].sort()) === JSON.stringify([...own].sort())) return;
      throw new InterlockError(
        'conflict',
        domain.trustDomain,
        `the parent now limits this authority to ${prefixes.join(', ') || 'nothing'}, not ${own.join(', ') || 'nothing'}: its own IDs would change; set up a new state directory`,
      );
    },
    // Its stream brings it, and no agent is told of an authority before that.
    knows: () => true,
    bundles(state) {
      const bundles = bundlesOf(state);
      const foreign = new Map(
        [...registry.foreignBundles].filter(([name]) => children.owners.has(name) || plane.isPeer(name)),
      );
      for (const [name, bundle] of bundles) {
        if (name !== domain.trustDomain && !foreign.has(name)) foreign.set(name, bundle);
      }
      if (state.trustDomain !== domain.trustDomain) return { foreign, upstream: registry.upstream };
      const { regions, targets } = state;
      const upstream = {
        ...registry.upstream,
        bundle: parentBundleOf(state),
        regions: regions && parseBundle(regions.jwks, regions.trustDomain),
        targets,
      };
      return { foreign, upstream };
    },
    revocations(crls, spiffeIds) {
      const { upstream } = registry;
      // What this control plane has revoked itself comes back as a new version of the same.
      if (isSame(upstream.crls, crls) && isSameText(upstream.spiffeIds, spiffeIds)) return undefined;
      return { upstream: { ...upstream, crls, spiffeIds } };
    },
    revoked: (trustDomain) => revocationsHere(registry, trustDomain),
    published: (parentBundle) =>
      domain.trustDomain === parentBundle.trustDomain ? undefined : registry.ownBundle,
    taken: () => {},
  };
}

/** Name of the setting that holds the {@link ChildState} of an authority that was joined. */
export function joinedSetting(name: string): string {
  return `joined ${name}`;
}

/** A control plane abroad, which certifies the authorities of one name: what it says of its own trust domain holds. */
export function joinedRole(plane: ControlPlane, name: string, onLost: (why: string) => void): Role {
  const { registry, authorities } = plane;
  const joined = (): Joined => {
    const found = registry.abroad.joined.get(name);
    if (found !== undefined) return found;
    throw new InterlockError('not_found', name, `the authority "${name}" was left`);
  };
  const step = (change: Partial<Joined>): Step => ({
    abroad: {
      ...registry.abroad,
      joined: new Map([...registry.abroad.joined, [name, { ...joined(), ...change }]]),
    },
  });
  return {
    who: name,
    setting: joinedSetting(name),
    keep: (state) => ({
      change: 'put',
      kind: 'setting',
      name: joinedSetting(name),
      data: childStateJson(state),
    }),
    certifies: (slot) => slot === name,
    crls: () => joined().crls,
    // Whom it may not speak for stays where it is: that may be different with each certificate.
    check: () => {},
    knows: ({ der }) => joined().bundle.x509Authorities.some((known) => known.equals(der)),
    bundles(state) {
      const bundle = ownPart(state);
      assertModest(bundle, `the control plane of "${name}"`);
      const before = joined().bundle;
      if (bundle.trustDomain === before.trustDomain)
        // Two regions that have joined each other would else tell each other of nothing, for ever.
        return sameAuthorities(bundle, before) ? undefined : step({ bundle });
      throw new InterlockError(
        'untrusted',
        name,
        `the control plane of "${name}" is now of ${bundle.trustDomain}, not ${before.trustDomain}`,
      );
    },
    revocations(crls, spiffeIds) {
      const before = joined();
      const bytes = [...crls, ...spiffeIds].reduce((sum, { length }) => sum + length, 0);
      if (bytes > MAX_REVOCATION_BYTES)
        throw new InterlockError(
          'limit',
          name,
          `the control plane of "${name}" sent ${bytes} bytes of revocations; at most ${MAX_REVOCATION_BYTES} are taken`,
        );
      const slots = authorities.slots.filter((slot) => slot.name === name);
      const signers = [
        ...before.bundle.x509Authorities.map((der) => parseCertificate(der)),
        ...slots.flatMap(({ intermediates }) => intermediates.slice(1)),
      ];
      // Agents go by the key that a list names: it must not name one of ours.
      const lists = crls.filter((der) => isCrlOfAny(der, signers));
      const ids = spiffeIds.filter((text) => isTheirs(text, before.bundle.trustDomain));
      if (isSame(before.crls, lists) && isSameText(before.spiffeIds, ids)) return undefined;
      return step({ crls: lists, spiffeIds: ids });
    },
    revoked: (trustDomain) => revocationsOf(registry, name, trustDomain),
    published: () => registry.bundles.current.value.local,
    taken() {
      for (const slot of authorities.slots) {
        const fault = slot.name === name && slot.state === 'active' ? abroadFault(slot, joined()) : undefined;
        if (fault === undefined) continue;
        onLost(fault);
        plane.link.replace({ authority: slot.id, overMs: AT_ONCE_MS });
      }
    },
  };
}

/** Of other trust domains it says nothing; in the same one, its agents and server have the IDs that ours have. */
function isTheirs(text: string, trustDomain: string): boolean {
  const id = spiffeIdOf(text);
  return id !== undefined && trustDomainOf(id) === trustDomain && !isReservedPath(pathOf(id));
}

function isSame(one: readonly Buffer[], other: readonly Buffer[]): boolean {
  return one.length === other.length && one.every((bytes, i) => other[i]?.equals(bytes) === true);
}

function isSameText(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((text, i) => other[i] === text);
}
