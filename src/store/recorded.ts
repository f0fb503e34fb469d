import type { Recorded } from '../access/index.ts';
import type { Store, StoreMoment } from './store.ts';

/** Everything that a store holds of an estate, for `buildGraph`. */
export async function recordedOf(store: StoreMoment, trustDomain: string): Promise<Recorded> {
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

/** Everything of one moment, with how many files it holds, and the last batch of live evidence in it where others write any. */
export async function recordedAt(
  store: Store,
  trustDomain: string,
): Promise<{ readonly recorded: Recorded; readonly files: number; readonly seq: number | undefined }> {
  const read = async (then: StoreMoment, seq: number | undefined) => {
    const files = (await then.digests()).size;
    return { recorded: await recordedOf(then, trustDomain), files, seq };
  };
  return store.moment === undefined ? read(store, undefined) : store.moment(read);
}
