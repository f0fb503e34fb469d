import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { HourCounts } from './hour-counts.ts';

test('counts by hour behave like a Map in ascending order', () => {
  const steps = fc.array(
    fc.record({
      how: fc.constantFrom('add', 'set'),
      key: fc.nat(40),
      n: fc.integer({ min: 1, max: 2 ** 40 }),
    }),
  );
  fc.assert(
    fc.property(steps, steps, (first, second) => {
      const counts = new HourCounts();
      const map = new Map<number, number>();
      for (const { how, key, n } of first) {
        if (how === 'add') {
          counts.add(key, n);
          map.set(key, (map.get(key) ?? 0) + n);
        } else {
          counts.set(key, n);
          map.set(key, n);
        }
      }
      const other = new HourCounts();
      for (const { key, n } of second) {
        other.add(key, n);
        map.set(key, (map.get(key) ?? 0) + n);
      }
      counts.addAll(other);
      const sorted = [...map].toSorted(([a], [b]) => a - b);
      expect([...counts]).toEqual(sorted);
      expect([...counts.keys()]).toEqual(sorted.map(([key]) => key));
      expect([...counts.values()]).toEqual(sorted.map(([, n]) => n));
      expect(counts.size).toBe(map.size);
      for (let key = -1; key <= 41; key++) expect(counts.get(key)).toBe(map.get(key));
      const even = sorted.filter(([key]) => key % 2 === 0).reduce((sum, [, n]) => sum + n, 0);
      expect(counts.sum((key) => key % 2 === 0)).toBe(even);
    }),
  );
});
