import { InterlockError, isInterlockError, parseTrustDomain } from '../../access/index.ts';
import { type IdentityStore, openIdentityStore } from '../../store/index.ts';
import type { Timers } from '../timers.ts';
import { DOMAIN_SETTING, type Domain, domainFromJson } from './domain.ts';
import type { Actor } from './recorder.ts';

/**
 * Sets up a state directory for a trust domain; its first authority comes later. Where an attempt got that far and no
 * farther it is taken up again. Throws `conflict` where one is set up already.
 */
export async function initialise(state: string, domain: Domain, who: Actor, timers: Timers): Promise<void> {
  parseTrustDomain(domain.trustDomain);
  const store = await openIdentityStore(state, { create: true });
  try {
    await refuseOther(store, state, domain);
    const data = JSON.parse(JSON.stringify(domain)) as { [key: string]: string };
    await store.commit([{ change: 'put', kind: 'setting', name: DOMAIN_SETTING, data }], {
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

/** The trust domain that a state directory holds with an authority; undefined where it is still to be set up. Throws `state`, `io`. */
export async function domainOf(state: string): Promise<Domain | undefined> {
  let store: IdentityStore;
  try {
    store = await openIdentityStore(state);
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
export async function refuseSetUp(state: string, domain: Domain): Promise<void> {
  let store: IdentityStore;
  try {
    store = await openIdentityStore(state);
  } catch (error) {
    if (isInterlockError(error) && error.code === 'not_found') return;
    throw error;
  }
  try {
    await refuseOther(store, state, domain);
  } finally {
    await store.close();
  }
}

/** A trust domain without any authority is one whose setting up broke off: the same one may be set up again. */
async function refuseOther(store: IdentityStore, state: string, domain: Domain): Promise<void> {
  const setting = (await store.documents('setting')).find(({ name }) => name === DOMAIN_SETTING);
  if (setting === undefined) return;
  const { trustDomain, root } = domainFromJson(setting.data);
  const authorities = await store.documents('authority');
  if (authorities.length === 0 && trustDomain === domain.trustDomain && root === domain.root) return;
  throw new InterlockError(
    'conflict',
    state,
    `${state} already holds an authority: use it, or choose another directory with --state`,
  );
}
