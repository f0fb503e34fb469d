import type { PathSet, Segment } from './path-sets.ts';

/**
 * Characters of a path in normal form, except the slash, as a character class of RE2: RFC 3986 `pchar` without
 * escapes, and the brackets that proxies let pass.
 */
const CHAR = '!$&-.0-;=@-\\[\\]_a-z~';
/** An escape that is left after normalising: not of a control character. */
const ESCAPE = '%(?:[2-689A-Fa-f][0-9A-Fa-f]|7[0-9A-Ea-e])';
/** What identifiers are made of; for patterns that would become too large. */
const PLAIN_CHAR = '-.0-:@-Z_a-z~';
const QUERY = '(?:\\?[!-~]*)?';

/** A regular expression with an estimate of the size of its RE2 program, never below the real one. */
export interface Pattern {
  readonly text: string;
  readonly size: number;
}

/**
 * Sizes as RE2 gives them (`RE2::ProgramSize`, measured with google-re2 1.1): a program has 4 instructions beside
 * its parts, a literal character is one.
 */
const SIZE = { program: 4, parameter: 20, rest: 24, plainParameter: 8, plainRest: 12, query: 4 } as const;

/**
 * The request target of every path of the set with any query, as one regular expression that has to match the
 * whole text, for a proxy that has normalised the path. `plain` admits only letters, digits and `-._~:@` as values,
 * which takes less. Undefined where a segment is "all but": that would be too large.
 */
export function targetPattern({ segments, rest }: PathSet, plain: boolean): Pattern | undefined {
  let text = '';
  let size: number = SIZE.program + SIZE.query;
  for (const segment of segments) {
    const part = segmentPattern(segment, plain);
    if (part === undefined) return undefined;
    text += `/${part.text}`;
    size += part.size + 1;
  }
  if (rest) {
    // Never two slashes in a row: a path of slashes only is left as it is by Envoy's normalisation.
    text += plain ? `/(?:[${PLAIN_CHAR}]+/?)*` : `/(?:(?:[${CHAR}]|${ESCAPE})+/?)*`;
    size += 1 + (plain ? SIZE.plainRest : SIZE.rest);
  }
  return { text: text + QUERY, size };
}

function segmentPattern(segment: Segment, plain: boolean): Pattern | undefined {
  if ('literal' in segment) return { text: escapePattern(segment.literal), size: segment.literal.length };
  if (segment.not.length > 0) return undefined;
  return plain
    ? { text: `[${PLAIN_CHAR}]+`, size: SIZE.plainParameter }
    : { text: `(?:[${CHAR}]|${ESCAPE})+`, size: SIZE.parameter };
}

/** Literal text in a regular expression. */
export function escapePattern(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}

/** The same, spelled so that an escape is one that normalising leaves: proxies that do not normalise need it. */
const RAW_ESCAPE = '%(?:2[0-9A-Ca-c]|3[A-Fa-f]|40|5[BDEbde]|60|7[B-Db-d]|[89A-Fa-f][0-9A-Fa-f])';
/** Without the dot. In Rust's syntax `--` and `&&` in a class are operators, so neither is written. */
const CHAR_BUT_DOT = '!$&-,\\-0-;=@-\\[\\]_a-z~';
const RAW_UNIT = `(?:[${CHAR}]|${RAW_ESCAPE})`;
/** Any segment but "." and "..": dots and something else, or three dots and more. */
const RAW_SEGMENT = `(?:\\.*(?:[${CHAR_BUT_DOT}]|${RAW_ESCAPE})${RAW_UNIT}*|\\.{3,})`;

/**
 * The paths of the set that are sent in normal form, as a regular expression from start to end, for a proxy that
 * matches paths as they are sent. Undefined where a segment is "all but" a text with an escape.
 */
export function rawPathPattern({ segments, rest }: PathSet): string | undefined {
  let text = '^';
  for (const segment of segments) {
    const part =
      'literal' in segment
        ? escapePattern(segment.literal)
        : segment.not.length === 0
          ? RAW_SEGMENT
          : otherThan([...segment.not, '.', '..']);
    if (part === undefined) return undefined;
    text += `/${part}`;
  }
  return `${text}${rest ? `/(?:${RAW_SEGMENT}(?:/|$))*` : ''}$`;
}

/** Any segment but the given: there is no "not", so what differs is spelled out letter by letter. */
function otherThan(words: readonly string[], isStart = true): string | undefined {
  if (words.some((word) => word.includes('%'))) return undefined;
  const byFirst = Map.groupBy(
    words.filter((word) => word !== ''),
    (word) => word[0] as string,
  );
  const others = `(?:[${classWithout([...byFirst.keys()])}]|${RAW_ESCAPE})${RAW_UNIT}*`;
  const branches = [...byFirst].map(
    ([first, list]) =>
      `${escapePattern(first)}${
        otherThan(
          list.map((word) => word.slice(1)),
          false,
        ) ?? ''
      }`,
  );
  const mayEnd = !isStart && !words.includes('');
  return `(?:${[others, ...branches].join('|')})${mayEnd ? '?' : ''}`;
}

/** {@link CHAR} without some characters. */
function classWithout(taken: readonly string[]): string {
  const all = Array.from({ length: 0x7f - 0x21 }, (_, i) => String.fromCharCode(0x21 + i));
  const allowed = new RegExp(`^[${CHAR}]$`);
  return all
    .filter((c) => allowed.test(c) && !taken.includes(c))
    .map((c) => c.replace(/[\\\]^[-]/g, '\\$&'))
    .join('');
}
