import { checkEnvoyDocuments } from './enforcement/envoy/stored.ts';
import { checkRollouts } from './enforcement/rollout-document.ts';
import type { Domain } from './identity/domain.ts';
import { domainOf } from './identity/initialise.ts';
import { type Place, placeOf } from './place.ts';

/**
 * Looks whether a control plane could start on a state, and changes nothing. Gives its trust domain, or undefined where none is set
 * up there yet. Throws `state` where what is in force, or where Envoys listen, cannot be read.
 */
export async function checkState(state: string | Place): Promise<Domain | undefined> {
  const domain = await domainOf(state);
  if (domain === undefined) return undefined;
  const store = await placeOf(state).openIdentity();
  try {
    await checkRollouts(store);
    await checkEnvoyDocuments(store);
  } finally {
    await store.close();
  }
  return domain;
}
