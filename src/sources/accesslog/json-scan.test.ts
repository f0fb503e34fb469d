import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Spans } from './spans.ts';
import { JsonScan } from './json-scan.ts';
import { MAX_DEPTH } from '../source.ts';

const KEYS = ['path', 'method', 'a', '', 'start_time', 'wert-ü', 'quote"d', '__proto__', 'k'.repeat(80)];

function scanner() {
  const spans = new Spans(KEYS.length);
  const scan = new JsonScan(new Map(KEYS.map((key, slot) => [key, slot])), spans);
  return (text: string | Buffer) => {
    spans.load(typeof text === 'string' ? Buffer.from(text) : text);
    const result = scan.scan();
    return { result, odd: spans.odd, values: KEYS.map((_, slot) => valueIn(spans, slot)) };
  };
}

function valueIn(spans: Spans, slot: number): string | null | undefined {
  return spans.isEmpty(slot) ? null : spans.text(slot);
}

/** What the scanner is to give for a key of an object that JSON.parse made. */
function expected(object: Record<string, unknown>, key: string): string | null | undefined {
  if (!Object.hasOwn(object, key)) return undefined;
  const value = object[key];
  if (typeof value === 'string') return value === '' || value === '-' ? null : value;
  return typeof value === 'number' ? expect.any(String) : null;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom('-', '', '\u0000', '\ud800', 'a"b\\c', '\u2028', 'GET', '#"', '"#'),
);
const member = fc.tuple(
  fc.oneof(fc.constantFrom(...KEYS), anyText),
  fc.oneof(
    anyText,
    fc.jsonValue({ maxDepth: 3 }),
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
  ),
);
/** Members as a text, in which keys may come twice, escapes may stand for any character, and space is anywhere. */
const objectText = fc
  .tuple(fc.array(member, { maxLength: 12 }), fc.constantFrom('', ' ', '\t\r\n '), fc.boolean())
  .map(([members, space, escaped]) => {
    const write = (value: unknown) => {
      const text = JSON.stringify(value);
      if (!escaped || typeof value !== 'string') return text;
      const units = Array.from({ length: value.length }, (_, i) => value.charCodeAt(i));
      return `"${units.map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`).join('')}"`;
    };
    const inside = members.map(
      ([key, value]) => `${space}${write(key)}${space}:${space}${write(value)}${space}`,
    );
    return `${space}{${inside.join(',')}${members.length === 0 ? space : ''}}${space}`;
  });

describe('the JSON scanner', () => {
  test('gives for every wanted key what JSON.parse gives, in line after line', () => {
    const scan = scanner();
    fc.assert(
      fc.property(objectText, (text) => {
        const object = JSON.parse(text) as Record<string, unknown>;
        const { result, values } = scan(text);
        expect(result).toBe('scanned');
        expect(values).toEqual(KEYS.map((key) => expected(object, key)));
      }),
      { numRuns: 1000 },
    );
  });

  test('refuses what JSON.parse refuses, and takes what it takes: objects with a byte changed', () => {
    const scan = scanner();
    const bytes = fc.constantFrom(...'{}[]",:\\0123456789.eE+-tfnul \t\n\r\u0000\u001fax/');
    fc.assert(
      fc.property(objectText, fc.nat(), bytes, fc.constantFrom(0, 1), (text, at, byte, removed) => {
        const i = at % (text.length + 1);
        const changed = `${text.slice(0, i)}${byte}${text.slice(i + removed)}`.toWellFormed();
        const value = parsed(changed);
        const { result, values } = scan(changed);
        expect(result).toBe(isObject(value) ? 'scanned' : 'broken');
        if (isObject(value)) expect(values).toEqual(KEYS.map((key) => expected(value, key)));
      }),
      { numRuns: 3000 },
    );
  });

  test('takes bytes that are no UTF-8 for what a decoder makes of them', () => {
    const scan = scanner();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12 }), (inside) => {
        const line = Buffer.concat([Buffer.from('{"path":"'), inside, Buffer.from('"}')]);
        const value = parsed(line.toString('utf8'));
        const { result, values } = scan(line);
        expect(result).toBe(isObject(value) ? 'scanned' : 'broken');
        if (isObject(value)) expect(values[0]).toEqual(expected(value, 'path'));
      }),
      { numRuns: 1000 },
    );
  });

  test.each([
    '',
    ' ',
    '{',
    '}',
    '{}x',
    '{} {}',
    '[]',
    '"a"',
    '1',
    'null',
    '{"a"}',
    '{"a":}',
    '{"a":1,}',
    '{,}',
    '{a:1}',
    "{'a':1}",
    '{"a":01}',
    '{"a":-}',
    '{"a":+1}',
    '{"a":1.}',
    '{"a":.5}',
    '{"a":1e}',
    '{"a":1e+}',
    '{"a":nul}',
    '{"a":nulll}',
    '{"a":True}',
    '{"a":NaN}',
    '{"a":"\t"}',
    '{"a":"\\x"}',
    '{"a":"\\u12"}',
    '{"a":"\\u12g4"}',
    '{"a":"b}',
    '{"a":"b\\"}',
    '{"a":[1,]}',
    '{"a":[1 2]}',
    '{"a":{"b"}}',
    '{"a":{"b":1,}}',
    '{"a":[}',
    '{"a":1 "b":2}',
    '\u00a0{}',
    '{"a":1}\u0000',
  ])('refuses %j', (text) => {
    expect(parsed(text) === undefined || !isObject(parsed(text))).toBe(true);
    expect(scanner()(text).result).toBe('broken');
  });

  test('the last of equal keys wins, also when it is null or escaped', () => {
    expect(scanner()('{"path":"/a","p\\u0061th":"/b"}').values[0]).toBe('/b');
    expect(scanner()('{"path":"/a","path":null}').values[0]).toBe(null);
    expect(scanner()('{"path":null,"path":"/a"}').values[0]).toBe('/a');
  });

  test('reads to the depth that is allowed, and says when it is deeper', () => {
    const nested = (depth: number) => `{"x":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)},"path":"/a"}`;
    expect(scanner()(nested(MAX_DEPTH)).result).toBe('scanned');
    expect(scanner()(nested(MAX_DEPTH + 1)).result).toBe('too deep');
    expect(scanner()(nested(10_000)).result).toBe('too deep');
  });

  test('a wanted value that is no text and no number is noticed', () => {
    const scan = scanner();
    for (const value of ['true', 'false', '{}', '[]']) expect(scan(`{"path":${value}}`).odd).toBe(true);
    expect(scan('{"path":"/a","other":true}').odd).toBe(false);
  });

  test('more keys than it remembers do not confuse it', () => {
    const scan = scanner();
    for (let i = 0; i < 500; i++) {
      const many = Array.from({ length: 100 }, (_, n) => `"${i}-${n}":"x"`).join(',');
      expect(scan(`{${many},"path":"/${i}"}`).values[0]).toBe(`/${i}`);
      expect(scan(`{"path":"/${i}",${many}}`).values[0]).toBe(`/${i}`);
    }
  });

  test('a long line is read, and its buffer given up again', () => {
    const scan = scanner();
    expect(scan(`{"path":"/${'a'.repeat(10_000_000)}","method":"GET"}`).values[1]).toBe('GET');
    expect(scan('{"path":"/b"}').values[0]).toBe('/b');
  });
});
