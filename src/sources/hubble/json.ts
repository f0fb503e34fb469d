import { MAX_DEPTH } from '../source.ts';

/** An object of outside JSON: nothing about its fields is known. */
export type Json = Readonly<Record<string, unknown>>;

/** Ends the reading of one line: `reason` is what it is counted under. It never leaves this folder. */
export class NotUsable extends Error {
  readonly reason: string;

  constructor(reason: string) {
    super(reason);
    this.name = 'NotUsable';
    this.reason = reason;
  }
}

/** Whether JSON text nests deeper than {@link MAX_DEPTH}; brackets inside strings do not count. */
export function tooDeep(text: string): boolean {
  // Most lines do not open that many brackets at all, and that is found much faster.
  let left = MAX_DEPTH;
  for (const bracket of '{[') {
    for (let i = text.indexOf(bracket); i >= 0 && left >= 0; i = text.indexOf(bracket, i + 1)) left--;
  }
  return left < 0 && depthExceeded(text);
}

function depthExceeded(text: string): boolean {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (inString) {
      if (c === 0x5c) i++;
      else if (c === 0x22) inString = false;
    } else if (c === 0x22) inString = true;
    else if (c === 0x7b || c === 0x5b) {
      if (++depth > MAX_DEPTH) return true;
    } else if (c === 0x7d || c === 0x5d) depth--;
  }
  return false;
}

/** The value as an object, or undefined where it is something else. */
export function asObject(value: unknown): Json | undefined {
  // Checked right here: an object that is neither null nor a list.
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : undefined;
}

const CAMEL = new Map<string, string>();

/**
 * A field under its protobuf name or the lower camel case that protobuf's JSON mapping also allows. JSON null
 * means unset there, and so it does here.
 */
export function valueAt(object: Json, name: string): unknown {
  const value = object[name];
  if (value !== undefined) return value === null ? undefined : value;
  let camel = CAMEL.get(name);
  if (camel === undefined) {
    camel = name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
    CAMEL.set(name, camel);
  }
  return camel === name ? undefined : (object[camel] ?? undefined);
}

/** An object's field that must be an object where it is there. Throws {@link NotUsable}. */
export function objectAt(object: Json, name: string): Json | undefined {
  const value = valueAt(object, name);
  if (value === undefined) return undefined;
  return asObject(value) ?? wrongType(name, 'an object');
}

/** An object's field that must be text where it is there; empty text is unset, as in protobuf. */
export function textAt(object: Json, name: string): string | undefined {
  const value = valueAt(object, name);
  if (value === undefined || value === '') return undefined;
  return typeof value === 'string' ? value : wrongType(name, 'text');
}

/** An object's field that must be a whole number from 0 to `max`; 64-bit ones are written as text. */
export function numberAt(object: Json, name: string, max: number): number | undefined {
  const value = valueAt(object, name);
  if (value === undefined) return undefined;
  const number = typeof value === 'string' && /^\d{1,20}$/.test(value) ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isInteger(number) || number < 0 || number > max) {
    return wrongType(name, `a whole number up to ${max}`);
  }
  return number;
}

/** An object's field that must be true or false where it is there. */
export function booleanAt(object: Json, name: string): boolean | undefined {
  const value = valueAt(object, name);
  if (value === undefined) return undefined;
  return typeof value === 'boolean' ? value : wrongType(name, 'true or false');
}

/** An object's field that must be a list where it is there, up to `max` long. */
export function listAt(object: Json, name: string, max: number): readonly unknown[] {
  const value = valueAt(object, name);
  if (value === undefined) return [];
  if (!Array.isArray(value)) return wrongType(name, 'a list');
  if (value.length > max) throw new NotUsable(`field "${name}" has more than ${max} entries`);
  return value;
}

/** A list field whose entries must be text. */
export function textsAt(object: Json, name: string, max: number): readonly string[] {
  const list = listAt(object, name, max);
  for (const entry of list) if (typeof entry !== 'string') return wrongType(name, 'a list of text');
  // Every entry was checked in the line above.
  return list as readonly string[];
}

/** An enumeration's name; a number is looked up in `names`, as protobuf's JSON mapping allows both. */
export function enumAt(
  object: Json,
  name: string,
  names: Readonly<Record<number, string>>,
): string | undefined {
  const value = valueAt(object, name);
  if (value === undefined || typeof value === 'string') return value;
  if (typeof value === 'number') return names[value] ?? `number ${value}`;
  return wrongType(name, 'a name');
}

function wrongType(name: string, wanted: string): never {
  throw new NotUsable(`field "${name}" is not ${wanted}`);
}
