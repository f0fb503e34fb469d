import { type ErrorCode, InterlockError } from '../../access/index.ts';

/** What a reader of outside JSON says when it refuses: the code for bad content, and what is being read. */
export interface JsonSubject {
  readonly code: ErrorCode;
  /** Names the object in errors: a trust domain, a token's kind. */
  readonly subject: string;
  /** What the text is, for the sentence: "the bundle of example.org". */
  readonly what: string;
  /** Largest size in bytes, and deepest nesting of objects and arrays. */
  readonly maxBytes: number;
  readonly maxDepth: number;
}

const UTF8 = new TextDecoder('utf-8', { fatal: true });

/** The JSON object in `input`. Throws `limit` beyond size or depth, the subject's code for anything but an object. */
export function readJsonObject(
  input: string | Uint8Array,
  about: JsonSubject,
): Readonly<Record<string, unknown>> {
  const { subject, what, maxBytes, maxDepth } = about;
  if (input.length > maxBytes) {
    throw new InterlockError('limit', subject, `${what} is larger than ${maxBytes} bytes`);
  }
  const text = typeof input === 'string' ? input : decodeUtf8(input, about);
  if (isDeeperThan(text, maxDepth)) {
    throw new InterlockError('limit', subject, `${what} is nested deeper than ${maxDepth} levels`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new InterlockError(about.code, subject, `${what} is not JSON`, { cause });
  }
  if (!isObject(value)) throw new InterlockError(about.code, subject, `${what} is not a JSON object`);
  return value;
}

/** True for a JSON object: neither null nor an array. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An object's own member: names such as "constructor" are not found on what every object inherits. */
export function member(object: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

function decodeUtf8(bytes: Uint8Array, about: JsonSubject): string {
  try {
    return UTF8.decode(bytes);
  } catch (cause) {
    throw new InterlockError(about.code, about.subject, `${about.what} is not UTF-8`, { cause });
  }
}

/** Counts brackets outside strings, before anything is built: recursion over the parsed value is then safe. */
function isDeeperThan(text: string, maxDepth: number): boolean {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (inString) {
      if (code === 0x5c) at++;
      else if (code === 0x22) inString = false;
    } else if (code === 0x22) inString = true;
    else if (code === 0x7b || code === 0x5b) {
      if (++depth > maxDepth) return true;
    } else if (code === 0x7d || code === 0x5d) depth--;
  }
  return false;
}
