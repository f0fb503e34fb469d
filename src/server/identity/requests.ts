import { InterlockError } from '../../access/index.ts';
import { createRequest, generateKey, pem } from '../../identity/index.ts';
import type { ControlPlane } from './control-plane.ts';
import type { Actor } from './recorder.ts';

/** A key of the vault for an authority that is to be signed elsewhere, and the request for its certificate. */
export async function makeRequest(
  who: Actor,
  { registry, keys, recorder }: Pick<ControlPlane, 'registry' | 'keys' | 'recorder'>,
): Promise<{ keyId: string; pem: string }> {
  const { domain } = registry;
  if (domain.root !== 'offline') {
    throw new InterlockError(
      'conflict',
      domain.trustDomain,
      'only a control plane whose root is kept offline makes requests; here "interlock authority rotate" does it all',
    );
  }
  const key = generateKey(domain.algorithm);
  const keyId = await keys.vault.put(key);
  await recorder.commit([], recorder.entry(who, 'authority.request', keyId));
  return { keyId, pem: pem('CERTIFICATE REQUEST', createRequest(key)) };
}
