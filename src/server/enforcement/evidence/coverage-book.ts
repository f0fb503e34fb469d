import { HOUR_MS, type SpiffeId } from '../../../access/index.ts';
import type { WorkloadCoverage } from '../../../store/index.ts';
import type { PointKind } from '../points.ts';

/** What is added of one workload; `at` is when, in milliseconds since 1970 UTC. */
export interface Covers {
  readonly events?: number;
  readonly lost?: number;
  readonly at?: number;
}

/** Adds up what points saw and lost, by the workload that it concerns and by nothing else. */
export class CoverageBook {
  readonly #all = new Map<
    string,
    { workload: SpiffeId; source: PointKind; hours: Set<number>; events: number; lost: number }
  >();

  get isEmpty(): boolean {
    return this.#all.size === 0;
  }

  add(workload: SpiffeId, source: PointKind, { events = 0, lost = 0, at }: Covers): void {
    const key = `${source} ${workload}`;
    let known = this.#all.get(key);
    if (known === undefined)
      this.#all.set(key, (known = { workload, source, hours: new Set(), events: 0, lost: 0 }));
    known.events += events;
    known.lost += lost;
    if (at !== undefined) known.hours.add(Math.floor(at / HOUR_MS));
  }

  addAll(other: CoverageBook): void {
    for (const { workload, source, hours, events, lost } of other.#all.values()) {
      this.add(workload, source, { events, lost });
      for (const hour of hours) this.add(workload, source, { at: hour * HOUR_MS });
    }
  }

  /** Everything that was added. */
  get all(): WorkloadCoverage[] {
    return Array.from(this.#all.values(), ({ hours, ...rest }) => ({ ...rest, hours: [...hours] }));
  }
}
