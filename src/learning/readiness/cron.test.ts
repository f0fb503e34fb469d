import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isInterlockError } from '../../access/index.ts';
import { CRON_HORIZON_MS, firstDue, parseCron } from './cron.ts';

const MINUTE = 60_000;
const DAY = 1440 * MINUTE;

const next = (schedule: string, after: string, zone?: string) => {
  const from = Date.parse(after);
  const at = firstDue(parseCron(schedule, zone), from, from + CRON_HORIZON_MS);
  return at === undefined ? undefined : new Date(at).toISOString().slice(0, 16);
};

describe('a cron schedule', () => {
  // 2026-11-21 is a Saturday.
  test.each([
    ['* * * * *', '2026-11-21T10:00:30Z', '2026-11-21T10:01'],
    ['0 2 * * *', '2026-11-21T02:00:00Z', '2026-11-21T02:00'],
    ['0 2 * * *', '2026-11-21T02:01:00Z', '2026-11-22T02:00'],
    ['*/15 * * * *', '2026-11-21T10:46:00Z', '2026-11-21T11:00'],
    ['5/20 * * * *', '2026-11-21T10:26:00Z', '2026-11-21T10:45'],
    ['0 0 * * MON-FRI', '2026-11-21T00:00:00Z', '2026-11-23T00:00'],
    ['0 0 * * 7', '2026-11-21T00:00:00Z', '2026-11-22T00:00'],
    ['0 0 * * 5-7', '2026-11-21T12:00:00Z', '2026-11-22T00:00'],
    ['30 6 1,15 jan,JUL *', '2026-11-21T00:00:00Z', '2027-01-01T06:30'],
    ['0 0 31 * *', '2026-11-21T00:00:00Z', '2026-12-31T00:00'],
    ['0 0 29 2 *', '2026-11-21T00:00:00Z', '2028-02-29T00:00'],
    ['0 0 13 * 5', '2026-11-21T00:00:00Z', '2026-11-27T00:00'],
    ['0 0 */2 * 5', '2026-11-21T00:00:00Z', '2026-11-21T00:00'],
    ['0 0 ? * 5', '2026-11-21T00:00:00Z', '2026-11-27T00:00'],
    ['@daily', '2026-11-21T00:01:00Z', '2026-11-22T00:00'],
    ['@midnight', '2026-11-21T00:01:00Z', '2026-11-22T00:00'],
    ['@weekly', '2026-11-21T00:00:00Z', '2026-11-22T00:00'],
    ['@monthly', '2026-11-21T00:00:00Z', '2026-12-01T00:00'],
    ['@yearly', '2026-11-21T00:00:00Z', '2027-01-01T00:00'],
    ['@annually', '2026-11-21T00:00:00Z', '2027-01-01T00:00'],
    ['@hourly', '2026-11-21T00:01:00Z', '2026-11-21T01:00'],
    ['@every 1h30m', '2026-11-21T00:00:00Z', '2026-11-21T01:30'],
    ['CRON_TZ=Europe/Berlin 0 2 * * *', '2026-11-21T00:00:00Z', '2026-11-21T01:00'],
    ['TZ=Etc/UTC 0 2 * * *', '2026-11-21T00:00:00Z', '2026-11-21T02:00'],
  ])('%s is next due from %s at %s', (schedule, after, expected) => {
    expect(next(schedule, after)).toBe(expected);
  });

  test('follows the local time of its zone through daylight saving', () => {
    expect(next('30 2 * * *', '2026-11-21T00:00:00Z', 'Asia/Kolkata')).toBe('2026-11-21T21:00');
    expect(next('0 9 * * 1', '2026-07-01T00:00:00Z', 'America/New_York')).toBe('2026-07-06T13:00');
    // 02:30 does not exist in Berlin on 2027-03-28, and exists twice on 2026-10-25.
    expect(next('30 2 28 3 *', '2027-03-01T00:00:00Z', 'Europe/Berlin')).toBe('2028-03-28T00:30');
    expect(next('30 2 25 10 *', '2026-10-25T00:31:00Z', 'Europe/Berlin')).toBe('2026-10-25T01:30');
  });

  test('that never comes is due never', () => {
    expect(next('0 0 30 2 *', '2026-11-21T00:00:00Z')).toBeUndefined();
  });

  test.each([
    '',
    '* * * *',
    '* * * * * *',
    '60 * * * *',
    '* 24 * * *',
    '* * 0 * *',
    '* * * 13 *',
    '* * * * 8',
    '*/0 * * * *',
    '5-1 * * * *',
    '1,,2 * * * *',
    'x * * * *',
    '-1 * * * *',
    '@sometimes',
    '@every soon',
    '@every 0s',
    '__proto__ * * * *',
    `${'1,'.repeat(400)}1 * * * *`,
  ])('is refused with a reason: "%s"', (schedule) => {
    expect(() => parseCron(schedule)).toThrow(expect.toSatisfy(isInterlockError) as Error);
  });

  test('with a time zone that nobody knows is refused', () => {
    expect(() => parseCron('@daily', 'Mars/Olympus')).toThrow('time zone "Mars/Olympus" is not known');
  });
});

