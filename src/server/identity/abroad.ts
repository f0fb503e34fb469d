import { z } from 'zod';
import { InterlockError } from '../../access/index.ts';
import { type Bundle, parseBundle } from '../../identity/index.ts';
import { keptBundle } from './bundle-limits.ts';
import type { Change, DocumentKind, IdentityStore, Json } from '../../store/index.ts';

/** A named authority of this control plane that another control plane certifies, and what that one has told. */
export interface Joined {
  /** HOST:PORT of the other control plane. */
  readonly address: string;
  /** Of the other control plane's trust domain: another one, or the own one where it is another region of it. */
  readonly bundle: Bundle;
  /** DER. */
  readonly crls: readonly Buffer[];
  /** IDs that the other control plane has revoked. */
  readonly spiffeIds: readonly string[];
}

/** What this control plane has to do with others that are not above it. */
export interface Abroad {
  /** By the name of the authority. */
  readonly joined: ReadonlyMap<string, Joined>;
  /** What other regions of the own trust domain have published here, by the agent that each of them is. */
  readonly regions: ReadonlyMap<string, Bundle>;
  /** Trust domains to which a cutover moves identities. */
  readonly targets: readonly string[];
}

const TARGETS_SETTING = 'targets';

const joinedSchema = z.strictObject({
  address: z.string(),
  trustDomain: z.string(),
  bundle: z.string(),
  crls: z.array(z.base64()),
  spiffeIds: z.array(z.string()),
});

function joinedJson({ address, bundle, crls, spiffeIds }: Joined): Json {
  return {
    address,
    trustDomain: bundle.trustDomain,
    bundle: keptBundle(bundle),
    crls: crls.map((crl) => crl.toString('base64')),
    spiffeIds,
  };
}

/** The changes that make the one into the other in the store. */
export function abroadChanges(before: Abroad, after: Abroad): Change[] {
  const changes = [
    ...mapChanges('joined', before.joined, after.joined, joinedJson),
    ...mapChanges('region', before.regions, after.regions, keptBundle),
  ];
  if (before.targets !== after.targets)
    changes.push({ change: 'put', kind: 'setting', name: TARGETS_SETTING, data: after.targets });
  return changes;
}

function mapChanges<T>(
  kind: DocumentKind,
  before: ReadonlyMap<string, T>,
  after: ReadonlyMap<string, T>,
  json: (value: T) => Json,
): Change[] {
  const changes: Change[] = [];
  for (const [name, value] of after)
    if (before.get(name) !== value) changes.push({ change: 'put', kind, name, data: json(value) });
  for (const name of before.keys()) if (!after.has(name)) changes.push({ change: 'remove', kind, name });
  return changes;
}

/** What was kept. Throws `state`. */
export async function readAbroad(
  store: IdentityStore,
  trustDomain: string,
  settings: ReadonlyMap<string, Json>,
): Promise<Abroad> {
  const joined = new Map<string, Joined>();
  for (const { name, data } of await store.documents('joined')) {
    const parsed = joinedSchema.safeParse(data);
    if (!parsed.success)
      throw new InterlockError('state', name, `what is kept of the authority "${name}" is not readable`);
    const { address, bundle, crls, spiffeIds } = parsed.data;
    joined.set(name, {
      address,
      bundle: parseBundle(bundle, parsed.data.trustDomain),
      crls: crls.map((crl) => Buffer.from(crl, 'base64')),
      spiffeIds,
    });
  }
  const regions = await store.documents('region');
  const targets = z.array(z.string()).safeParse(settings.get(TARGETS_SETTING));
  return {
    joined,
    regions: new Map(
      regions.map(({ name, data }) => [name, parseBundle(typeof data === 'string' ? data : '', trustDomain)]),
    ),
    targets: targets.data ?? [],
  };
}
