import { describe, expect, test } from 'vitest';
import { celOf, MAX_EXPRESSION_LENGTH, parseExpression } from './cel.ts';

const VOCABULARY = { claims: 'any', unix: ['uid', 'groups'] } as const;
const BINDINGS = {
  claims: celOf({
    repository: 'acme/shop',
    n: 5,
    half: 0.5,
    list: ['x', { deep: true }],
    'a-b': 'dash',
    nothing: null,
  }),
  unix: celOf({ uid: 1000, groups: [4, 24] }),
};

/** The value of an expression, or why it has none. */
function value(text: string): unknown {
  const parsed = parseExpression(text, VOCABULARY);
  if (!parsed.ok) return `refused: ${parsed.reason}`;
  const result = parsed.expression.value(BINDINGS);
  return result.ok ? result.value : `no value: ${result.reason}`;
}

describe('an expression', () => {
  test.each<[string, unknown]>([
    ["claims.repository.split('/')[1]", 'shop'],
    ["claims['a-b'].upperAscii()", 'DASH'],
    ['unix.uid == 1000 && 4 in unix.groups', true],
    ['unix.uid + 1', 1001],
    ['claims.half', 0.5],
    ['claims.list', ['x', { deep: true }]],
    ["{'n': claims.n, 'id': unix.uid}", { n: 5, id: 1000 }],
    ['claims.nothing == null', true],
    ['has(claims.absent)', false],
    ["claims.absent == 'x' || unix.uid == 1000", true],
    ["claims.list.exists(i, i == 'x')", true],
    ['9223372036854775807', '9223372036854775807'],
  ])('%s has a value', (text, expected) => {
    expect(value(text)).toEqual(expected);
  });

  test.each<[string, RegExp]>([
    ["claims.absent == 'x'", /no value: /],
    ['claims.nothing', /no value: its value is neither/],
    ['{1: 2}', /no value: its value is neither/],
    ['1 / 0', /no value: /],
    ['claims.list[7]', /no value: /],
    ['unix.gid', /refused: "unix.gid" is not known here: use unix.uid, unix.groups/],
    ['request.path', /refused: "request" is not known here: use claims, unix/],
    ['claims.list.exists(i, request.path == i)', /refused: "request" is not known/],
    ['toString()', /refused: there is no function "toString"/],
    ['constructor', /refused: "constructor" is not known/],
    ['google.protobuf.Struct{}', /refused: /],
    ["'x'.matches('(?=x)')", /refused: .* is not an RE2 pattern/],
    ['claims.', /refused: /],
    ['', /refused: /],
    [`${'('.repeat(33)}true${')'.repeat(33)}`, /refused: it nests deeper/],
    [`"${'x'.repeat(MAX_EXPRESSION_LENGTH)}"`, /refused: it is longer/],
    [
      'claims.list.all(a, claims.list.all(b, claims.list.all(c, true)))',
      /refused: it nests more than 2 loops/,
    ],
  ])('%s has none', (text, expected) => {
    expect(value(text)).toMatch(expected);
  });

  test('says which attributes it reads, in the order of its text', () => {
    const parsed = parseExpression("unix.uid == 1 || claims.a == 'x' || claims.b.c == unix.uid", VOCABULARY);
    expect(parsed.ok && parsed.expression.names).toEqual(['unix.uid', 'claims.a', 'claims.b']);
  });

  test('is true only for true', () => {
    const test = (text: string) => {
      const parsed = parseExpression(text, VOCABULARY);
      return parsed.ok ? parsed.expression.test(BINDINGS) : 'refused';
    };
    expect(['true', 'false', '1', '"true"', 'claims.absent'].map(test)).toEqual([
      true,
      false,
      undefined,
      undefined,
      undefined,
    ]);
  });

  test('data with a key "__proto__" stays data', () => {
    const hostile: unknown = JSON.parse('{"__proto__": {"admin": true}}');
    const parsed = parseExpression('claims', VOCABULARY);
    const result = parsed.ok ? parsed.expression.value({ claims: celOf(hostile) }) : undefined;
    const found = result?.ok === true ? result.value : undefined;
    expect(Object.keys(found as object)).toEqual(['__proto__']);
    expect((found as { admin?: boolean }).admin).toBeUndefined();
  });
});
