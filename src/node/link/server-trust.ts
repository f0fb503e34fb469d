import { isInterlockError, type SpiffeId } from '../../access/index.ts';
import type { Bundles, Certificate } from '../../identity/index.ts';
import { assertControlPlane, meetControlPlane } from '../../workload/index.ts';

/** What to know the control plane by. */
export interface ServerTrust {
  readonly bundles: Bundles;
  /** Its ID; absent: that of the trust domain's root. A child authority, which has the same root, is another one. */
  readonly server?: SpiffeId | undefined;
}

/**
 * Meets the server for the first time, by the pin of a join token, at the first address where somebody answers. Throws
 * `untrusted`, or `unavailable` where nobody does.
 */
export async function trustByPin(
  addresses: string | readonly string[],
  pin: string,
  now: number,
): Promise<ServerTrust> {
  const all = typeof addresses === 'string' ? [addresses] : addresses;
  for (const [i, address] of all.entries()) {
    try {
      const { id, bundles } = await meetControlPlane(address, pin, now);
      return { bundles, server: id };
    } catch (error) {
      const isAway = isInterlockError(error) && error.code === 'unavailable';
      if (!isAway || i === all.length - 1) throw error;
    }
  }
  throw new RangeError('there is no address');
}

/** Throws `untrusted` unless the chain is the control plane's own. Gives the authority that has signed its certificate. */
export function assertServer(
  chain: readonly Buffer[],
  { bundles, server }: ServerTrust,
  now: number,
  crls: readonly Buffer[],
): Certificate {
  return assertControlPlane(chain, server, { bundles, now, crls });
}
