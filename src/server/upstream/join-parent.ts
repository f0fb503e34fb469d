import {
  type ErrorCode,
  HOUR_MS,
  InterlockError,
  isInterlockError,
  parseSpiffeId,
  trustDomainOf,
} from '../../access/index.ts';
import {
  type Bundles,
  generateKey,
  keyIdOf,
  parseCertificate,
  readJoinToken,
  spkiOf,
} from '../../identity/index.ts';
import { meetControlPlane } from '../../workload/index.ts';
import { chainOf } from '../identity/certified-chain.ts';
import { openControlPlane } from '../identity/control-plane.ts';
import { DEFAULT_AUTHORITY_TTL, DOMAIN_SETTING, type Domain } from '../identity/domain.ts';
import { initialise } from '../identity/initialise.ts';
import type { Actor } from '../identity/recorder.ts';
import type { KeyVault } from '../keys/key-vault.ts';
import { type Place, placeOf } from '../place.ts';
import type { ServerLog } from '../serve-options.ts';
import type { Timers } from '../timers.ts';
import { type ChildState, childStateJson, ownPart, PARENT_SETTING, readChildState } from './child-state.ts';
import { ParentClient } from './parent-client.ts';

/** Where the parent is, and the token for the first time. */
export interface JoinOptions {
  readonly state: string | Place;
  /** HOST:PORT. */
  readonly address: string;
  readonly joinToken?: string | (() => string) | undefined;
  readonly who: Actor;
  readonly timers: Timers;
  readonly log: Pick<ServerLog, 'warn'>;
}

/** First and longest wait for a parent that does not answer; each is spread over its second half. */
const FIRST_WAIT_MS = 2000;
const LONGEST_WAIT_MS = 30_000;

/**
 * As {@link joinOnce}, tried until the parent answers. What it refuses is not tried again: a join token is good once.
 */
export async function joinParent(options: JoinOptions): Promise<void> {
  const { timers, log, address } = options;
  for (let longest = FIRST_WAIT_MS; ; longest = Math.min(longest * 2, LONGEST_WAIT_MS)) {
    try {
      return await joinOnce(options);
    } catch (error) {
      if (!isInterlockError(error) || error.code !== 'unavailable') throw error;
      log.warn({ parent: address, error }, 'the parent is not reached: it is tried again');
      await waited(longest * (0.5 + timers.random() / 2), timers);
    }
  }
}

/** Nothing else keeps the process alive until the parent answers. */
async function waited(ms: number, timers: Timers): Promise<void> {
  const alive = setInterval(() => {}, HOUR_MS);
  await new Promise<void>((resolve) => {
    timers.after(ms, resolve);
  });
  clearInterval(alive);
}

/**
 * Makes a state directory that of a child of the parent. One that holds no trust domain becomes an authority of the
 * parent's, limited as the parent's rule says; one that has its own trust domain keeps it, and will publish its bundle
 * to the parent. Does nothing where that was done before.
 */
async function joinOnce(options: JoinOptions): Promise<void> {
  const place = placeOf(options.state);
  const store = await place.openIdentity({ create: true });
  let child: ChildState | undefined;
  try {
    const known = await readChildState(store);
    const vault = await place.vault(store);
    child =
      known === undefined ? await attested({ ...options, vault }) : await renewedOnce(known, vault, options);
    if (child !== known) {
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

/**
 * A child that was away until its SVID for the parent ended is let in again by a token of the same name. Where that is
 * refused, or nobody answers, it goes on without its parent: its own agents need it.
 */
async function renewedOnce(known: ChildState, vault: KeyVault, options: JoinOptions): Promise<ChildState> {
  const { timers, log, address: parent, joinToken } = options;
  const [leaf] = known.chain;
  if (leaf !== undefined && parseCertificate(leaf).notAfter > timers.now()) return known;
  if (joinToken === undefined) {
    log.warn({ parent }, 'the SVID for the parent has ended: give --join-token-file, with a new join token');
    return known;
  }
  try {
    const fresh = await attested({ ...options, vault });
    if (fresh.parentId === known.parentId && fresh.spiffeId === known.spiffeId) return fresh;
    throw new InterlockError(
      'conflict',
      known.spiffeId,
      `this control plane is ${known.spiffeId} of ${known.parentId}, and the join token was for ${fresh.spiffeId} of ${fresh.parentId}`,
    );
  } catch (error) {
    log.warn({ parent, error }, 'the SVID for the parent has ended, and the join token gave no new one');
    return known;
  }
}

/** Attests to another control plane by a join token; what is to be kept of it. Throws its refusal, `usage`, `untrusted`. */
export async function attested(
  options: Pick<JoinOptions, 'address' | 'joinToken' | 'timers'> & { readonly vault: KeyVault },
): Promise<ChildState> {
  const { vault, address, timers } = options;
  if (options.joinToken === undefined) {
    throw new InterlockError(
      'usage',
      '--join-token',
      'the parent does not know this control plane yet: give --join-token-file or --join-token, from its "interlock authority token"',
    );
  }
  const joinToken = typeof options.joinToken === 'string' ? options.joinToken : options.joinToken();
  const { pin } = readJoinToken(joinToken);
  if (pin === undefined)
    throw new InterlockError('usage', '--join-token', 'the join token names no root: take it whole');
  const { id, bundles } = await meetControlPlane(address, pin, timers.now());
  const key = generateKey('ec-p256');
  const keyId = await vault.put(key);
  const client = new ParentClient({ address, id, bundles, crls: [], now: () => timers.now() });
  try {
    const svid = await client.attest(joinToken, key);
    const { spiffeId } = svid;
    return {
      spiffeId: parseSpiffeId(spiffeId),
      parentId: id,
      keyId,
      chain: svid.chain.map((der) => Buffer.from(der)),
      parentBundle: ownPart(svid.bundles),
    };
  } catch (error) {
    await vault.remove(keyId);
    throw refused(error);
  } finally {
    client.close();
  }
}

/** What is wrong with the token or with this control plane; a state of the parent's own may pass. */
const REFUSED: ReadonlySet<ErrorCode> = new Set(['usage', 'forbidden', 'untrusted']);

function refused(error: unknown): unknown {
  if (!isInterlockError(error) || !REFUSED.has(error.code)) return error;
  const { code, subject, message, cause } = error;
  const text = `${message}. The same join token is not tried again: start with a new one, from "interlock authority token" on the parent`;
  return new InterlockError(code, subject, text, { cause });
}

/** The keys of a state that is opened and closed by others meanwhile. */
async function vaultOf(place: Place): Promise<KeyVault> {
  const store = await place.openIdentity();
  try {
    return await place.vault(store);
  } finally {
    await store.close();
  }
}

/** The first intermediate says what this control plane is limited to: with it the trust domain is set up. */
async function becomeAuthority(
  { state, address, who, timers }: JoinOptions,
  child: ChildState,
): Promise<void> {
  const vault = await vaultOf(placeOf(state));
  const key = generateKey('ec-p256');
  const keyId = keyIdOf(spkiOf(key));
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
    await vault.put(key);
    const parentBundle = ownPart(answer.bundles);
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
