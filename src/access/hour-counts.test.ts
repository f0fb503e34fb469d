import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { HourCounts } from './hour-counts.ts';

test('counts by hour behave like a Map in ascending order', () => {
  const steps = fc.array(
    fc.record({
      how: fc.constantFrom('add', 'add', 'set', 'delete'),
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
        } else if (how === 'delete') {
          counts.delete(key);
          map.delete(key);
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
      const cells = new Float64Array(sorted.length * 2 + 2);
      expect(counts.copyTo(cells, 1)).toBe(1 + sorted.length * 2);
      expect([...cells]).toEqual([0, ...sorted.flat(), 0]);
      const taken = new HourCounts();
      taken.takeOver(sorted.flat());
      expect([...taken]).toEqual(sorted);
      taken.takeOver(sorted.flat());
      expect([...taken]).toEqual(sorted.map(([key, n]) => [key, 2 * n]));
      for (let key = -1; key <= 41; key++) expect(counts.get(key)).toBe(map.get(key));
      const even = sorted.filter(([key]) => key % 2 === 0).reduce((sum, [, n]) => sum + n, 0);
      expect(counts.sum((key) => key % 2 === 0)).toBe(even);
    }),
  );
});
