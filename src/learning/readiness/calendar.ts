import { type Coverage, HOUR_MS, hourOfWeek } from '../../access/index.ts';

/** Hours of a week, and of a month's end: the last day of a month and the first of the next, in UTC. */
export const WEEK_HOURS = 168;
export const MONTH_END_HOURS = 48;

const DAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'] as const;

/** Which kinds of hours a recording holds. All times are UTC. */
export interface Calendar {
  /** Days from the first recorded hour to the last, but never more than the dates on which something was recorded. */
  readonly days: number;
  /** How many of the 168 hours of the week are recorded at least once. */
  readonly hoursOfWeek: number;
  /** Index as in `hourOfWeek`: 0 is Monday 00:00. */
  readonly recorded: readonly boolean[];
  /** The hours of the week that are missing, in words: `Mon-Fri 00:00-06:00, Sat, Sun`; "" where none is. */
  readonly missing: string;
  /** All 48 hours of a month's end are recorded, over one month's end or several. */
  readonly monthEnd: boolean;
  readonly monthEndHours: number;
  /** Index as in {@link hourOfMonthEnd}. */
  readonly monthEndRecorded: readonly boolean[];
}

/** The calendar that a recording covers. */
export function calendarOf(coverage: Pick<Coverage, 'hours'>): Calendar {
  const { hours } = coverage;
  const recorded = Array.from({ length: WEEK_HOURS }, () => false);
  const monthEndRecorded = Array.from({ length: MONTH_END_HOURS }, () => false);
  let dates = 0;
  let date = Number.NaN;
  let monthEndStart = -1;
  for (const hour of hours) {
    recorded[hourOfWeek(hour)] = true;
    const today = Math.floor(hour / 24);
    if (today !== date) {
      date = today;
      dates++;
      monthEndStart = hourOfMonthEnd(today * 24);
    }
    if (monthEndStart >= 0) monthEndRecorded[monthEndStart + (hour - today * 24)] = true;
  }
  const hoursOfWeek = recorded.filter(Boolean).length;
  const monthEndHours = monthEndRecorded.filter(Boolean).length;
  const first = hours[0];
  const last = hours[hours.length - 1];
  const span = first === undefined || last === undefined ? 0 : (last - first + 1) / 24;
  return {
    days: Math.min(dates, Math.floor(span * 10) / 10),
    hoursOfWeek,
    recorded,
    missing: missingHours(recorded),
    monthEnd: monthEndHours === MONTH_END_HOURS,
    monthEndHours,
    monthEndRecorded,
  };
}

/** 0 to 23 on the last day of a month, 24 to 47 on the first, -1 on every other; of an hour since 1970 UTC. */
export function hourOfMonthEnd(hour: number): number {
  const date = new Date(hour * HOUR_MS);
  if (date.getUTCDate() === 1) return 24 + date.getUTCHours();
  const tomorrow = new Date((hour + 24) * HOUR_MS);
  return tomorrow.getUTCDate() === 1 ? date.getUTCHours() : -1;
}

/** The hours of the week that are false, as ranges of days and times; days that miss the same are written once. */
function missingHours(recorded: readonly boolean[]): string {
  const ofDay = DAYS.map((_, day) => missingOfDay(recorded.slice(day * 24, day * 24 + 24)));
  const parts: string[] = [];
  for (let day = 0; day < DAYS.length; ) {
    const what = ofDay[day];
    let end = day + 1;
    while (end < DAYS.length && ofDay[end] === what) end++;
    const name = end - day === 1 ? DAYS[day] : `${DAYS[day]}-${DAYS[end - 1]}`;
    if (what === 'all') parts.push(`${name}`);
    else if (what !== '') parts.push(`${name} ${what}`);
    day = end;
  }
  return parts.join(', ');
}

function missingOfDay(hours: readonly boolean[]): string {
  if (!hours.includes(true)) return 'all';
  const parts: string[] = [];
  for (let hour = 0; hour < hours.length; hour++) {
    if (hours[hour] === true) continue;
    let end = hour + 1;
    while (end < hours.length && hours[end] !== true) end++;
    parts.push(`${clock(hour)}-${clock(end)}`);
    hour = end;
  }
  return parts.join(' and ');
}

function clock(hour: number): string {
  return `${String(hour).padStart(2, '0')}:00`;
}
