import { type Certificate, createRequest } from '../../identity/index.ts';
import type { Timers } from '../timers.ts';
import type { Place } from '../place.ts';
import { openControlPlane } from './control-plane.ts';
import { chainOf } from './certified-chain.ts';
import type { Actor } from './recorder.ts';
import { makeRequest } from './requests.ts';
import type { Slot } from './slots.ts';

/** Makes the first authority of a state that was just set up; `sign` does it where the root is elsewhere. */
export async function prepareFirst(
  state: string | Place,
  who: Actor,
  timers: Timers,
  sign?: (csr: Buffer) => Promise<readonly Certificate[]>,
): Promise<Slot> {
  const plane = await openControlPlane({ state, timers });
  try {
    if (sign === undefined) return await plane.authorities.prepare(who);
    const { keyId } = await makeRequest(who, plane);
    const certificates = await sign(createRequest(await plane.keys.vault.get(keyId)));
    return await plane.authorities.adopt(who, keyId, chainOf(certificates));
  } finally {
    await plane.close();
  }
}
