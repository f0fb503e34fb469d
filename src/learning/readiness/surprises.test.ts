import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HOUR_MS } from '../../access/index.ts';
import { poissonUpper } from './poisson.ts';
import { type Surprises, surprisesOf, surprisesText, windowHours } from './surprises.ts';

const DAY = 24 * HOUR_MS;
// A Monday; the next month's end is 23 days away.
const START = Date.parse('2026-11-02T00:00Z');

/** A recording without a gap, and accesses first seen at these days after its beginning. */
function judged(
  days: number,
  firstDays: readonly number[],
  options: { deployedAt?: number; now?: number } = {},
) {
  const end = START + days * DAY;
  const first = START / HOUR_MS;
  const span = {
    firstSeen: START,
    lastSeen: end,
    hours: Array.from({ length: days * 24 }, (_, i) => first + i),
  };
  const sightings = firstDays.map((day) => ({ firstSeen: START + day * DAY, hours: [] }));
  return surprisesOf(sightings, span, { now: end, ...options });
}

const onDay = (day: number) => START + day * DAY;

describe('the bound on first-week surprises', () => {
  test('is 3.0 after 7 quiet days and 0.75 after 28, where the calendar is covered', () => {
    expect(judged(14, [0, 0, 1]).bound).toBeCloseTo(2.9957, 3);
    expect(judged(14, [0, 0, 1]).windowHours).toBe(7 * 24);
    expect(judged(35, [0, 3, 6]).bound).toBeCloseTo(0.7489, 3);
  });

  test('counts the first sightings of the window and no others', () => {
    const { seen, bound, weekLimit } = judged(35, [0, 1, 6.9, 7.1, 20, 34.9]);
    expect(seen).toBe(3);
    expect(bound).toBeCloseTo(poissonUpper(3) / 4, 9);
    expect(weekLimit).toBe(3);
  });

  test('asks all but the first week, at least half, and at most four weeks', () => {
    expect([1, 2, 10, 14, 28, 35, 56].map((days) => windowHours(days * 24) / 24)).toEqual([
      0.5, 1, 5, 7, 21, 28, 28,
    ]);
  });

  test("starts the window anew with a caller's deployment", () => {
    const quiet = judged(35, [0], { deployedAt: onDay(28) });
    expect(quiet).toMatchObject({ seen: 0, windowHours: 168, since: 'deployment' });
    expect(quiet.bound).toBeCloseTo(2.9957, 3);
    // A deployment before the window changes nothing, and an old sighting does not count for the new image.
    expect(judged(35, [0], { deployedAt: onDay(1) }).since).toBe('window');
    expect(judged(35, [0, 20], { deployedAt: onDay(28) }).seen).toBe(0);
  });

  test('does not exist where nothing was recorded, or nothing since the deployment', () => {
    const later = judged(35, [0], { deployedAt: onDay(36) });
    expect([later.bound, later.weekLimit]).toEqual([Infinity, Infinity]);
    expect(surprisesText(later)).toBe(
      "nothing was recorded since its callers' last deployment: no bound can be given",
    );
    const span = { firstSeen: Infinity, lastSeen: -Infinity, hours: [] };
    const never = surprisesOf([], span, { now: START });
    expect(never).toMatchObject({ bound: Infinity, seen: 0, unseenShare: 1 });
    expect(surprisesText(never)).toBe('too little was recorded: no bound can be given');
  });

  test('grows by an allowance for hours of the coming week that were never recorded', () => {
    const midweek = judged(3, [0, 0.5]);
    expect(midweek.unrecordedHours).toBe(96);
    // 48 fresh hours brought nothing: 3.0 each 48 hours is less than the window's own rate.
    expect(midweek.allowance).toBe(0);
    const busy = judged(3, [0, 1.2, 1.3, 1.4, 1.45]);
    expect(busy.allowance).toBeCloseTo(96 * (poissonUpper(4) / 48 - poissonUpper(0) / 36), 9);
    expect(busy.bound).toBeCloseTo((168 / 36) * poissonUpper(0) + busy.allowance, 9);
  });

  test("counts a month's end that was never recorded at the busiest of the first days", () => {
    const end = onDay(21);
    const before = judged(21, [0, 3.1, 3.2, 5.5]);
    expect(before).toMatchObject({ unrecordedHours: 0, allowance: 0 });
    const over = judged(21, [0, 3.1, 3.2, 5.5], { now: end + 5 * DAY });
    expect(over).toMatchObject({ unrecordedHours: 48, unrecordedMonthEndHours: 48 });
    expect(over.allowance).toBeCloseTo(48 * (poissonUpper(2) / 24 - poissonUpper(0) / 336), 9);
    // Once one was recorded, the next is known ground.
    expect(judged(35, [0], { now: onDay(52) }).unrecordedHours).toBe(0);
  });

  test('does not take time without any record for quiet time', () => {
    const first = START / HOUR_MS;
    const hours = [first, first + 1, first + 672, first + 673];
    const span = { firstSeen: START, lastSeen: START + 674 * HOUR_MS, hours };
    const { windowHours: asked, bound } = surprisesOf([], span, { now: span.lastSeen });
    expect(asked).toBe(2);
    expect(bound).toBeCloseTo((168 / 2) * poissonUpper(0), 6);
  });

  test('never falls with one more first sighting', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 8, max: 60 }),
        fc.array(fc.double({ min: 0, max: 60, noNaN: true }), { maxLength: 30 }),
        fc.double({ min: 0, max: 60, noNaN: true }),
        (days, firsts, more) => {
          fc.pre(more < days);
          const within = firsts.filter((day) => day < days);
          const { bound } = judged(days, within);
          expect(judged(days, [...within, more]).bound).toBeGreaterThanOrEqual(bound - 1e-9);
        },
      ),
    );
  });

  test("gives Good-Turing's share over hours, not over requests", () => {
    const span = { firstSeen: START, lastSeen: START + DAY, hours: [START / HOUR_MS] };
    const seenIn = (...hours: number[]) => ({ firstSeen: START, hours });
    expect(surprisesOf([seenIn(1, 2, 3), seenIn(4), seenIn(5, 6)], span, { now: START }).unseenShare).toBe(
      1 / 6,
    );
  });
});

