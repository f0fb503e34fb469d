import { HOUR_MS, hourOfWeek } from '../../access/index.ts';
import { type Calendar, calendarOf, hourOfMonthEnd, MONTH_END_HOURS, WEEK_HOURS } from './calendar.ts';
import { recordedHours, recordedPart, type Span, startOfLast } from './exposure.ts';
import { MAX_EVENTS, poissonPrediction, poissonUpper } from './poisson.ts';

/** What the bound needs of an access: when it was first seen (milliseconds since 1970 UTC), and in which hours. */
export interface Sighting {
  readonly firstSeen: number;
  /** Hours since 1970 UTC in which it was seen. */
  readonly hours: readonly number[];
}

/** How many accesses never seen before the first week of enforcement may bring. */
export interface Surprises {
  /** Upper 95 % bound on the expected number in the coming week. Infinity (null in JSON) where nothing is known. */
  readonly bound: number;
  /** What the number in one single week exceeds in at most 5 weeks of 100, at a rate that does not grow. */
  readonly weekLimit: number;
  /** First sightings in the window. */
  readonly seen: number;
  /** The window: hours that were recorded in it, and its ends in milliseconds since 1970 UTC. */
  readonly windowHours: number;
  readonly windowStart: number;
  readonly windowEnd: number;
  /** What began the window: its own length, or a caller's last deployment. */
  readonly since: 'window' | 'deployment';
  /** Hours of the coming week of a kind that was never recorded, how many of them are of a month's end... */
  readonly unrecordedHours: number;
  readonly unrecordedMonthEndHours: number;
  /** ... and what they add to the bound, which includes it. */
  readonly allowance: number;
  /**
   * Good-Turing's estimate of the share of all (access, hour) pairs that belong to accesses not yet seen: those
   * seen in one hour only over all pairs. Draws are hours, not requests, because requests repeat each other.
   * (I. J. Good, The population frequencies of species, Biometrika 40, 1953.) 1 where nothing was seen.
   */
  readonly unseenShare: number;
}

export interface SurpriseOptions {
  /** When the coming week begins, milliseconds since 1970 UTC. */
  readonly now: number;
  /** When the newest image of any caller started, where known. */
  readonly deployedAt?: number | undefined;
  /** Replaces {@link windowHours}: for the calibration, which compares the choices. */
  readonly window?: ((recorded: number) => number) | undefined;
}

/** Less than a minute says nothing of a week. */
const SHORTEST_WINDOW_HOURS = 1 / 60;

/**
 * Which part of a recording of `recorded` hours is asked for first sightings, in hours. The first week is left
 * out, because it is when the calendar itself is seen for the first time, but never more than half; and no more
 * than four weeks are asked, because what was new longer ago says little. docs/readiness.md has the table that
 * this choice rests on.
 */
export function windowHours(recorded: number): number {
  return Math.min(4 * WEEK_HOURS, Math.max(recorded / 2, recorded - WEEK_HOURS));
}

/**
 * The bound on first-week surprises. First sightings come ever more slowly in an estate that does not change, so
 * the rate of a recent window bounds the coming week's: k sightings in it give the exact Poisson bound, scaled to
 * the hours of a week. One thing breaks that rule: hours of a kind that was never recorded (a weekend, a month's
 * end) are fresh ground, and are counted as the recording's own fresh ground was ({@link freshGround}).
 */
export function surprisesOf(
  sightings: readonly Sighting[],
  span: Span,
  options: SurpriseOptions,
  calendar: Calendar = calendarOf(span),
): Surprises {
  const { deployedAt, now } = options;
  const recorded = recordedHours(span);
  const wanted = Math.min(recorded, (options.window ?? windowHours)(recorded));
  const ofWindow = startOfLast(span, wanted);
  const restarted = deployedAt !== undefined && deployedAt > ofWindow;
  const windowStart = restarted ? deployedAt : ofWindow;
  const hours = restarted ? recordedHours(span, deployedAt) : wanted;
  const seen = count(sightings, (at) => at >= windowStart && at <= span.lastSeen);
  const perHour = hours < SHORTEST_WINDOW_HOURS ? Number.POSITIVE_INFINITY : poissonUpper(seen) / hours;

  const ahead = unrecordedAhead(calendar, now);
  const fresh = freshGround(sightings, span);
  const freshPerHour = Math.max(perHour, fresh.perHour);
  const monthEndPerHour = Math.max(freshPerHour, fresh.perHourOfBusiestDay);
  const known = Number.isFinite(perHour);
  const allowance = known
    ? ahead.ofWeek * (freshPerHour - perHour) + ahead.ofMonthEnd * (monthEndPerHour - perHour)
    : 0;
  const bound = WEEK_HOURS * perHour + allowance;
  return {
    bound,
    // The allowance lengthens the week rather than raising the rate: so one formula serves both.
    weekLimit: known ? poissonPrediction(seen, hours, bound / perHour) : bound,
    seen,
    windowHours: hours,
    windowStart,
    windowEnd: span.lastSeen,
    since: restarted ? 'deployment' : 'window',
    unrecordedHours: ahead.ofWeek + ahead.ofMonthEnd,
    unrecordedMonthEndHours: ahead.ofMonthEnd,
    allowance,
    unseenShare: unseenShare(sightings),
  };
}

