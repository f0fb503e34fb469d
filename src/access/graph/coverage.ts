import { type Endpoint, endpointKey } from '../endpoint.ts';
import type { Principal } from '../principal.ts';
import type { SpiffeId } from '../spiffe-id.ts';

/**
 * What one recording says of the time that it covers: a file that was read, or what the enforcement points of one
 * workload reported. It concerns the workloads that it names and no others.
 */
export interface RecordedCoverage {
  readonly source: string;
  /** Events taken in, and events that it says were lost. Whose the lost ones were nobody knows. */
  readonly events: number;
  readonly lost: number;
  /** Callees of its accesses; absent of a recording that an earlier program took in: it may concern every workload. */
  readonly callees?: readonly Endpoint[];
  /** What else it names: callers, and both ends of its blind spots. */
  readonly others?: readonly Endpoint[];
  /** Hours since 1970 UTC in which it recorded anything, ascending; absent as `callees` are. */
  readonly hours?: readonly number[];
}

/** What the recordings that concern one workload cover, and what they lost. */
export interface Covered {
  /** Over all that name it: events that were lost may have been its own. */
  readonly events: number;
  readonly lost: number;
  /** Those that hold calls to it. */
  readonly spans: readonly Pick<RecordedCoverage, 'source' | 'hours'>[];
}

/** Which workloads each end of a record was decided to be. */
export class CoverageBook {
  readonly #keys = new Map<Endpoint, string>();
  readonly #workloads = new Map<string, Set<SpiffeId>>();

  /** Notes what an end was decided to be; an end may be several workloads, over time. */
  note(end: Endpoint, principal: Principal): void {
    if (principal.kind !== 'workload') return;
    const key = this.#keyOf(end);
    const known = this.#workloads.get(key);
    if (known === undefined) this.#workloads.set(key, new Set([principal.id]));
    else known.add(principal.id);
  }

  /** By workload, what concerns it. A recording of which nobody knows whom it names concerns all of them. */
  finish(recordings: Iterable<RecordedCoverage>, all: Iterable<SpiffeId>): Map<SpiffeId, Covered> {
    const found = new Map<SpiffeId, { events: number; lost: number; spans: Covered['spans'][number][] }>();
    const everybody = new Set(all);
    for (const recording of recordings) {
      const { events, lost, callees, others = [] } = recording;
      const called = callees === undefined ? everybody : this.#named(callees);
      for (const workload of called.union(this.#named(others))) {
        let covered = found.get(workload);
        if (covered === undefined) found.set(workload, (covered = { events: 0, lost: 0, spans: [] }));
        covered.events += events;
        covered.lost += lost;
        if (called.has(workload)) covered.spans.push(recording);
      }
    }
    return found;
  }

  #named(ends: readonly Endpoint[]): Set<SpiffeId> {
    const named = new Set<SpiffeId>();
    for (const end of ends) for (const id of this.#workloads.get(this.#keyOf(end)) ?? []) named.add(id);
    return named;
  }

  /** The store gives equal ends as one object: each text is made once. */
  #keyOf(end: Endpoint): string {
    let key = this.#keys.get(end);
    if (key === undefined) this.#keys.set(end, (key = endpointKey(end)));
    return key;
  }
}
