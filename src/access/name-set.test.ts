import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { NameSet } from './name-set.ts';

test('a set of names behaves like a Set in ascending order', () => {
  const step = fc.oneof(fc.string({ maxLength: 2 }), fc.constant('drop the largest' as const));
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const names = new NameSet();
      let sorted: string[] = [];
      for (const each of steps) {
        if (each === 'drop the largest') {
          names.dropLargest();
          sorted.pop();
        } else {
          names.add(each);
          sorted = [...new Set([...sorted, each])].sort();
        }
        expect([...names]).toEqual(sorted);
        expect(names.size).toBe(sorted.length);
        expect(names.largest).toBe(sorted.at(-1));
        expect(names.has(each)).toBe(sorted.includes(each));
      }
      expect([...new NameSet(steps)]).toEqual([...new Set(steps)].sort());
    }),
  );
});
