import type { Timers } from '../timers.ts';
import type { Place } from '../place.ts';
import type { Domain } from './domain.ts';
import { initialise, refuseSetUp } from './initialise.ts';
import { makeRoot } from './new-root.ts';
import { prepareFirst } from './prepare-first.ts';
import type { Actor } from './recorder.ts';
import type { Slot } from './slots.ts';

export interface SetUpOptions {
  readonly state: string | Place;
  readonly domain: Domain;
  readonly who: Actor;
  readonly timers: Timers;
  /** Where the root is made, and how long it lives (milliseconds), where it is kept offline. */
  readonly offlineRoot?: { readonly dir: string; readonly ttl: number } | undefined;
}

/**
 * Sets up a trust domain with its first authority, and its offline root. Where that fails nothing is left of the root,
 * and the same can be done again. Throws `conflict` where a trust domain or a root is there already, `io`.
 */
export async function setUp({ state, domain, who, timers, offlineRoot }: SetUpOptions): Promise<Slot> {
  await refuseSetUp(state, domain);
  if (offlineRoot === undefined) {
    await initialise(state, domain, who, timers);
    return prepareFirst(state, who, timers);
  }
  const root = await makeRoot(offlineRoot.dir, domain, offlineRoot.ttl, timers.now());
  let isKept = false;
  try {
    await initialise(state, domain, who, timers);
    return await prepareFirst(state, who, timers, async (csr) => {
      const chain = await root.sign(csr, domain.authorityTtl);
      // Before the state says that there is an authority under it.
      root.keep();
      isKept = true;
      return chain;
    });
  } catch (error) {
    // What failed may have been recorded all the same: a root that is in use must not go.
    if (!isKept || (await isFree(state, domain))) await root.remove();
    throw error;
  }
}

async function isFree(state: string | Place, domain: Domain): Promise<boolean> {
  try {
    await refuseSetUp(state, domain);
    return true;
  } catch {
    return false;
  }
}
