import { describe, expect, test } from 'vitest';
import { PAD } from './bytes.ts';
import { ByteCache, RunKey } from './cache.ts';

const HASH = 12_345;

/** A key of these runs; all keys here have one hash. */
function keyOf(a: number, b: number, ...runs: string[]): RunKey {
  const key = new RunKey(4);
  const bytes = Buffer.from(runs.join('') + '\0'.repeat(PAD));
  key.begin(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), a, b);
  let start = 0;
  for (const run of runs) {
    key.add(start, run.length, 0);
    start += run.length;
  }
  key.hash = HASH;
  return key;
}

describe('a cache by bytes', () => {
  test.each([
    ['a byte at the end', keyOf(1, 2, 'spiffe://example.org/a', 'b')],
    ['a byte at the start', keyOf(1, 2, 'xpiffe://example.org/a', 'a')],
    ['a byte in the middle', keyOf(1, 2, 'spiffe://exXmple.org/a', 'a')],
    ['the length of a run', keyOf(1, 2, 'spiffe://example.org/', 'aa')],
    ['the first number', keyOf(0, 2, 'spiffe://example.org/a', 'a')],
    ['the second number', keyOf(1, 0, 'spiffe://example.org/a', 'a')],
  ])('keys of one hash that differ in %s are told apart', (_, other) => {
    const cache = new ByteCache<string>(16, 64);
    const key = keyOf(1, 2, 'spiffe://example.org/a', 'a');
    cache.put(key, 'first');
    expect(cache.get(other)).toBeUndefined();
    cache.put(other, 'second');
    expect([cache.get(key), cache.get(other)]).toEqual(['first', 'second']);
  });

  test('runs of every length are compared to their end', () => {
    for (let length = 1; length < 40; length++) {
      for (let at = 0; at < length; at++) {
        const cache = new ByteCache<string>(4, 64);
        const text = 'k'.repeat(length);
        cache.put(keyOf(1, 2, text), 'x');
        expect(cache.get(keyOf(1, 2, text))).toBe('x');
        expect(cache.get(keyOf(1, 2, `${text.slice(0, at)}j${text.slice(at + 1)}`))).toBeUndefined();
      }
    }
  });

  test('more keys than places drive each other out, and none is taken for another', () => {
    const cache = new ByteCache<number>(4, 64);
    for (let i = 0; i < 100; i++) cache.put(keyOf(i, 0, `key ${i}`), i);
    const found = Array.from({ length: 100 }, (_, i) => cache.get(keyOf(i, 0, `key ${i}`)));
    expect(found.filter((value) => value !== undefined)).toHaveLength(4);
    for (const [i, value] of found.entries()) expect(value === undefined || value === i).toBe(true);
  });

  test('a key that is too long is not kept', () => {
    const cache = new ByteCache<string>(4, 64);
    cache.put(keyOf(1, 2, 'x'.repeat(53)), 'x');
    expect(cache.get(keyOf(1, 2, 'x'.repeat(53)))).toBeUndefined();
    cache.put(keyOf(1, 2, 'x'.repeat(52)), 'x');
    expect(cache.get(keyOf(1, 2, 'x'.repeat(52)))).toBe('x');
  });
});
