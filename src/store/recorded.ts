import type { Recorded } from '../access/index.ts';
import type { Store } from './store.ts';

/** Everything that a store holds of an estate, for `buildGraph`. */
export async function recordedOf(store: Store, trustDomain: string): Promise<Recorded> {
  let events = 0;
  let lost = 0;
  for (const recording of await store.recordings()) {
    if (recording.format !== 'kubernetes') events += recording.accepted;
    for (const n of recording.lost.values()) lost += n;
  }
  return {
    trustDomain,
    accesses: await store.accesses(),
    blindSpots: await store.blindSpots(),
    facts: await store.facts(),
    coverage: await store.coverage(),
    events,
    lost,
  };
}
