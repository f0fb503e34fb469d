import { expect, test } from 'vitest';
import { distanceText, durationText } from './words.ts';

const MINUTE = 60_000;
const DAY = 1440 * MINUTE;

test('a duration is written in its two largest units', () => {
  expect(
    [
      0,
      999,
      90_000,
      59 * MINUTE + 12_900,
      60 * MINUTE,
      DAY + 5 * MINUTE,
      30 * DAY - 9 * MINUTE,
      3650 * DAY,
    ].map(durationText),
  ).toEqual(['0s', '0s', '1m 30s', '59m 12s', '1h', '1d', '29d 23h', '3650d']);
});

test('a time is ahead or ago', () => {
  expect(distanceText(DAY, DAY - 1000)).toBe('in 1s');
  expect(distanceText(0, 2 * DAY)).toBe('2d ago');
});
