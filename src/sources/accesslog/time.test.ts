import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LineTimes, timeOf } from './time.ts';

function time(text: string): number {
  const bytes = Buffer.from(`..${text}".`);
  return timeOf(bytes, 2, bytes.length - 2);
}

describe('the time of a log line', () => {
  test('is what Date says of an ISO 8601 time, at any time from 1970 to 9999', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) }), (ms) => {
        expect(time(new Date(ms).toISOString())).toBe(ms);
      }),
      { numRuns: 2000 },
    );
  });

  test('is NaN for a day that does not exist', () => {
    for (let month = 0; month <= 13; month++) {
      for (let day = 0; day <= 32; day++) {
        for (const year of [1900, 2000, 2023, 2024]) {
          const two = (n: number) => String(n).padStart(2, '0');
          const text = `${year}-${two(month)}-${two(day)}T00:00:00.000Z`;
          const date = new Date(text);
          const exists = !Number.isNaN(date.getTime()) && date.toISOString() === text;
          expect([text, time(text)]).toEqual([text, exists ? date.getTime() : Number.NaN]);
        }
      }
    }
  });

  test.each([
    ['2026-10-15T12:00:00Z', '2026-10-15T12:00:00.000Z'],
    ['2026-10-15T12:00:00.1Z', '2026-10-15T12:00:00.100Z'],
    ['2026-10-15T12:00:00.123456789Z', '2026-10-15T12:00:00.123Z'],
    ['2026-10-15 12:00:00.5Z', '2026-10-15T12:00:00.500Z'],
    ['2026-10-15T12:00:00+02:00', '2026-10-15T10:00:00.000Z'],
    ['2026-10-15T12:00:00.250-0530', '2026-10-15T17:30:00.250Z'],
    ['1792065600', '2026-10-15T12:00:00.000Z'],
    ['1792065600.528', '2026-10-15T12:00:00.528Z'],
    ['1792065600528', '2026-10-15T12:00:00.528Z'],
    ['1792065600528123', '2026-10-15T12:00:00.528Z'],
    ['1792065600528123456', '2026-10-15T12:00:00.528Z'],
  ])('%s is %s', (text, iso) => {
    expect(time(text)).toBe(Date.parse(iso));
  });

  test.each([
    '',
    '-',
    '0',
    'x',
    '12x',
    '1.2.3',
    '.5',
    '-5',
    '1e9',
    '9'.repeat(40),
    '2026-10-15',
    '2026-10-15T12:00:00',
    '2026-10-15T24:00:00Z',
    '2026-10-15T12:60:00Z',
    '2026-10-15T12:00:60Z',
    '2026-10-15T12:00:00.Z',
    '2026-10-15T12:00:00ZZ',
    '2026-10-15T12:00:00+2:00',
    '2026-10-15T12:00:00+25:00',
    '2026-1-15T12:00:00.00Z',
    '15/Oct/2026:12:00:00 +0000',
    '2026/10/15T12:00:00Z',
  ])('%j is none', (text) => {
    expect(time(text)).toBeNaN();
  });

  test('is the same when the minute of the line before is remembered, whatever byte is changed', () => {
    const times = new LineTimes();
    const noon = Date.UTC(2026, 9, 15, 12);
    const at = fc.integer({ min: noon, max: noon + 150_000 });
    const changed = fc.oneof(fc.constant(undefined), fc.nat(23));
    fc.assert(
      fc.property(at, changed, fc.constantFrom(...'0159:.-+TZ x\0'), (ms, place, byte) => {
        const iso = new Date(ms).toISOString();
        const text = place === undefined ? iso : `${iso.slice(0, place)}${byte}${iso.slice(place + 1)}`;
        const bytes = Buffer.from(`..${text}".`);
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
        expect(times.of(bytes, view, 2, bytes.length - 2)).toBe(timeOf(bytes, 2, bytes.length - 2));
      }),
      { numRuns: 3000 },
    );
  });
});
