import { createHash } from 'node:crypto';
import { TypeOverrides } from 'pg';

/** A value of a statement. Texts go through {@link toText}; JSON is wrapped, so that it does not. */
export type Value = string | number | boolean | null | Buffer | JsonValue | readonly Value[];

/** A value as JSON text: for columns of type json, which keep the text as it is. */
export class JsonValue {
  readonly #text: string;

  constructor(value: unknown) {
    this.#text = JSON.stringify(value);
  }

  /** The driver's own hook. */
  toPostgres(): string {
    return this.#text;
  }
}

const NOT_TEXT = /[\\\0\p{Surrogate}]/gu;
const ESCAPED = /\\(?:(\\)|(0)|u([0-9a-f]{4}))/g;

/**
 * Text as a column can hold it: PostgreSQL takes neither NUL nor half a surrogate pair, and names found in traffic may
 * hold both. Only these and the backslash look different in the table.
 */
export function toText(text: string): string {
  return text.replace(NOT_TEXT, (char) => {
    if (char === '\\') return '\\\\';
    return char === '\0' ? '\\0' : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

/** What {@link toText} was given. */
export function fromText(text: string): string {
  if (!text.includes('\\')) return text;
  return text.replace(ESCAPED, (_all, backslash, nul, code: string | undefined) => {
    if (backslash !== undefined) return '\\';
    return nul === undefined ? String.fromCharCode(Number.parseInt(code ?? '0', 16)) : '\0';
  });
}

/** A value as the driver takes it. */
export function toDriver(value: Value): unknown {
  if (typeof value === 'string') return toText(value);
  return Array.isArray(value) ? value.map(toDriver) : value;
}

const INT8 = 20;
const TEXT = 25;
const TEXT_ARRAY = 1009;

/** How columns are read: numbers up to 2^53 as numbers, texts as {@link fromText} gives them. */
export const columnTypes = new TypeOverrides();
// The driver's types name its parsers' argument a number; it is the column's text. No array of ours holds another one.
const parseTexts = columnTypes.getTypeParser(TEXT_ARRAY, 'text') as unknown as (text: string) => string[];
columnTypes.setTypeParser(INT8, Number);
columnTypes.setTypeParser(TEXT, fromText);
columnTypes.setTypeParser(TEXT_ARRAY, (text: string) => parseTexts(text).map(fromText));

/** SHA-256: the key of a text of any length, where an index takes 2,700 bytes at most. */
export const digestOf = (text: string) => createHash('sha256').update(text).digest();

/** Bytes that compare as JavaScript compares texts: UTF-16, high byte first. */
export const utf16Of = (text: string) => Buffer.from(text, 'utf16le').swap16();
export const fromUtf16 = (bytes: Buffer) => Buffer.from(bytes).swap16().toString('utf16le');

/** The largest counter: beyond it JavaScript's numbers skip some. */
export const MAX_COUNT = Number.MAX_SAFE_INTEGER;