describe('the bound in words', () => {
  const base: Surprises = {
    bound: 1.4979,
    weekLimit: 2,
    seen: 0,
    windowHours: 336,
    windowStart: 0,
    windowEnd: 336 * HOUR_MS,
    since: 'window',
    unrecordedHours: 0,
    unrecordedMonthEndHours: 0,
    allowance: 0,
    unseenShare: 0,
  };
  test.each<[string, Partial<Surprises>]>([
    ['no new access in the last 14 days: expect at most 1.5 in the first week (95 %)', {}],
    [
      '1 new access in the last 14 days: expect at most 2.4 in the first week (95 %)',
      { seen: 1, bound: 2.372 },
    ],
    [
      "3 new accesses in the 36 hours since its callers' last deployment: expect at most 36.2 in the first week (95 %)",
      { seen: 3, bound: 36.18, windowHours: 36, windowEnd: 36 * HOUR_MS, since: 'deployment' },
    ],
    [
      'no new access in the last 14 days that were recorded: expect at most 0.75 in the first week (95 %)',
      { bound: 0.7489, windowEnd: 700 * HOUR_MS },
    ],
    [
      'no new access in the last 14 days: expect at most 7.5 in the first week (95 %), ' +
        '6.0 of them for 48 hours of a kind that was never recorded',
      { bound: 7.5, allowance: 6, unrecordedHours: 48, unrecordedMonthEndHours: 48 },
    ],
  ])('reads: %s', (text, change) => {
    expect(surprisesText({ ...base, ...change })).toBe(text);
  });
});
