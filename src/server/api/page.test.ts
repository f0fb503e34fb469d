import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { sortedPageOf } from './page.ts';

/** Keys as hostile callers make them: long, alike, with separators. */
const key = fc.oneof(
  fc.string({ maxLength: 5 }),
  fc.tuple(fc.constantFrom('a', 'b/'), fc.nat(400)).map(([text, n]) => text.repeat(n)),
  fc.string({ unit: 'binary', maxLength: 8 }),
);

function everyPage(items: readonly string[], limit: number): string[] {
  const found: string[] = [];
  for (let after: string | undefined; ; ) {
    const page = sortedPageOf(items, { limit, after }, (item) => item);
    expect(page.items.length).toBeLessThanOrEqual(limit);
    found.push(...page.items);
    if (page.next === undefined) return found;
    expect(page.next.length).toBeLessThanOrEqual(400);
    after = page.next;
  }
}

describe('pages', () => {
  test('hold everything once, in order, whatever the keys', () => {
    fc.assert(
      fc.property(fc.uniqueArray(key, { maxLength: 60 }), fc.integer({ min: 1, max: 20 }), (keys, limit) => {
        expect(everyPage(keys, limit)).toEqual([...keys].sort());
      }),
    );
  });

  test('hide nothing that stays when other items come and go between them', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(key, { minLength: 4, maxLength: 40 }),
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 10 }),
        (keys, every, limit) => {
          const staying = keys.filter((_, i) => i % (every + 1) === 0);
          const first = sortedPageOf(keys, { limit }, (item) => item);
          const rest: string[] = [];
          for (let after = first.next; after !== undefined; ) {
            const page = sortedPageOf(staying, { limit, after }, (item) => item);
            rest.push(...page.items);
            after = page.next;
          }
          const seen = new Set([...first.items, ...rest]);
          for (const item of staying) expect(seen).toContain(item);
        },
      ),
    );
  });

  test('are not asked for with a cursor that nobody gave', () => {
    for (const after of ['$', 'a b', ''])
      expect(() => sortedPageOf(['a'], { limit: 1, after }, (item) => item)).toThrow(/"next"/);
  });
});
