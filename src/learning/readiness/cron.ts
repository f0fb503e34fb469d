import { InterlockError } from '../../access/index.ts';

/** A cron schedule that can be asked when it is due. Times of day are those of its time zone. */
export interface CronSchedule {
  /** Minutes, hours, days of the month, months (1 to 12) and days of the week (0 is Sunday) that match. */
  readonly minutes: ReadonlySet<number>;
  readonly hours: ReadonlySet<number>;
  readonly days: ReadonlySet<number>;
  readonly months: ReadonlySet<number>;
  readonly weekdays: ReadonlySet<number>;
  /** Where either day field is written as any, both must match; else one is enough. */
  readonly anyDay: boolean;
  /** `@every`: the time between runs in milliseconds; the fields are then not asked. */
  readonly every?: number;
  /** What local time is ahead of UTC by at a moment, in milliseconds; absent for UTC. */
  readonly offsetAt?: (ms: number) => number;
}

interface Field {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  readonly names: readonly string[];
}

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const WEEKDAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];

const MINUTE: Field = { name: 'minute', min: 0, max: 59, names: [] };
const HOUR: Field = { name: 'hour', min: 0, max: 23, names: [] };
const DAY: Field = { name: 'day of the month', min: 1, max: 31, names: [] };
const MONTH: Field = { name: 'month', min: 1, max: 12, names: MONTHS };
/** 7 is Sunday too, as in crontab(5). */
const WEEKDAY: Field = { name: 'day of the week', min: 0, max: 7, names: WEEKDAYS };

const MACROS: ReadonlyMap<string, string> = new Map([
  ['@yearly', '0 0 1 1 *'],
  ['@annually', '0 0 1 1 *'],
  ['@monthly', '0 0 1 * *'],
  ['@weekly', '0 0 * * 0'],
  ['@daily', '0 0 * * *'],
  ['@midnight', '0 0 * * *'],
  ['@hourly', '0 * * * *'],
]);

/** Longer schedules are refused unread. */
const MAX_LENGTH = 512;
const MINUTE_MS = 60_000;
const DAY_MS = 1440 * MINUTE_MS;
/** Time zones change their offset on quarters of an hour of UTC. */
const QUARTER_MS = 15 * MINUTE_MS;
/** No daylight saving shifts further than this. */
const SHIFT_MS = 3 * 60 * MINUTE_MS;
/** How far ahead a next run is looked for. */
export const CRON_HORIZON_MS = 5 * 366 * DAY_MS;

/**
 * Reads a schedule as a Kubernetes CronJob does: five fields (lists, ranges, steps, names), the usual `@` macros,
 * `@every 1h30m`, and a time zone beside it or as a `TZ=` prefix. Throws `invalid_document`.
 */
export function parseCron(schedule: string, timeZone?: string): CronSchedule {
  if (schedule.length > MAX_LENGTH)
    throw invalid(`${schedule.slice(0, 40)}...`, `it is longer than ${MAX_LENGTH} characters`);
  const prefix = /^(?:CRON_)?TZ=(\S+)\s+/.exec(schedule.trim());
  const text = schedule.trim().slice(prefix?.[0].length ?? 0);
  const offsetAt = offsetsOf(schedule, prefix?.[1] ?? timeZone);
  const zone = offsetAt === undefined ? {} : { offsetAt };
  const every = /^@every\s+(\S+)$/.exec(text);
  if (every !== null) {
    return { ...fieldsOf(schedule, '* * * * *'), ...zone, every: durationOf(schedule, every[1] ?? '') };
  }
  const fields = text.startsWith('@') ? MACROS.get(text.toLowerCase()) : text;
  if (fields === undefined) throw invalid(schedule, `"${text}" is no schedule that it knows`);
  return { ...fieldsOf(schedule, fields), ...zone };
}

function fieldsOf(schedule: string, text: string): CronSchedule {
  const fields = text.split(/\s+/);
  if (fields.length !== 5) throw invalid(schedule, `it has ${fields.length} fields where 5 are expected`);
  const [minute = '', hour = '', day = '', month = '', weekday = ''] = fields;
  const weekdays = valuesOf(schedule, WEEKDAY, weekday);
  return {
    minutes: valuesOf(schedule, MINUTE, minute),
    hours: valuesOf(schedule, HOUR, hour),
    days: valuesOf(schedule, DAY, day),
    months: valuesOf(schedule, MONTH, month),
    weekdays: new Set([...weekdays].map((value) => value % 7)),
    anyDay: isAny(day) || isAny(weekday),
  };
}

/** As the parser of Kubernetes (robfig/cron v3) has it: a star with a step greater than 1 is not "any". */
function isAny(field: string): boolean {
  return field.split(',').some((part) => /^[*?](?:\/0*1)?$/.test(part));
}