/**
 * What the recording's own first week brought in hours whose hour of the week was new; its first day is left out,
 * because it teaches the accesses rather than the calendar. Hours of the week are taken to be like each other:
 * their 95 % bound an hour is over all of them. A month's end is a kind of day of its own, which a mean over other
 * days says little of: it is counted at the 95 % bound of the busiest of these days. 0 where there were none.
 */
function freshGround(
  sightings: readonly Sighting[],
  span: Span,
): { perHour: number; perHourOfBusiestDay: number } {
  const kinds = new Set<number>();
  const dayOfFresh = new Map<number, number>();
  let hours = 0;
  for (const [i, hour] of span.hours.entries()) {
    if (kinds.size === WEEK_HOURS) break;
    const kind = hourOfWeek(hour);
    if (i >= 24 && !kinds.has(kind)) {
      dayOfFresh.set(hour, Math.floor(i / 24));
      hours += recordedPart(hour, span.firstSeen, span.lastSeen);
    }
    kinds.add(kind);
  }
  if (hours < SHORTEST_WINDOW_HOURS) return { perHour: 0, perHourOfBusiestDay: 0 };
  const ofDay = new Map<number, number>();
  const all = count(sightings, (at) => {
    const day = dayOfFresh.get(Math.floor(at / HOUR_MS));
    if (day !== undefined) ofDay.set(day, (ofDay.get(day) ?? 0) + 1);
    return day !== undefined;
  });
  const busiest = Math.min(MAX_EVENTS, Math.max(0, ...ofDay.values()));
  return { perHour: poissonUpper(all) / hours, perHourOfBusiestDay: poissonUpper(busiest) / 24 };
}

/** How many of the 168 hours from `now` on are of a kind that the recording does not hold. */
function unrecordedAhead(calendar: Calendar, now: number): { ofWeek: number; ofMonthEnd: number } {
  const first = Math.floor(now / HOUR_MS);
  const monthEnd = calendar.monthEndHours === MONTH_END_HOURS ? () => -1 : hourOfMonthEnd;
  let ofWeek = 0;
  let ofMonthEnd = 0;
  for (let hour = first; hour < first + WEEK_HOURS; hour++) {
    const end = monthEnd(hour);
    if (end >= 0 && calendar.monthEndRecorded[end] !== true) ofMonthEnd++;
    else if (calendar.recorded[hourOfWeek(hour)] !== true) ofWeek++;
  }
  return { ofWeek, ofMonthEnd };
}

function count(sightings: readonly Sighting[], which: (firstSeen: number) => boolean): number {
  let sum = 0;
  for (const { firstSeen } of sightings) if (which(firstSeen)) sum++;
  return Math.min(MAX_EVENTS, sum);
}

function unseenShare(sightings: readonly Sighting[]): number {
  let pairs = 0;
  let once = 0;
  for (const { hours } of sightings) {
    pairs += hours.length;
    if (hours.length === 1) once++;
  }
  return pairs === 0 ? 1 : once / pairs;
}

/** The bound in words: `no new access in the last 14 days: expect at most 1.5 in the first week (95 %)`. */
export function surprisesText(surprises: Surprises): string {
  const { bound, seen, since, allowance, unrecordedHours } = surprises;
  if (!Number.isFinite(bound)) {
    return since === 'deployment'
      ? "nothing was recorded since its callers' last deployment: no bound can be given"
      : 'too little was recorded: no bound can be given';
  }
  const accesses = seen === 0 ? 'no new access' : seen === 1 ? '1 new access' : `${seen} new accesses`;
  const time = windowText(surprises);
  const added =
    allowance < 0.05
      ? ''
      : `, ${boundText(allowance)} of them for ${unrecordedHours} hours of a kind that was never recorded`;
  return `${accesses} ${time}: expect at most ${boundText(bound)} in the first week (95 %)${added}`;
}

/** A bound as people read it: two decimals below 1, one below 100. */
export function boundText(bound: number): string {
  if (!Number.isFinite(bound)) return 'no bound';
  return bound < 1 ? bound.toFixed(2) : bound < 100 ? bound.toFixed(1) : String(Math.ceil(bound));
}

function windowText({ windowHours, windowStart, windowEnd, since }: Surprises): string {
  const unbroken = (windowEnd - windowStart) / HOUR_MS - windowHours < 1;
  const days = windowHours / 24;
  const long =
    days >= 2
      ? `${Number(days.toFixed(1))} days`
      : `${Number(windowHours.toFixed(windowHours < 10 ? 1 : 0))} hours`;
  const recorded = unbroken ? long : `${long} that were recorded`;
  return since === 'deployment'
    ? `in the ${recorded} since its callers' last deployment`
    : `in the last ${recorded}`;
}
