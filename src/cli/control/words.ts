import { formatDuration } from '../../identity/index.ts';
import { timeText } from '../words.ts';

/** A time and how far it is from now: "2026-11-21 06:00Z (in 59m)". */
export function timeAndDistance(ms: number, now: number): string {
  const distance = Math.abs(ms - now);
  const text = formatDuration(distance >= 120_000 ? distance - (distance % 60_000) : distance);
  return `${timeText(ms)} (${ms >= now ? `in ${text}` : `${text} ago`})`;
}

/** The first digits of a key ID or serial: enough to tell a few apart. */
export function shortId(id: string): string {
  return id.slice(0, 10);
}

/** 0.25 as "25 %". */
export function percentText(share: number): string {
  return `${Number((share * 100).toFixed(2))} %`;
}
