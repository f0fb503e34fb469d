import { InterlockError } from '../../access/index.ts';
import { type DerReader, TAG } from './reader.ts';
import { element } from './writer.ts';

const DAY = 86_400_000;
/** 31 December 9999, 23:59:59: RFC 5280 section 4.1.2.5 writes "no end" so; nothing later can be written. */
export const MAX_TIME: number = Date.UTC(9999, 11, 31, 23, 59, 59);
/** RFC 5280 section 4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050 on. */
const GENERALIZED_FROM = Date.UTC(2050, 0, 1);
const UTC_FROM = Date.UTC(1950, 0, 1);

/** A Time (RFC 5280 section 4.1.2.5) for milliseconds since 1970, cut down to the second. */
export function time(ms: number): Buffer {
  const text = timeDigits(ms);
  return text.length === 13
    ? element(TAG.utcTime, Buffer.from(text, 'latin1'))
    : element(TAG.generalizedTime, Buffer.from(text, 'latin1'));
}

/** YYMMDDHHMMSSZ through 2049, YYYYMMDDHHMMSSZ from 2050 on. Throws `limit` outside 1950 to 9999. */
export function timeDigits(ms: number): string {
  if (!(ms >= UTC_FROM && ms <= MAX_TIME + 999)) {
    throw new InterlockError('limit', 'time', `${ms} ms is no time that a certificate can have`);
  }
  const days = Math.floor(ms / DAY);
  const second = Math.floor((ms - days * DAY) / 1000);
  const [hour, minute] = [Math.floor(second / 3600), Math.floor(second / 60) % 60];
  const { year, month, day } = dateOf(days);
  const century = ms < GENERALIZED_FROM ? '' : pair(Math.floor(year / 100));
  return `${century}${pair(year % 100)}${pair(month)}${pair(day)}${pair(hour)}${pair(minute)}${pair(second % 60)}Z`;
}

/** "00" to "99". */
const PAIRS: readonly string[] = Array.from({ length: 100 }, (_, i) => String(i).padStart(2, '0'));

function pair(number: number): string {
  return PAIRS[number] as string;
}

/** Reads a Time in milliseconds since 1970: only the two forms with seconds and "Z" that RFC 5280 allows. */
export function readTime(reader: DerReader): number {
  const tag = reader.peek();
  const digits = tag === TAG.utcTime ? 13 : tag === TAG.generalizedTime ? 15 : 0;
  if (digits === 0) throw reader.fault('a time is missing');
  reader.next();
  const { bytes, start, stop } = reader;
  if (stop - start !== digits || bytes[stop - 1] !== 0x5a)
    throw reader.fault('a time has not the form of RFC 5280');
  const two = (at: number) => {
    const tens = (bytes[at] as number) - 0x30;
    const ones = (bytes[at + 1] as number) - 0x30;
    if (tens < 0 || tens > 9 || ones < 0 || ones > 9)
      throw reader.fault('a time has other characters than digits');
    return tens * 10 + ones;
  };
  let at = start;
  let year = two(at);
  if (digits === 15) year = year * 100 + two((at += 2));
  else year += year < 50 ? 2000 : 1900;
  const month = two(at + 2);
  const day = two(at + 4);
  const [hour, minute, second] = [two(at + 6), two(at + 8), two(at + 10)];
  if (month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59)
    throw reader.fault('a time is out of range');
  const days = daysBefore(year, month) + day - 1;
  if (days >= daysBefore(month === 12 ? year + 1 : year, month === 12 ? 1 : month + 1))
    throw reader.fault('a time is out of range');
  return days * DAY + ((hour * 60 + minute) * 60 + second) * 1000;
}

/** The date so many days after 1 January 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms"). */
function dateOf(days: number): { year: number; month: number; day: number } {
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const ofEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (ofEra - Math.floor(ofEra / 1460) + Math.floor(ofEra / 36_524) - Math.floor(ofEra / 146_096)) / 365,
  );
  const ofYear = ofEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const fromMarch = Math.floor((5 * ofYear + 2) / 153);
  const month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9;
  const day = ofYear - Math.floor((153 * fromMarch + 2) / 5) + 1;
  return { year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day };
}

/** Days from 1 January 1970 to the first of a month, by the same source. */
function daysBefore(year: number, month: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const ofEra = y - era * 400;
  const ofYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5);
  return era * 146_097 + ofEra * 365 + Math.floor(ofEra / 4) - Math.floor(ofEra / 100) + ofYear - 719_468;
}
