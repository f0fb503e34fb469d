import { z } from 'zod';
import { InterlockError, parseSpiffeId, type SpiffeId } from '../../access/index.ts';
import {
  type Bundle,
  type Bundles,
  formatBundle,
  parseBundle,
  withoutAuthorities,
} from '../../identity/index.ts';
import type { BundleState } from '../../proto/index.ts';
import type { IdentityStore, Json } from '../../store/index.ts';

/** Name of the setting that holds a {@link ChildState}. */
export const PARENT_SETTING = 'parent';

/** What a child authority keeps of its parent; the key of its SVID is in the vault. */
export interface ChildState {
  readonly spiffeId: SpiffeId;
  /** The parent's own. */
  readonly parentId: SpiffeId;
  /** Of the SVID's key. */
  readonly keyId: string;
  /** DER, leaf first. */
  readonly chain: readonly Buffer[];
  /** The parent's trust domain: what the parent itself is known by. */
  readonly parentBundle: Bundle;
}

const schema = z.strictObject({
  spiffeId: z.string(),
  parentId: z.string(),
  keyId: z.string(),
  chain: z.array(z.base64()),
  trustDomain: z.string(),
  bundle: z.string(),
});

/** The state as it is kept. */
export function childStateJson({ spiffeId, parentId, keyId, chain, parentBundle }: ChildState): Json {
  return {
    spiffeId,
    parentId,
    keyId,
    chain: chain.map((der) => der.toString('base64')),
    trustDomain: parentBundle.trustDomain,
    bundle: formatBundle(parentBundle),
  };
}

/** The state that is kept, or undefined for a control plane that has had no parent. Throws `state`. */
export async function readChildState(
  store: IdentityStore,
  setting = PARENT_SETTING,
): Promise<ChildState | undefined> {
  const data = (await store.documents('setting')).find(({ name }) => name === setting)?.data;
  if (data === undefined) return undefined;
  const parsed = schema.safeParse(data);
  if (!parsed.success)
    throw new InterlockError('state', 'parent', 'what is kept of the parent is not readable');
  const { spiffeId, parentId, keyId, chain, trustDomain, bundle } = parsed.data;
  return {
    spiffeId: parseSpiffeId(spiffeId),
    parentId: parseSpiffeId(parentId),
    keyId,
    chain: chain.map((der) => Buffer.from(der, 'base64')),
    parentBundle: parseBundle(bundle, trustDomain),
  };
}

/** The bundles of a message by trust domain. Throws what is wrong with them. */
export function bundlesOf(state: BundleState): Bundles {
  return new Map(state.bundles.map(({ trustDomain, jwks }) => [trustDomain, parseBundle(jwks, trustDomain)]));
}

/** The parent's own bundle among those it sent. Throws `untrusted`. */
export function parentBundleOf(state: BundleState | undefined): Bundle {
  const bundle = state === undefined ? undefined : bundlesOf(state).get(state.trustDomain);
  if (bundle !== undefined) return bundle;
  throw new InterlockError('untrusted', 'parent', 'the parent sent no bundle of its own trust domain');
}

/**
 * The bundle of the other one's trust domain as it says it for itself: not what it has from others, us among them. By
 * this it is known: another region that it trusts is not to be taken for it.
 */
export function ownPart(state: BundleState | undefined): Bundle {
  const bundle = parentBundleOf(state);
  const regions = state?.regions;
  return regions === undefined
    ? bundle
    : withoutAuthorities(bundle, parseBundle(regions.jwks, regions.trustDomain));
}
