import { InterlockError, parseTrustDomain } from '../../access/index.ts';
import type { IdentityStore } from '../../store/index.ts';
import { openIdentityStore } from '../../store/index.ts';
import type { Timers } from '../timers.ts';
import { DOMAIN_SETTING, type Domain } from './domain.ts';
import type { Actor } from './recorder.ts';

/**
 * Sets up a state directory for a trust domain; its first authority comes later. Throws `conflict` where one is set
 * up already.
 */
export async function initialise(state: string, domain: Domain, who: Actor, timers: Timers): Promise<void> {
  parseTrustDomain(domain.trustDomain);
  const store: IdentityStore = await openIdentityStore(state, { create: true });
  try {
    const settings = await store.documents('setting');
    if (settings.some(({ name }) => name === DOMAIN_SETTING)) {
      throw new InterlockError(
        'conflict',
        state,
        `${state} already holds an authority: use it, or choose another directory with --state`,
      );
    }
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
