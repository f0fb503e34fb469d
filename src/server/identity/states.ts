import { z } from 'zod';
import { InterlockError } from '../../access/index.ts';
import {
  type Bundle,
  formatBundle,
  joinBundles,
  jwtAuthorityOf,
  parseBundle,
  withoutAuthorities,
} from '../../identity/index.ts';
import type { Json, Revocation } from '../../store/index.ts';
import type { BelowRevocations, BundleSet, RevocationSet } from '../agents/desk.ts';
import type { Abroad } from './abroad.ts';
import { joinWithin } from './bundle-limits.ts';
import type { Domain } from './domain.ts';
import type { Slot } from './slots.ts';

/** Seconds after which others should look for a new bundle: SPIFFE_Federation.md asks for a hint. */
const REFRESH_HINT = 300;

/** What a parent control plane has sent: it outlives the process, so that nothing is forgotten while it is away. */
export interface Upstream {
  /** The bundle of the own trust domain; undefined where the parent is of another one. */
  readonly bundle: Bundle | undefined;
  /** DER. */
  readonly crls: readonly Buffer[];
  readonly spiffeIds: readonly string[];
  /** The part of `bundle` that came from other regions. */
  readonly regions?: Bundle | undefined;
  /** Trust domains to which the parent moves identities. */
  readonly targets?: readonly string[] | undefined;
}

export const NO_UPSTREAM: Upstream = { bundle: undefined, crls: [], spiffeIds: [] };
/** Name of the setting that holds the {@link Upstream}. */
export const UPSTREAM_SETTING = 'upstream';

/**
 * The bundles for agents: the own one from the slots that are not revoked or from the parent, with what other regions
 * of the trust domain add to it, and the foreign ones.
 */
export function bundleSet(
  domain: Domain,
  slots: readonly Slot[],
  foreign: ReadonlyMap<string, Bundle>,
  upstream: Upstream,
  abroad: Abroad,
  version: number,
): BundleSet {
  const { trustDomain } = domain;
  // A slot that another control plane certifies is trusted by that one's bundle.
  const trusted = slots.filter(({ revokedAt, name }) => revokedAt === undefined && !abroad.joined.has(name));
  const roots = new Map(trusted.map(({ root }) => [root.der.toString('base64'), root.der]));
  const jwtAuthorities = trusted.flatMap(({ jwt }) =>
    jwt === undefined ? [] : [jwtAuthorityOf(jwt.keyId, jwt.spki)],
  );
  const above = upstream.bundle && withoutAuthorities(upstream.bundle, upstream.regions);
  const local: Bundle = {
    trustDomain,
    // Of a child the parent says which roots are trusted: one that it withdrew must not come back from here.
    x509Authorities: above?.x509Authorities ?? [...roots.values()],
    jwtAuthorities: [...(above?.jwtAuthorities ?? []), ...jwtAuthorities],
    sequence: version,
    refreshHint: REFRESH_HINT,
  };
  const told = [...abroad.joined.values()].map(({ bundle }) => bundle);
  const ofRegions = [
    ...told.filter((bundle) => bundle.trustDomain === trustDomain),
    ...abroad.regions.values(),
  ];
  if (upstream.regions !== undefined) ofRegions.push(upstream.regions);
  const regions = withoutAuthorities(joinWithin(trustDomain, ofRegions), local);
  const own = { ...local, ...authoritiesOf(joinBundles(trustDomain, [local, regions])) };
  const bundles = new Map([[trustDomain, own], ...foreign]);
  const others = Map.groupBy(
    told.filter((bundle) => bundle.trustDomain !== trustDomain),
    (bundle) => bundle.trustDomain,
  );
  for (const [name, [first, ...rest]] of others)
    if (first !== undefined)
      bundles.set(name, { ...first, ...authoritiesOf(joinBundles(name, [first, ...rest])) });
  const documents = new Map([...bundles].map(([name, bundle]) => [name, Buffer.from(formatBundle(bundle))]));
  const isEmpty = regions.x509Authorities.length === 0 && regions.jwtAuthorities.length === 0;
  return {
    bundles,
    documents,
    local,
    regions: isEmpty ? undefined : Buffer.from(formatBundle(regions)),
    targets: [...new Set([...abroad.targets, ...(upstream.targets ?? [])])].filter(
      (name) => name !== trustDomain,
    ),
  };
}

