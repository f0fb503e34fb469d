import { expect, test } from 'vitest';
import { portRanges } from './ports.ts';

test('the ports that no rule names are the gaps between the named ones, single ports among them', () => {
  expect(portRanges([80, 82], new Set(), true)).toEqual([
    { first: 1, last: 79 },
    { first: 81, last: 81 },
    { first: 83, last: 65_535 },
  ]);
  expect(portRanges([1, 65_535], new Set([65_535]), true)).toEqual([{ first: 2, last: 65_535 }]);
  expect(portRanges([80], new Set([80]), true)).toBeUndefined();
  expect(portRanges([80, 81], new Set([81]), false)).toEqual([{ first: 81, last: 81 }]);
});
