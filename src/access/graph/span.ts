import type { Evidence } from '../evidence.ts';
import { byName } from '../order.ts';
import type { Coverage } from './graph.ts';

type Span = Pick<Coverage, 'firstSeen' | 'lastSeen' | 'hours' | 'bySource'>;

const sorted = (hours: Iterable<number>) => [...hours].toSorted((a, b) => a - b);

/** The time that records cover, in all and by source. */
export class SpanBook {
  readonly #hours = new Map<string, Set<number>>();
  #firstSeen = Number.POSITIVE_INFINITY;
  #lastSeen = Number.NEGATIVE_INFINITY;
  /** The hours as they are given out, until there is one more. */
  #given: Pick<Span, 'hours' | 'bySource'> | undefined;

  /** Adds a record; `before` is the same record with less in it, which was added already. */
  add({ counts, sources, firstSeen, lastSeen }: Evidence, before?: Evidence): void {
    if (firstSeen < this.#firstSeen) this.#firstSeen = firstSeen;
    if (lastSeen > this.#lastSeen) this.#lastSeen = lastSeen;
    // A record only grows: as many hours and sources are the same ones.
    if (before?.counts.size === counts.size && before.sources.size === sources.size) return;
    sources.forEach((source) => {
      let hours = this.#hours.get(source);
      if (hours === undefined) this.#hours.set(source, (hours = new Set()));
      const known = hours;
      const size = known.size;
      counts.each((key) => known.add(key >> 2));
      if (known.size > size || size === 0) this.#given = undefined;
    });
  }

  get span(): Span {
    if (this.#given === undefined) {
      const all = new Set<number>();
      for (const hours of this.#hours.values()) for (const hour of hours) all.add(hour);
      const bySource = new Map([...this.#hours].toSorted(byName).map(([name, of]) => [name, sorted(of)]));
      this.#given = { hours: sorted(all), bySource };
    }
    return { firstSeen: this.#firstSeen, lastSeen: this.#lastSeen, ...this.#given };
  }
}
