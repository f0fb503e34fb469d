import { InterlockError, parseSpiffeId, trustDomainOf } from '../../access/index.ts';
import {
  type Bundles,
  generateKey,
  keyIdOf,
  parseCertificate,
  readJoinToken,
  spkiOf,
} from '../../identity/index.ts';
import { openIdentityStore } from '../../store/index.ts';
import { chainOf } from '../identity/certified-chain.ts';
import { openControlPlane } from '../identity/control-plane.ts';
import { DEFAULT_AUTHORITY_TTL, DOMAIN_SETTING, type Domain } from '../identity/domain.ts';
import { initialise } from '../identity/initialise.ts';
import type { Actor } from '../identity/recorder.ts';
import { KeyVault } from '../keys/key-vault.ts';
import type { Timers } from '../timers.ts';
import {
  type ChildState,
  childStateJson,
  PARENT_SETTING,
  parentBundleOf,
  readChildState,
} from './child-state.ts';
import { ParentClient } from './parent-client.ts';
import { meetParent } from './parent-trust.ts';

/** Where the parent is, and the token for the first time. */
export interface JoinOptions {
  readonly state: string;
  /** HOST:PORT. */
  readonly address: string;
  readonly joinToken?: string | undefined;
  readonly who: Actor;
  readonly timers: Timers;
}

/**
 * Makes a state directory that of a child of the parent. One that holds no trust domain becomes an authority of the
 * parent's, limited as the parent's rule says; one that has its own trust domain keeps it, and will publish its bundle
 * to the parent. Does nothing where that was done before.
 */
export async function joinParent(options: JoinOptions): Promise<void> {
  const { state } = options;
  const store = await openIdentityStore(state, { create: true });
  let child: ChildState | undefined;
  try {
    child = await readChildState(store);
    if (child === undefined) {
      child = await attested(options);
      // At once: the token is used up.
      const data = childStateJson(child);
      await store.commit([{ change: 'put', kind: 'setting', name: PARENT_SETTING, data }]);
    }
    const settings = await store.documents('setting');
    if (settings.some(({ name }) => name === DOMAIN_SETTING)) return;
  } finally {
    await store.close();
  }
  await becomeAuthority(options, child);
}

async function attested({ state, address, joinToken, timers }: JoinOptions): Promise<ChildState> {
  if (joinToken === undefined) {
    throw new InterlockError(
      'usage',
      '--join-token',
      'the parent does not know this control plane yet: give --join-token, from its "interlock authority token"',
    );
  }
  const { pin } = readJoinToken(joinToken);
  if (pin === undefined)
    throw new InterlockError('usage', '--join-token', 'the join token names no root: take it whole');
  const { id, bundles } = await meetParent(address, pin, timers.now());
  const key = generateKey('ec-p256');
  const keyId = await new KeyVault(state).put(key);
  const client = new ParentClient({ address, id, bundles, crls: [], now: () => timers.now() });
  try {
    const svid = await client.attest(joinToken, key);
    const { spiffeId } = svid;
    return {
      spiffeId: parseSpiffeId(spiffeId),
      parentId: id,
      keyId,
      chain: svid.chain.map((der) => Buffer.from(der)),
      parentBundle: parentBundleOf(svid.bundles),
    };
  } finally {
    client.close();
  }
}

/** The first intermediate says what this control plane is limited to: with it the trust domain is set up. */
async function becomeAuthority(
  { state, address, who, timers }: JoinOptions,
  child: ChildState,
): Promise<void> {
  const vault = new KeyVault(state);
  const key = generateKey('ec-p256');
  const keyId = keyIdOf(spkiOf(key));
  await vault.put(key);
  const trustDomain = trustDomainOf(child.spiffeId);
  const bundles: Bundles = new Map([[trustDomain, child.parentBundle]]);
  const svid = { key: await vault.get(child.keyId), chain: child.chain };
  const client = new ParentClient({
    address,
    id: child.parentId,
    bundles,
    crls: [],
    now: () => timers.now(),
    svid,
  });
  try {
    const answer = await client.signAuthority(key, DEFAULT_AUTHORITY_TTL);
    const parentBundle = parentBundleOf(answer.bundles);
    const certified = certifiedBy(answer.chain, parentBundle.x509Authorities);
    const { prefixes } = certified.intermediates[0] ?? certified.root;
    const domain: Domain = {
      trustDomain,
      algorithm: 'ec-p256',
      authorityTtl: DEFAULT_AUTHORITY_TTL,
      root: 'parent',
      parent: address,
      ...(prefixes === undefined ? {} : { prefixes }),
    };
    await initialise(state, domain, who, timers);
    const plane = await openControlPlane({ state, timers });
    try {
      await plane.registry.step(async () => ({
        step: { upstream: { bundle: parentBundle, crls: [], spiffeIds: [] } },
        entry: plane.recorder.entry(who, 'parent.join', address),
      }));
      await plane.authorities.adopt(who, keyId, certified);
    } finally {
      await plane.close();
    }
  } finally {
    client.close();
  }
}

/** A chain without its root, completed by the authority that certified its last certificate. Throws `untrusted`. */
export function certifiedBy(chain: readonly Uint8Array[], authorities: readonly Buffer[]) {
  const certificates = chain.map((der) => parseCertificate(der));
  const last = certificates.at(-1);
  const root = authorities
    .map((der) => parseCertificate(der))
    .find((each) => last?.issuerName.equals(each.subjectName) && last.authorityKeyId === each.subjectKeyId);
  if (root === undefined)
    throw new InterlockError('untrusted', 'parent', 'the parent is not certified by its own bundle');
  return chainOf([...certificates, root]);
}
