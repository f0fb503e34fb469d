import { z } from 'zod';
import { InterlockError } from '../../access/index.ts';
import { type Bundle, formatBundle, jwtAuthorityOf, parseBundle } from '../../identity/index.ts';
import type { Json, Revocation } from '../../store/index.ts';
import type { BundleSet, RevocationSet } from '../agents/desk.ts';
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
}

export const NO_UPSTREAM: Upstream = { bundle: undefined, crls: [], spiffeIds: [] };
/** Name of the setting that holds the {@link Upstream}. */
export const UPSTREAM_SETTING = 'upstream';

/** The bundles for agents: the own one from the slots that are not revoked or from the parent, and the foreign ones. */
export function bundleSet(
  domain: Domain,
  slots: readonly Slot[],
  foreign: ReadonlyMap<string, Bundle>,
  upstream: Upstream,
  version: number,
): BundleSet {
  const trusted = slots.filter(({ revokedAt }) => revokedAt === undefined);
  const roots = new Map(trusted.map(({ root }) => [root.der.toString('base64'), root.der]));
  const jwtAuthorities = trusted.flatMap(({ jwt }) =>
    jwt === undefined ? [] : [jwtAuthorityOf(jwt.keyId, jwt.spki)],
  );
  const own: Bundle = {
    trustDomain: domain.trustDomain,
    // Of a child the parent says which roots are trusted: one that it withdrew must not come back from here.
    x509Authorities: upstream.bundle?.x509Authorities ?? [...roots.values()],
    jwtAuthorities: [...(upstream.bundle?.jwtAuthorities ?? []), ...jwtAuthorities],
    sequence: version,
    refreshHint: REFRESH_HINT,
  };
  const bundles = new Map([[domain.trustDomain, own], ...foreign]);
  const documents = new Map([...bundles].map(([name, bundle]) => [name, Buffer.from(formatBundle(bundle))]));
  return { bundles, documents };
}

/** What agents are told of revocation: the own lists and the parent's. */
export function revocationSet(
  list: readonly Revocation[],
  own: ReadonlyMap<string, Buffer>,
  upstream: Upstream,
): RevocationSet {
  const ids = list.flatMap(({ what, value }) => (what === 'id' ? [value] : []));
  return {
    crls: new Map([...own, ...upstream.crls.map((crl, i) => [`parent ${i}`, crl] as const)]),
    spiffeIds: new Set([...ids, ...upstream.spiffeIds]),
    serials: new Set(list.flatMap(({ what, value }) => (what === 'serial' ? [value] : []))),
  };
}

/** What the parent has sent, as it is kept. */
export function upstreamJson({ bundle, crls, spiffeIds }: Upstream): Json {
  return {
    bundle: bundle === undefined ? null : formatBundle(bundle),
    crls: crls.map((crl) => crl.toString('base64')),
    spiffeIds,
  };
}

const upstreamSchema = z.strictObject({
  bundle: z.string().nullable(),
  crls: z.array(z.base64()),
  spiffeIds: z.array(z.string()),
});

/** What the parent has sent, from its kept form. Throws `state`. */
export function upstreamFromJson(data: Json | undefined, trustDomain: string): Upstream {
  if (data === undefined) return NO_UPSTREAM;
  const parsed = upstreamSchema.safeParse(data);
  if (!parsed.success)
    throw new InterlockError('state', 'identity database', 'what the parent has sent is not readable');
  const { bundle, crls, spiffeIds } = parsed.data;
  return {
    bundle: bundle === null ? undefined : parseBundle(bundle, trustDomain),
    crls: crls.map((crl) => Buffer.from(crl, 'base64')),
    spiffeIds,
  };
}
