const DAY_MS = 86_400_000;
const DAYS_IN_MONTH = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
const DASH = 0x2d;
const COLON = 0x3a;

/**
 * The time that a log line states, as milliseconds since 1970 UTC, or NaN where it is none: ISO 8601 with any
 * fraction and a zone (`Z`, `+01:00`, `+0100`), or a number of seconds, milliseconds, microseconds or nanoseconds
 * since 1970, told apart by its size. A time without a zone is refused: guessing one would shift the calendar.
 */
export function timeOf(bytes: Uint8Array, start: number, end: number): number {
  return bytes[start + 4] === DASH && end - start >= 20
    ? isoTime(bytes, start, end)
    : numberTime(bytes, start, end);
}

/** The length of `2026-10-15T12:34:56.789Z`, and of that as far as the minute. */
const FULL = 24;
const MINUTE = 16;

/** Gives what {@link timeOf} gives. Lines of one minute follow each other: it remembers the last one. */
export class LineTimes {
  /** The text of the minute, and the time it stands for. */
  #first = Number.NaN;
  #second = Number.NaN;
  #minute = 0;

  of(bytes: Uint8Array, view: DataView, start: number, end: number): number {
    const full = end - start === FULL && bytes[end - 1] === 0x5a;
    if (!full) return timeOf(bytes, start, end);
    // Eight bytes are compared as one number; those that make a NaN are no digits.
    const first = view.getFloat64(start, true);
    const second = view.getFloat64(start + 8, true);
    if (first === this.#first && second === this.#second) {
      return this.#minute + secondTime(bytes, start + MINUTE);
    }
    const at = timeOf(bytes, start, end);
    if (!Number.isNaN(at)) {
      this.#first = first;
      this.#second = second;
      this.#minute = at - secondTime(bytes, start + MINUTE);
    }
    return at;
  }
}

/** The milliseconds that `:56.789` stands for, or NaN. */
function secondTime(bytes: Uint8Array, p: number): number {
  const second = twoDigits(bytes, p + 1);
  const last = bytes[p + 6] as number;
  if (bytes[p] !== COLON || bytes[p + 3] !== 0x2e || !isDigit(last) || !(second < 60)) return NaN;
  return second * 1000 + twoDigits(bytes, p + 4) * 10 + (last - 0x30);
}

function isoTime(bytes: Uint8Array, start: number, end: number): number {
  const year = twoDigits(bytes, start) * 100 + twoDigits(bytes, start + 2);
  const month = twoDigits(bytes, start + 5);
  const day = twoDigits(bytes, start + 8);
  const hour = twoDigits(bytes, start + 11);
  const minute = twoDigits(bytes, start + 14);
  const second = twoDigits(bytes, start + 17);
  const t = bytes[start + 10];
  if (bytes[start + 7] !== DASH || (t !== 0x54 && t !== 0x20)) return NaN;
  if (bytes[start + 13] !== COLON || bytes[start + 16] !== COLON) return NaN;
  if (!(hour < 24 && minute < 60 && second < 60)) return NaN;
  let p = start + 19;
  let ms = 0;
  if (bytes[p] === 0x2e) {
    const first = ++p;
    for (let weight = 100; p < end && isDigit(bytes[p] as number); p++, weight = Math.floor(weight / 10)) {
      ms += ((bytes[p] as number) - 0x30) * weight;
    }
    if (p === first) return NaN;
  }
  const zone = bytes[p] === 0x5a && p === end - 1 ? 0 : zoneMs(bytes, p, end);
  return dayTime(year, month, day) + hour * 3_600_000 + minute * 60_000 + second * 1000 + ms - zone;
}

/** `+01:00` or `+0100` as milliseconds, or NaN. */
function zoneMs(bytes: Uint8Array, p: number, end: number): number {
  const sign = bytes[p] === 0x2b ? 1 : bytes[p] === DASH ? -1 : NaN;
  const minuteAt = bytes[p + 3] === COLON ? p + 4 : p + 3;
  const hours = twoDigits(bytes, p + 1);
  const minutes = twoDigits(bytes, minuteAt);
  if (minuteAt + 2 !== end || !(hours < 24 && minutes < 60)) return NaN;
  return sign * (hours * 3_600_000 + minutes * 60_000);
}

/** Midnight of a day of the Gregorian calendar, in milliseconds since 1970, or NaN where there is no such day. */
function dayTime(year: number, month: number, day: number): number {
  if (!(month >= 1 && month <= 12 && day >= 1 && day <= (DAYS_IN_MONTH[month - 1] as number))) return NaN;
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  if (month === 2 && day === 29 && !leap) return NaN;
  // Years that begin in March put the leap day last. 719,468 days lie between 0000-03-01 and 1970-01-01.
  const y = month > 2 ? year : year - 1;
  const sinceMarch = Math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1;
  const days = 365 * y + Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400) + sinceMarch - 719_468;
  return days * DAY_MS;
}

function numberTime(bytes: Uint8Array, start: number, end: number): number {
  let n = 0;
  let weight = 0;
  if (end - start > 32) return NaN;
  for (let p = start; p < end; p++) {
    const c = bytes[p] as number;
    if (c === 0x2e && weight === 0 && p > start) weight = 1;
    else if (!isDigit(c)) return NaN;
    else if (weight === 0) n = n * 10 + (c - 0x30);
    else n += (c - 0x30) * (weight /= 10);
  }
  if (n === 0 || end === start) return NaN;
  // Until the year 5138 seconds are below 1e11; from 1973 on milliseconds are above it, and so on.
  if (n < 1e11) return Math.floor(n * 1000 + 1e-3);
  if (n < 1e14) return Math.floor(n);
  return Math.floor(n < 1e17 ? n / 1e3 : n / 1e6);
}

/** The number that two digits make, or NaN. */
function twoDigits(bytes: Uint8Array, p: number): number {
  const a = bytes[p] as number;
  const b = bytes[p + 1] as number;
  return isDigit(a) && isDigit(b) ? (a - 0x30) * 10 + (b - 0x30) : NaN;
}

function isDigit(c: number): boolean {
  return c >= 0x30 && c <= 0x39;
}
