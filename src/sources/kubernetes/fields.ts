import { MAX_DEPTH } from '../source.ts';

/** A field of an object is not what Kubernetes says it is. The message names the field. */
export class WrongField extends Error {
  constructor(field: string, what: string) {
    // A list's index says which, not what: left out, so that equal mistakes count together.
    super(`${field.replace(/\[\d+\]/g, '[]')} ${what}`);
  }
}

/** One object of outside data, read field by field: absent (or null) is allowed, another type is {@link WrongField}. */
export class Fields {
  readonly #value: object;
  readonly #path: string;

  /** `value` must be an object and no list. */
  constructor(value: unknown, path = '') {
    if (!isRecord(value)) throw new WrongField(path || 'the document', 'is not an object');
    this.#value = value;
    this.#path = path;
  }

  text(key: string): string | undefined {
    return this.#typed(key, 'string') as string | undefined;
  }

  /** A non-empty text that must be there. */
  name(key: string): string {
    const text = this.text(key);
    if (text === undefined || text === '') throw this.wrong(key, 'is missing');
    if (text.length > 253 || /[^\w.:-]/.test(text)) throw this.wrong(key, 'is not a name');
    return text;
  }

  flag(key: string): boolean {
    return (this.#typed(key, 'boolean') as boolean | undefined) ?? false;
  }

  /** A port number, 1 to 65535. */
  port(key: string): number | undefined {
    const port = this.#typed(key, 'number') as number | undefined;
    if (port === undefined) return undefined;
    if (!Number.isInteger(port) || port < 1 || port > 65_535) throw this.wrong(key, 'is not a port number');
    return port;
  }

  /** A port's number or name; Kubernetes also takes a number written as text. */
  portOrName(key: string): number | string | undefined {
    const value = this.#get(key);
    if (typeof value !== 'string') return this.port(key);
    return /^\d{1,5}$/.test(value) ? Number(value) : value;
  }

  /** A time (RFC 3339) in milliseconds since 1970 UTC. */
  time(key: string): number | undefined {
    const text = this.text(key);
    if (text === undefined) return undefined;
    const at = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/i.test(text)
      ? Date.parse(text)
      : Number.NaN;
    if (Number.isNaN(at)) throw this.wrong(key, 'is not a time');
    return at;
  }

  /** The object under the key; one without fields where there is none. */
  in(key: string): Fields {
    return this.maybe(key) ?? new Fields({}, this.#at(key));
  }

  maybe(key: string): Fields | undefined {
    const value = this.#get(key);
    return value === undefined ? undefined : new Fields(value, this.#at(key));
  }

  /** The list of objects under the key; empty where there is none. */
  list(key: string): Fields[] {
    return this.#list(key).map((item, i) => new Fields(item, `${this.#at(key)}[${i}]`));
  }

  texts(key: string): string[] {
    return this.#list(key).map((item, i) => {
      if (typeof item !== 'string') throw this.wrong(`${key}[${i}]`, 'is not text');
      return item;
    });
  }

  /** A map of texts such as labels; keys stay own properties whatever they are called. */
  map(key: string): Record<string, string> {
    return Object.fromEntries(this.entries(key));
  }

  entries(key: string): [string, string][] {
    const value = this.#get(key);
    if (value === undefined) return [];
    if (!isRecord(value)) throw this.wrong(key, 'is not an object');
    return Object.entries(value).map(([name, text]) => {
      if (typeof text !== 'string') throw this.wrong(key, 'holds a value that is not text');
      return [name, text];
    });
  }

  wrong(key: string, what: string): WrongField {
    return new WrongField(this.#at(key), what);
  }

  #typed(key: string, type: 'string' | 'number' | 'boolean'): unknown {
    const value = this.#get(key);
    if (value === undefined || typeof value === type) return value;
    throw this.wrong(key, `is not ${{ string: 'text', number: 'a number', boolean: 'true or false' }[type]}`);
  }

  #list(key: string): readonly unknown[] {
    const value = this.#get(key);
    if (value === undefined) return [];
    if (!Array.isArray(value)) throw this.wrong(key, 'is not a list');
    return value;
  }

  #get(key: string): unknown {
    if (!Object.hasOwn(this.#value, key)) return undefined;
    // The object was checked to be one; what its fields hold is checked by each reader.
    return (this.#value as Record<string, unknown>)[key] ?? undefined;
  }

  #at(key: string): string {
    return this.#path === '' ? key : `${this.#path}.${key}`;
  }
}

/** True for an object that is no list. */
export function isRecord(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether a value nests deeper than {@link MAX_DEPTH}; it is walked without recursion. */
export function isTooDeep(value: unknown): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_DEPTH) return true;
    const below: unknown[] = [];
    for (const item of level) {
      if (typeof item !== 'object' || item === null) continue;
      for (const child of Object.values(item))
        if (typeof child === 'object' && child !== null) below.push(child);
    }
    level = below;
  }
  return false;
}
