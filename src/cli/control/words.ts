import { timeText } from '../words.ts';

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
] as const;

/** A duration in its two largest units, rounded down: "29d 23h", "1h", "0s". */
export function durationText(ms: number): string {
  const first = UNITS.findIndex(([, size]) => ms >= size);
  if (first < 0) return '0s';
  const [big, small] = UNITS.slice(first);
  let text = '';
  let rest = ms;
  for (const [unit, size] of [big, small].filter((each) => each !== undefined)) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) text += `${text === '' ? '' : ' '}${count}${unit}`;
  }
  return text;
}

/** How far a time is from now, for tables: "in 59m 12s", "3d 2h ago". */
export function distanceText(ms: number, now: number): string {
  const text = durationText(Math.abs(ms - now));
  return ms >= now ? `in ${text}` : `${text} ago`;
}

/** A time and how far it is from now: "2026-11-21 06:00Z (in 59m 12s)". */
export function timeAndDistance(ms: number, now: number): string {
  return `${timeText(ms)} (${distanceText(ms, now)})`;
}

/** The first digits of a key ID or serial: enough to tell a few apart. */
export function shortId(id: string): string {
  return id.slice(0, 10);
}

/** 0.25 as "25 %". */
export function percentText(share: number): string {
  return `${Number((share * 100).toFixed(2))} %`;
}
