/**
 * What a path segment shows to be by its letters alone. A segment with a shape is a value, never a route's own
 * word; a segment without one (`orders`, `shanghai`) may be either, and its neighbours decide.
 */
export const SHAPES = [
  'integer',
  'number',
  'uuid',
  'ulid',
  'hex',
  'date',
  'time',
  'email',
  'address',
  'version',
  'code',
  'token',
  'list',
  'file',
] as const;
export type Shape = (typeof SHAPES)[number];

const LOWER = 1;
const UPPER = 2;
const DIGIT = 4;
const OTHER = 8;

/** Character classes in a segment, as bits, and how often the class changes from one character to the next. */
function classesOf(segment: string): { bits: number; changes: number; digits: number } {
  let bits = 0;
  let changes = 0;
  let digits = 0;
  let last = 0;
  for (let i = 0; i < segment.length; i++) {
    const c = segment.charCodeAt(i);
    let kind = OTHER;
    if (c >= 0x61 && c <= 0x7a) kind = LOWER;
    else if (c >= 0x41 && c <= 0x5a) kind = UPPER;
    else if (c >= 0x30 && c <= 0x39) kind = DIGIT;
    if (kind === DIGIT) digits++;
    if (last !== 0 && kind !== last) changes++;
    last = kind;
    bits |= kind;
  }
  return { bits, changes, digits };
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i; // RFC 9562
const ULID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/i; // Crockford's base 32, 48 bits of time first
const HEX = /^(?:0x)?[0-9a-f]+$/i;
const INTEGER = /^[+-]?\d+$/;
const NUMBER = /^[+-]?\d+[.,]\d+$/;
const DATE = /^(?:\d{4}-\d{2}(?:-\d{2})?|\d{4}-W\d{2}|\d{4}\.\d{2}\.\d{2}|\d{2}[-.]\d{2}[-.]\d{4})$/;
const TIME = /^\d{4}-\d{2}-\d{2}[T ]\d{2}[:-]?\d{2}/; // RFC 3339 and its relatives
const EMAIL = /^[^@\s]+@[^@\s]+\.[A-Za-z]{2,}$/;
const IPV4 = /^(?:\d{1,3}\.){3}\d{1,3}(?::\d+|-\d+)?$/;
const IPV6 = /^(?=(?:[^:]*:){2})[0-9a-f:.]+$/i;
const VERSION = /^v?\d+\.\d+\.\d+(?:[-+.][0-9A-Za-z.+-]*)?$/i; // semver.org, and four-part numbers
const CODE = /^(?:[A-Za-z]{1,4}[-_]?\d{3,}|[A-Z]{1,5}[-_]\d+|\d{2,}[A-Za-z]{1,3})$/;
const TOKEN_PREFIX = /^[a-z]{1,8}(?:_(?:test|live))?_(?=[A-Za-z0-9]*[0-9A-Z])[A-Za-z0-9]{8,}$/; // cus_Nf..., sk_test_...
const RESOURCE_ID = /^[a-z]{1,8}-[0-9a-f]{8,}$/; // i-0abc..., vpc-0abc...
const POD_NAME = /^[a-z0-9.-]+-[bcdf-hj-np-tv-xz0-9]{6,10}-[bcdf-hj-np-tv-xz0-9]{5}$/; // Deployment's pods
const JWT = /^[\w-]{8,}\.[\w-]{8,}\.[\w-]*$/;
const BASE64 = /^[A-Za-z0-9+/_-]+={0,2}$/;
const INTEGERS = /^[+-]?\d+(?:\.\d+)?(?:[,;:|][+-]?\d+(?:\.\d+)?)+$/;
const FILE = /^(.+)\.([A-Za-z][A-Za-z0-9]{0,4})$/;
/** Names with digits that are words of an API, not codes. */
const WORD_WITH_DIGITS =
  /^(?:v\d+(?:(?:alpha|beta|rc|p)\d*)*|sha-?\d{1,3}|md5|[rehp]s(?:256|384|512)|base\d\d|utf-?\d+|iso-?\d+|http-?[123]|oauth-?2|ipv[46]|x509|[a-z]{1,3}\d)$/i;

/** The segment with its percent-escapes read, or itself where they are broken. */
function decoded(segment: string): string {
  if (!segment.includes('%')) return segment;
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

function isToken(text: string, bits: number, changes: number, digits: number): boolean {
  if (TOKEN_PREFIX.test(text) || RESOURCE_ID.test(text)) return true;
  if (digits > 0 && POD_NAME.test(text)) return true;
  if (text.startsWith('ey') && JWT.test(text)) return true;
  if (!BASE64.test(text)) return false;
  const mixed = (bits & (LOWER | UPPER)) === (LOWER | UPPER) && digits > 0;
  if (mixed && text.length >= 8 && changes * 5 >= text.length * 2) return true;
  if (mixed && text.length >= 16 && changes * 4 >= text.length) return true;
  if (text.endsWith('=') && text.length >= 8 && (digits > 0 || changes >= 4)) return true;
  const oneRun = (bits & OTHER) === 0;
  return oneRun && text.length >= 12 && digits >= 3 && changes >= 5;
}

/** The shape of one path segment, or undefined for what may be a word. Percent-escapes are read for the test. */
export function shapeOf(segment: string): Shape | undefined {
  const text = decoded(segment);
  const { bits, changes, digits } = classesOf(text);
  if (bits === LOWER || bits === 0) return undefined;
  if (digits === 0) {
    if (EMAIL.test(text)) return 'email';
    return isToken(text, bits, changes, digits) ? 'token' : undefined;
  }
  if (INTEGER.test(text)) return 'integer';
  if (WORD_WITH_DIGITS.test(text)) return undefined;
  if (UUID.test(text)) return 'uuid';
  if (DATE.test(text)) return 'date';
  if (TIME.test(text)) return 'time';
  if (NUMBER.test(text)) return 'number';
  if (EMAIL.test(text)) return 'email';
  if (IPV4.test(text) || IPV6.test(text)) return 'address';
  if (VERSION.test(text)) return 'version';
  if (INTEGERS.test(text)) return 'list';
  if (HEX.test(text) && text.length >= 7 && digits >= 2) return 'hex';
  if (ULID.test(text)) return 'ulid';
  if (CODE.test(text)) return 'code';
  if (isToken(text, bits, changes, digits)) return 'token';
  const file = FILE.exec(text);
  return file !== null && shapeOf(file[1] as string) !== undefined ? 'file' : undefined;
}

/** True for a year or a date: as the only value at its position it may be the version of an API. */
export function isCalendar(segment: string): boolean {
  return /^(?:19|20)\d{2}(?:-\d{2}(?:-\d{2})?)?$/.test(segment);
}

/**
 * How much a segment without a shape looks like a value all the same, from 0 (a plain word) to 1: digits,
 * escapes, punctuation that routes do not use, a capital where the route has none.
 */
export function valueLikeness(segment: string, capitalsAreUsual: boolean): number {
  if (WORD_WITH_DIGITS.test(segment)) return 0;
  if (segment.includes('%') || segment.length > 40) return 1;
  if (/[^A-Za-z0-9_.-]/.test(segment)) return segment.startsWith(':') ? 0 : 0.75;
  if (/\d/.test(segment)) return 0.75;
  if (segment.includes('.')) return segment.startsWith('.') ? 0 : 0.25;
  return !capitalsAreUsual && /^[A-Z]/.test(segment) ? 1 : 0;
}
