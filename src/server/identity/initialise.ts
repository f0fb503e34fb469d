import { InterlockError, isInterlockError, parseTrustDomain } from '../../access/index.ts';
import type { IdentityStore } from '../../store/index.ts';
import { type Place, placeOf } from '../place.ts';
import type { Timers } from '../timers.ts';
import { DOMAIN_SETTING, type Domain, domainFromJson } from './domain.ts';
import type { Actor } from './recorder.ts';

/**
 * Sets up a state for a trust domain; its first authority comes later. Where an attempt got that far and no
 * farther it is taken up again. Throws `conflict` where one is set up already.
 */
export async function initialise(
  state: string | Place,
  domain: Domain,
  who: Actor,
  timers: Timers,
): Promise<void> {
  parseTrustDomain(domain.trustDomain);
  const place = placeOf(state);
  const store = await place.openIdentity({ create: true });
  try {
    const version = await refuseOther(store, place, domain);
    const data = JSON.parse(JSON.stringify(domain)) as { [key: string]: string };
    // Of two who set the same state up at once one does.
    const name = DOMAIN_SETTING;
    await store.commit([{ change: 'put', kind: 'setting', name, data, expect: version }], {
      at: timers.now(),
      who,
      act: 'domain.init',
      what: domain.trustDomain,
      details: data,
    });
  } finally {
    await store.close();
  }
}

/** The trust domain that a state holds with an authority; undefined where it is still to be set up. Throws `state`, `io`. */
export async function domainOf(state: string | Place): Promise<Domain | undefined> {
  let store: IdentityStore;
  try {
    store = await placeOf(state).openIdentity();
  } catch (error) {
    if (isInterlockError(error) && error.code === 'not_found') return undefined;
    throw error;
  }
  try {
    const setting = (await store.documents('setting')).find(({ name }) => name === DOMAIN_SETTING);
    const isSetUp = (await store.documents('authority')).length > 0;
    return setting === undefined || !isSetUp ? undefined : domainFromJson(setting.data);
  } finally {
    await store.close();
  }
}

/** Throws `conflict` where {@link initialise} would, and makes nothing. */
export async function refuseSetUp(state: string | Place, domain: Domain): Promise<void> {
  const place = placeOf(state);
  let store: IdentityStore;
  try {
    store = await place.openIdentity();
  } catch (error) {
    if (isInterlockError(error) && error.code === 'not_found') return;
    throw error;
  }
  try {
    await refuseOther(store, place, domain);
  } finally {
    await store.close();
  }
}

/** A trust domain without any authority is one whose setting up broke off: the same one may be set up again. The setting's version. */
async function refuseOther(store: IdentityStore, { name: where }: Place, domain: Domain): Promise<number> {
  const [setting] = await store.documents('setting', [DOMAIN_SETTING]);
  if (setting === undefined) return 0;
  const { trustDomain, root } = domainFromJson(setting.data);
  const authorities = await store.documents('authority');
  if (authorities.length === 0 && trustDomain === domain.trustDomain && root === domain.root)
    return setting.version;
  throw new InterlockError(
    'conflict',
    where,
    `${where} already holds an authority: use it, or choose another directory with --state`,
  );
}