function valuesOf(schedule: string, field: Field, text: string): Set<number> {
  const values = new Set<number>();
  for (const part of text.split(',')) {
    const match = /^(?:([*?])|([0-9a-z]+)(?:-([0-9a-z]+))?)(?:\/([0-9]{1,4}))?$/i.exec(part);
    if (match === null) throw invalid(schedule, `"${part}" is no ${field.name}`);
    const [, any, first = '', last, step] = match;
    const from = any === undefined ? valueOf(schedule, field, first) : field.min;
    // "N/step" runs from N to the end of the field.
    const open = any !== undefined || (last === undefined && step !== undefined);
    const top = field === WEEKDAY && open ? 6 : field.max;
    const to = open ? top : last === undefined ? from : valueOf(schedule, field, last);
    const by = step === undefined ? 1 : Number(step);
    if (by === 0) throw invalid(schedule, `the step of "${part}" is 0`);
    if (from > to) throw invalid(schedule, `the range "${part}" ends before it begins`);
    for (let value = from; value <= to; value += by) values.add(value);
  }
  return values;
}

function valueOf(schedule: string, field: Field, text: string): number {
  const named = field.names.indexOf(text.toLowerCase());
  const value =
    named >= 0 ? named + (field.min === 1 ? 1 : 0) : /^[0-9]{1,4}$/.test(text) ? Number(text) : -1;
  if (value < field.min || value > field.max) throw invalid(schedule, `"${text}" is no ${field.name}`);
  return value;
}

/** Milliseconds of a duration such as `1h30m` or `90s`. */
function durationOf(schedule: string, text: string): number {
  if (!/^(?:[0-9]{1,6}(?:h|m|s))+$/.test(text)) throw invalid(schedule, `"${text}" is no duration`);
  let sum = 0;
  for (const [, count, unit] of text.matchAll(/([0-9]+)(h|m|s)/g)) {
    sum += Number(count) * (unit === 'h' ? 3_600_000 : unit === 'm' ? MINUTE_MS : 1000);
  }
  if (sum === 0) throw invalid(schedule, 'the time between runs is 0');
  return sum;
}

/** Offsets of a time zone of the IANA database, undefined for UTC. */
function offsetsOf(schedule: string, timeZone: string | undefined): CronSchedule['offsetAt'] {
  if (timeZone === undefined || /^(?:etc\/)?utc$/i.test(timeZone)) return undefined;
  let format: Intl.DateTimeFormat;
  try {
    format = new Intl.DateTimeFormat('en-US', {
      timeZone,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
  } catch {
    throw invalid(schedule, `the time zone "${timeZone.slice(0, 40)}" is not known`);
  }
  return (ms) => {
    const at = Math.floor(ms / 1000) * 1000;
    const [month = 1, day = 1, year = 1970, hour = 0, minute = 0, second = 0] = (
      format.format(at).match(/[0-9]+/g) ?? []
    ).map(Number);
    return Date.UTC(year, month - 1, day, hour, minute, second) - at;
  };
}

/**
 * The first full minute from `from` to `to` (milliseconds since 1970 UTC, both included) at which the schedule is
 * due; undefined where there is none. A local time that daylight saving leaves out does not come, and one that it
 * repeats comes twice. `@every` counts from `from`, because nobody knows its phase.
 */
export function firstDue(schedule: CronSchedule, from: number, to: number): number | undefined {
  if (schedule.every !== undefined) return from + schedule.every <= to ? from + schedule.every : undefined;
  let at = Math.ceil(from / MINUTE_MS) * MINUTE_MS;
  while (at <= to) {
    const offset = schedule.offsetAt?.(at) ?? 0;
    const local = at + offset;
    const quarter = (Math.floor(at / QUARTER_MS) + 1) * QUARTER_MS;
    if (!isDueDay(schedule, local)) {
      at = nextDay(at, local, quarter, schedule.offsetAt !== undefined);
      continue;
    }
    for (; at < quarter && at <= to; at += MINUTE_MS) {
      const minute = Math.floor((at + offset) / MINUTE_MS);
      if (schedule.minutes.has(minute % 60) && schedule.hours.has(Math.floor(minute / 60) % 24)) return at;
    }
  }
  return undefined;
}

/** Close to the next local midnight: at it in UTC, before any possible shift of the offset elsewhere. */
function nextDay(at: number, local: number, quarter: number, shifts: boolean): number {
  const left = DAY_MS - (local % DAY_MS);
  if (!shifts) return at + left;
  return left > 2 * SHIFT_MS ? Math.floor((at + left - SHIFT_MS) / QUARTER_MS) * QUARTER_MS : quarter;
}

function isDueDay({ days, months, weekdays, anyDay }: CronSchedule, local: number): boolean {
  const date = new Date(local);
  if (!months.has(date.getUTCMonth() + 1)) return false;
  const day = days.has(date.getUTCDate());
  const weekday = weekdays.has(date.getUTCDay());
  return anyDay ? day && weekday : day || weekday;
}

function invalid(schedule: string, reason: string): InterlockError {
  return new InterlockError(
    'invalid_document',
    schedule,
    `the schedule "${schedule}" cannot be read: ${reason}`,
  );
}