// An oracle that shares nothing but the meaning: every minute, its local fields by name, lists spelled out.
const ZONES = ['UTC', 'Europe/Berlin', 'America/St_Johns', 'Australia/Lord_Howe', 'Asia/Kathmandu'];
const NAMES = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];

function naiveDue(
  fields: Record<'minute' | 'hour' | 'day' | 'month' | 'weekday', number[] | '*'>,
  zone: string,
) {
  const format = new Intl.DateTimeFormat('en-GB', {
    timeZone: zone,
    weekday: 'short',
    month: 'numeric',
    day: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  });
  const has = (list: number[] | '*' | undefined, value: number) =>
    list === '*' || list?.includes(value) === true;
  return (ms: number) => {
    const part = Object.fromEntries(format.formatToParts(ms).map(({ type, value }) => [type, value]));
    const day = has(fields.day, Number(part['day']));
    const weekday = has(fields.weekday, NAMES.indexOf(part['weekday'] ?? ''));
    const either = fields.day !== '*' && fields.weekday !== '*';
    return (
      has(fields.minute, Number(part['minute'])) &&
      has(fields.hour, Number(part['hour'])) &&
      has(fields.month, Number(part['month'])) &&
      (either ? day || weekday : day && weekday)
    );
  };
}

const list = (min: number, max: number) =>
  fc.oneof(
    fc.constant('*' as const),
    fc.uniqueArray(fc.integer({ min, max }), { minLength: 1, maxLength: 4 }),
  );

test('a schedule is due at the first minute that a search through every minute finds', () => {
  const found = { due: 0, never: 0 };
  fc.assert(
    fc.property(
      fc.record({
        minute: list(0, 59),
        hour: list(0, 23),
        day: list(1, 31),
        month: fc.oneof(fc.constant('*' as const), fc.constant<number[]>([3, 4, 9, 10, 11])),
        weekday: list(0, 6),
      }),
      fc.constantFrom(...ZONES),
      // Around the days on which these zones change their offset in 2026, and anywhere else.
      fc.oneof(
        fc
          .constantFrom('2026-03-29', '2026-10-25', '2026-03-08', '2026-11-01', '2026-04-05', '2026-10-04')
          .map(Date.parse),
        fc.integer({ min: 20_000, max: 22_000 }).map((day) => day * DAY),
      ),
      fc.integer({ min: -1440, max: 1440 }),
      (fields, zone, day, minutes) => {
        const from = day + minutes * MINUTE + 1;
        const to = from + 2 * DAY;
        const isDue = naiveDue(fields, zone);
        let expected: number | undefined;
        for (let at = Math.ceil(from / MINUTE) * MINUTE; at <= to; at += MINUTE) {
          if (!isDue(at)) continue;
          expected = at;
          break;
        }
        const { minute, hour, day: date, month, weekday } = fields;
        const schedule = [minute, hour, date, month, weekday].map(String).join(' ');
        expect(firstDue(parseCron(schedule, zone), from, to)).toBe(expected);
        found[expected === undefined ? 'never' : 'due']++;
      },
    ),
    { numRuns: 150 },
  );
  expect(found.due).toBeGreaterThan(20);
  expect(found.never).toBeGreaterThan(20);
});
