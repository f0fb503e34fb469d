import { type Coverage, HOUR_MS } from '../../access/index.ts';

/** The part of a coverage that says when something was recorded. */
export type Span = Pick<Coverage, 'firstSeen' | 'lastSeen' | 'hours'>;

/**
 * Hours recorded from `start` on (milliseconds since 1970 UTC). An hour in which nothing at all was recorded does
 * not count, and the first and the last hour count only as far as the recording reaches.
 */
export function recordedHours(span: Span, start: number = span.firstSeen): number {
  const from = Math.max(start, span.firstSeen);
  let sum = 0;
  for (const hour of span.hours) sum += recordedPart(hour, from, span.lastSeen);
  return sum;
}

/** The moment after which `wanted` hours were recorded; the recording's beginning where it has fewer. */
export function startOfLast(span: Span, wanted: number): number {
  let left = wanted;
  for (let i = span.hours.length - 1; i >= 0; i--) {
    const hour = span.hours[i] ?? 0;
    const part = recordedPart(hour, span.firstSeen, span.lastSeen);
    if (part >= left) return Math.min((hour + 1) * HOUR_MS, span.lastSeen) - left * HOUR_MS;
    left -= part;
  }
  return span.firstSeen;
}

/** How much of an hour since 1970 UTC lies between `from` and `to` (milliseconds), in hours. */
export function recordedPart(hour: number, from: number, to: number): number {
  const begin = Math.max(hour * HOUR_MS, from);
  const end = Math.min((hour + 1) * HOUR_MS, to);
  return end > begin ? (end - begin) / HOUR_MS : 0;
}

/** The recorded hours as unbroken stretches of time, milliseconds since 1970 UTC, ascending. */
export function stretchesOf(span: Span): { from: number; to: number }[] {
  const stretches: { from: number; to: number }[] = [];
  let last: { from: number; to: number } | undefined;
  for (const hour of span.hours) {
    const from = Math.max(hour * HOUR_MS, span.firstSeen);
    const to = Math.min((hour + 1) * HOUR_MS, span.lastSeen);
    if (last !== undefined && last.to === from) last.to = to;
    else if (to >= from) {
      last = { from, to };
      stretches.push(last);
    }
  }
  return stretches;
}
