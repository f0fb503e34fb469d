import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hashBytes, mix, PAD } from './bytes.ts';
import { PathTable } from './path-table.ts';

interface Key {
  readonly id: number;
  readonly flags: number;
  readonly path: string;
}

function argumentsOf({ id, flags, path }: Key, hash?: number) {
  const bytes = Buffer.from(`xxx${path}${'\0'.repeat(PAD)}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return { id, flags, view, length: path.length, hash: hash ?? hashBytes(view, 3, path.length) };
}

function find<T>(table: PathTable<T>, key: Key, hash?: number): T | undefined {
  const { id, flags, view, length, hash: given } = argumentsOf(key, hash);
  const row = table.find(id, flags, view, 3, length, given);
  return row < 0 ? undefined : table.value(row);
}

function add<T>(table: PathTable<T>, key: Key, value: T, hash?: number): number {
  const { id, flags, view, length, hash: given } = argumentsOf(key, hash);
  expect(table.find(id, flags, view, 3, length, given)).toBe(-1);
  return table.add(id, flags, view, 3, length, value);
}

const textOf = ({ id, flags, path }: Key) => `${id} ${flags} ${path}`;
const keys = fc.uniqueArray(
  fc.record({
    id: fc.nat(2),
    flags: fc.nat(2),
    path: fc.string({ unit: fc.constantFrom('/', 'a', 'b', 'z'), maxLength: 20 }),
  }),
  { selector: textOf, maxLength: 60 },
);

describe('a table of paths', () => {
  test('gives under every key what was kept there, and under no other', () => {
    fc.assert(
      fc.property(keys, keys, (kept, others) => {
        const table = new PathTable<string>();
        for (const key of kept) add(table, key, textOf(key));
        for (const key of kept) expect(find(table, key)).toBe(textOf(key));
        const known = new Set(kept.map(textOf));
        for (const key of others) {
          expect(find(table, key)).toBe(known.has(textOf(key)) ? textOf(key) : undefined);
        }
      }),
    );
  });

  test('grows with what is put into it, and loses nothing until it is full', () => {
    const table = new PathTable<number>();
    const n = 20_000;
    for (let i = 0; i < n; i++) add(table, { id: i & 7, flags: 1, path: `/orders/${i}/items` }, i);
    let missing = 0;
    for (let i = 0; i < n; i++) {
      const value = find(table, { id: i & 7, flags: 1, path: `/orders/${i}/items` });
      if (value === undefined) missing++;
      else expect(value).toBe(i);
    }
    // Only where all places of a hash were taken.
    expect(missing).toBeLessThan(n / 100);
  });

  test('starts anew when it holds as many rows, or as many bytes, as it may', () => {
    for (const limits of [{ maxRows: 4 }, { maxBytes: 4 * '/0'.length }]) {
      const table = new PathTable<number>(limits);
      for (let i = 0; i < 5; i++) add(table, { id: 1, flags: 0, path: `/${i}` }, i);
      const found = Array.from({ length: 5 }, (_, i) => find(table, { id: 1, flags: 0, path: `/${i}` }));
      expect(found).toEqual([undefined, undefined, undefined, undefined, 4]);
    }
  });

  test.each([
    ['the id', { id: 2, flags: 3, path: '/carts/a' }],
    ['the flags', { id: 1, flags: 2, path: '/carts/a' }],
    ['a byte', { id: 1, flags: 3, path: '/carts/b' }],
    ['the length', { id: 1, flags: 3, path: '/carts/' }],
  ])('keys of one hash that differ in %s are told apart', (_, other) => {
    const key = { id: 1, flags: 3, path: '/carts/a' };
    // The table mixes id, flags and length into the hash it is given: this takes the difference out again.
    const numbers = mix(key.id, key.flags) ^ mix(other.id, other.flags) ^ key.path.length ^ other.path.length;
    const table = new PathTable<string>();
    add(table, key, 'first', 99);
    expect(find(table, other, 99 ^ numbers)).toBeUndefined();
    add(table, other, 'second', 99 ^ numbers);
    expect([find(table, key, 99), find(table, other, 99 ^ numbers)]).toEqual(['first', 'second']);
  });

  test('made-up collisions cost misses, and none is taken for another', () => {
    const table = new PathTable<number>();
    for (let i = 0; i < 100; i++) add(table, { id: 1, flags: 0, path: `/${100 + i}` }, i, 12_345);
    const found = Array.from({ length: 100 }, (_, i) =>
      find(table, { id: 1, flags: 0, path: `/${100 + i}` }, 12_345),
    );
    for (const [i, value] of found.entries()) expect(value === undefined || value === i).toBe(true);
    expect(found.filter((value) => value !== undefined)).toHaveLength(8);
  });

  test('marks belong to their row, and a new row has none', () => {
    const table = new PathTable<string>({ maxRows: 2 });
    const first = add(table, { id: 1, flags: 0, path: '/a' }, 'a');
    const second = add(table, { id: 1, flags: 0, path: '/b' }, 'b');
    table.setMarks(second, 1 << 31);
    expect([table.marks(first), table.marks(second)]).toEqual([0, 1 << 31]);
    add(table, { id: 1, flags: 0, path: '/c' }, 'c');
    expect(table.marks(add(table, { id: 1, flags: 0, path: '/d' }, 'd'))).toBe(0);
  });
});
