import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { listingLines } from './listing.ts';

const ID = 'spiffe://example.org/ns/shop/sa/a-service-with-a-long-name';
const ROWS = [
  ['IDENTITY', 'KIND', 'HELD BY', 'AUTHORITY', 'ENDS'],
  [ID, 'workload', 'join_token/node-1', 'default 3f2a90c41b', 'in 59m 12s'],
];
const shown = (rows: readonly (readonly string[])[], room: number) =>
  listingLines(rows, room).map((lines) => lines.join('\n'));

describe('a list', () => {
  test('has one line a row where there is room, and in a pipe always', () => {
    const wide = shown(ROWS, Number.POSITIVE_INFINITY);
    expect(wide.map((text) => text.split('\n').length)).toEqual([1, 1]);
    expect(wide[1]).toBe(`${ID}  workload  join_token/node-1  default 3f2a90c41b  in 59m 12s`);
    expect(shown(ROWS, 120)).toEqual(wide);
  });

  test('names each row above its other cells where it is too narrow', () => {
    expect(shown(ROWS, 80)).toEqual([
      'IDENTITY\n  KIND      HELD BY            AUTHORITY           ENDS',
      `${ID}\n  workload  join_token/node-1  default 3f2a90c41b  in 59m 12s`,
    ]);
  });

  test('may be long', () => {
    const rows = Array.from({ length: 130_000 }, (_, i) => [`id-${i}`, 'a b']);
    expect(listingLines(rows, 80)).toHaveLength(rows.length);
  });

  test('wraps prose at its spaces beside the rest', () => {
    const rows = [
      ['DOMAIN', 'STATE'],
      ['peer.example', 'its endpoint did not answer within thirty seconds'],
    ];
    expect(shown(rows, 40)).toEqual([
      'DOMAIN        STATE',
      'peer.example  its endpoint did not\n              answer within thirty\n              seconds',
    ]);
  });

  test('ends numbers at the same place', () => {
    const lines = listingLines(
      [
        ['N', 'WHAT'],
        ['9', 'a'],
        ['10', 'b'],
      ],
      80,
      { right: [0] },
    );
    expect(lines).toEqual([[' N  WHAT'], [' 9  a'], ['10  b']]);
  });

  test('never breaks a word, loses none, and is too wide only where its words are', () => {
    const word = fc.stringMatching(/^[a-z/:.-]{1,70}$/);
    const cell = fc.array(word, { maxLength: 6 }).map((words) => words.join(' '));
    const rows = fc
      .integer({ min: 1, max: 6 })
      .chain((columns) =>
        fc.array(fc.array(cell, { minLength: columns, maxLength: columns }), { minLength: 1, maxLength: 5 }),
      );
    fc.assert(
      fc.property(rows, fc.integer({ min: 40, max: 200 }), (rows, room) => {
        const listed = listingLines(rows, room);
        expect(listed).toHaveLength(rows.length);
        for (const [i, lines] of listed.entries()) {
          const words = (text: string) => text.split(/\s+/).filter(Boolean).toSorted();
          expect(words(lines.join(' '))).toEqual(words((rows[i] ?? []).join(' ')));
        }
        const columns = (rows[0] ?? []).map((_, i) =>
          Math.max(1, ...rows.flatMap((row) => (row[i] ?? '').split(' ').map(({ length }) => length))),
        );
        const [name = 0, ...rest] = columns;
        const least = Math.max(
          name,
          rest.reduce((sum, width) => sum + width + 2, 0),
        );
        for (const line of listed.flat()) expect(line.length).toBeLessThanOrEqual(Math.max(room, least));
      }),
    );
  });
});
