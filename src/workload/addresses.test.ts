import { expect, test } from 'vitest';
import { Addresses } from './addresses.ts';

test('addresses are taken in turn, from one that chance picks', () => {
  const all = ['a:1', 'b:1', 'c:1'];
  const begins = (random: number) => {
    const addresses = new Addresses(all, () => random);
    return [addresses.take(), addresses.current, addresses.take(), addresses.take(), addresses.take()];
  };
  expect(begins(0)).toEqual(['a:1', 'b:1', 'b:1', 'c:1', 'a:1']);
  expect(begins(0.999)).toEqual(['c:1', 'a:1', 'a:1', 'b:1', 'c:1']);
  expect(new Addresses('only:1', () => 0.9).take()).toBe('only:1');
  expect(() => new Addresses([], () => 0)).toThrow(RangeError);
});