const authoritiesOf = ({ x509Authorities, jwtAuthorities }: Bundle) => ({ x509Authorities, jwtAuthorities });

/** What agents are told of revocation: the own lists, the parent's, the child authorities', and those from abroad. */
export function revocationSet(
  list: readonly Revocation[],
  own: ReadonlyMap<string, Buffer>,
  upstream: Upstream,
  abroad: Abroad,
  below: ReadonlyMap<string, BelowRevocations>,
): RevocationSet {
  const told = [...abroad.joined];
  const ids = [
    ...list.flatMap(({ what, value }) => (what === 'id' ? [value] : [])),
    ...upstream.spiffeIds,
    ...told.flatMap(([, { spiffeIds }]) => spiffeIds),
  ];
  const crls = new Map([
    ...own,
    ...numbered('parent', upstream.crls),
    ...told.flatMap(([name, { crls }]) => numbered(name, crls)),
  ]);
  const others = (child?: string) => [...below].flatMap(([id, said]) => (id === child ? [] : [said]));
  const listsOf = (said: readonly BelowRevocations[]) =>
    said.flatMap(({ authorities }) => authorities.map(({ crl }) => crl));
  const idsOf = (said: readonly BelowRevocations[]) => said.flatMap(({ spiffeIds }) => spiffeIds);
  const all = others();
  return {
    crls: new Map([...crls, ...listsOf(all).map((crl, i) => [`below ${i}`, crl] as const)]),
    spiffeIds: new Set([...ids, ...idsOf(all)]),
    serials: new Set(list.flatMap(({ what, value }) => (what === 'serial' ? [value] : []))),
    forChild: new Map(
      [...below.keys()].map((child) => [
        child,
        {
          crls: [...crls.values(), ...listsOf(others(child))],
          spiffeIds: [...new Set([...ids, ...idsOf(others(child))])],
        },
      ]),
    ),
  };
}

const numbered = (from: string, crls: readonly Buffer[]) =>
  crls.map((crl, i) => [`${from} ${i}`, crl] as const);

/** What the parent has sent, as it is kept. */
export function upstreamJson({ bundle, crls, spiffeIds, regions, targets }: Upstream): Json {
  return {
    ...(regions === undefined ? {} : { regions: formatBundle(regions) }),
    ...(targets === undefined ? {} : { targets }),
    bundle: bundle === undefined ? null : formatBundle(bundle),
    crls: crls.map((crl) => crl.toString('base64')),
    spiffeIds,
  };
}

const upstreamSchema = z.strictObject({
  bundle: z.string().nullable(),
  crls: z.array(z.base64()),
  spiffeIds: z.array(z.string()),
  regions: z.string().optional(),
  targets: z.array(z.string()).optional(),
});

/** What the parent has sent, from its kept form. Throws `state`. */
export function upstreamFromJson(data: Json | undefined, trustDomain: string): Upstream {
  if (data === undefined) return NO_UPSTREAM;
  const parsed = upstreamSchema.safeParse(data);
  if (!parsed.success)
    throw new InterlockError('state', 'identity database', 'what the parent has sent is not readable');
  const { bundle, crls, spiffeIds, regions, targets } = parsed.data;
  return {
    ...(regions === undefined ? {} : { regions: parseBundle(regions, trustDomain) }),
    ...(targets === undefined ? {} : { targets }),
    bundle: bundle === null ? undefined : parseBundle(bundle, trustDomain),
    crls: crls.map((crl) => Buffer.from(crl, 'base64')),
    spiffeIds,
  };
}
