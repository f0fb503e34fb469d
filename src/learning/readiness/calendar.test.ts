import { describe, expect, test } from 'vitest';
import { HOUR_MS } from '../../access/index.ts';
import { calendarOf, hourOfMonthEnd } from './calendar.ts';

const hourAt = (text: string) => Date.parse(text) / HOUR_MS;
const hours = (from: string, count: number) => Array.from({ length: count }, (_, i) => hourAt(from) + i);
const MONDAY = '2026-11-16T00:00Z';

describe('the calendar of a recording', () => {
  test('is whole after a week of hours', () => {
    const calendar = calendarOf({ hours: hours(MONDAY, 168) });
    expect(calendar).toMatchObject({ days: 7, hoursOfWeek: 168, missing: '', monthEnd: false });
  });

  test('is empty where nothing was recorded', () => {
    const calendar = calendarOf({ hours: [] });
    expect(calendar).toMatchObject({ days: 0, hoursOfWeek: 0, missing: 'Mon-Sun', monthEnd: false });
  });

  test('says in words which hours are missing, days alike written once', () => {
    const office = hours(MONDAY, 120).filter((hour) => hour % 24 >= 6 && hour % 24 < 22);
    expect(calendarOf({ hours: office }).missing).toBe('Mon-Fri 00:00-06:00 and 22:00-24:00, Sat-Sun');
    const noSaturday = hours(MONDAY, 168).filter((_, i) => i < 120 || i >= 144);
    expect(calendarOf({ hours: noSaturday }).missing).toBe('Sat');
    expect(calendarOf({ hours: hours(MONDAY, 165) }).missing).toBe('Sun 21:00-24:00');
  });

  test('counts neither the dates of a span with gaps nor the span of a few dates as more than they are', () => {
    expect(calendarOf({ hours: [...hours(MONDAY, 1), ...hours('2026-12-14T00:00Z', 1)] }).days).toBe(2);
    expect(calendarOf({ hours: hours('2026-11-16T23:00Z', 2) }).days).toBe(0);
    expect(calendarOf({ hours: hours('2026-11-16T18:00Z', 144) }).days).toBe(6);
  });

  test.each([
    ['2026-11-30T00:00Z', 0],
    ['2026-11-30T23:00Z', 23],
    ['2026-12-01T00:00Z', 24],
    ['2026-12-01T23:00Z', 47],
    ['2026-12-02T00:00Z', -1],
    ['2026-11-29T23:00Z', -1],
    ['2028-02-28T12:00Z', -1],
    ['2028-02-29T12:00Z', 12],
    ['2027-02-28T12:00Z', 12],
    ['2026-12-31T05:00Z', 5],
    ['2027-01-01T05:00Z', 29],
  ])('knows %s as hour %i of a month end', (text, expected) => {
    expect(hourOfMonthEnd(hourAt(text))).toBe(expected);
  });

  test('has a month end once all its 48 hours are recorded, be it over two of them', () => {
    expect(calendarOf({ hours: hours('2026-11-30T00:00Z', 48) }).monthEnd).toBe(true);
    expect(calendarOf({ hours: hours('2026-11-30T00:00Z', 47) }).monthEnd).toBe(false);
    const two = [...hours('2026-11-30T00:00Z', 24), ...hours('2027-01-01T00:00Z', 24)];
    expect(calendarOf({ hours: two })).toMatchObject({ monthEnd: true, monthEndHours: 48 });
  });
});
