import { describe, expect, test } from 'vitest';
import { celOf, parseExpression } from './cel.ts';
import { MAX_EXPRESSION_WORK, meter, workFault } from './cel-meter.ts';

const LIST = Array.from({ length: 1024 }, (_, i) => `item-${i}`);
const CLAIMS = { list: LIST, long: 'x'.repeat(16_384), dots: '.'.repeat(4000), x: 'x', ids: [1, 2, 3] };

/** The value of an expression or why it has none, and what it cost. */
function run(text: string, claims: object = CLAIMS): { value: unknown; spent: number } {
  const parsed = parseExpression(text, { claims: 'any' });
  if (!parsed.ok) throw new Error(parsed.reason);
  const result = parsed.expression.value({ claims: celOf(claims) });
  return { value: result.ok ? result.value : result.reason, spent: meter.spent };
}

describe('an expression that would work long', () => {
  test.each([
    'claims.list.all(a, claims.list.all(b, true))',
    "claims.list.exists(a, claims.list.exists(b, a + b == ''))",
    'claims.list.map(a, claims.list.map(b, b))',
    'claims.list.filter(a, !claims.list.exists_one(b, b == a + a)).size() == 0',
    "claims.dots.split('').all(a, claims.dots.split('').all(b, a == b))",
    "claims.list.all(a, claims.long.replace('x', 'yy') != a)",
    "claims.list.all(a, claims.long.contains(a + 'z') == false)",
    "claims.list.all(a, '%s%s'.format([claims.long, claims.long]) != a)",
    'claims.list.all(a, claims.list != [a])',
    "claims.long.matches('(x{30}){30}y')",
    "claims.list.all(a, !a.matches('^(a{50}){20}$'))",
  ])('%s ends', (text) => {
    const { value, spent } = run(text);
    expect(value).toBe(workFault);
    expect(spent).toBeLessThanOrEqual(MAX_EXPRESSION_WORK + 1);
  });

  test.each([
    ['compared', `[[1]]${'.map(l, [l, l])'.repeat(100)}.map(l, l == l)`],
    ['given back', `[[1]]${'.map(l, [l, l, l, l, l, l, l, l, l, l, l, l])'.repeat(6)}`],
  ])('ends where lists in lists that are one list are %s', (_, text) => {
    expect(run(text).value).toBe(workFault);
  });

  test('looks at no more elements than it may', () => {
    let looked = 0;
    const counted = new Proxy(LIST, {
      get(list, key) {
        if (typeof key === 'string' && /^\d+$/.test(key)) looked++;
        return Reflect.get(list, key) as unknown;
      },
    });
    const parsed = parseExpression('claims.list.all(a, claims.list.all(b, true))', { claims: 'any' });
    const bindings = { claims: new Map([['list', counted]]) };
    expect(parsed.ok && parsed.expression.test(bindings)).toBe(undefined);
    expect(looked).toBeGreaterThan(1000);
    expect(looked).toBeLessThan(3 * MAX_EXPRESSION_WORK);
  });

  test.each([
    ['operators', Array.from({ length: 640 }, () => 'true').join('&&')],
    ['a list', `[${Array.from({ length: 1800 }, () => 1).join()}][0] == 1`],
    ['a map', `{${Array.from({ length: 640 }, (_, i) => `${i}:1`).join()}}[0] == 1`],
  ])('takes fewer turns the more %s each of them holds', (_, body) => {
    let looked = 0;
    const counted = new Proxy(LIST, {
      get(list, key) {
        if (typeof key === 'string' && /^\d+$/.test(key)) looked++;
        return Reflect.get(list, key) as unknown;
      },
    });
    const parsed = parseExpression(`claims.list.all(a, claims.list.all(b, ${body}))`, { claims: 'any' });
    const bindings = { claims: new Map([['list', counted]]) };
    expect(parsed.ok && parsed.expression.test(bindings)).toBe(undefined);
    expect(looked).toBeGreaterThan(100);
    expect(looked).toBeLessThan((3 * MAX_EXPRESSION_WORK) / (640 / 16));
  });

  test('is no condition that holds, though what it has seen so far holds', () => {
    const parsed = parseExpression('claims.list.all(a, claims.list.all(b, true)) || true', { claims: 'any' });
    const bindings = { claims: celOf(CLAIMS) };
    expect(parsed.ok && parsed.expression.test(bindings)).toBe(undefined);
    const negated = parseExpression('!claims.list.exists(a, claims.list.exists(b, false))', {
      claims: 'any',
    });
    expect(negated.ok && negated.expression.test(bindings)).toBe(undefined);
  });

  test('does not count against the next one', () => {
    run('claims.list.all(a, claims.list.all(b, true))');
    expect(run("claims.x == 'x'").value).toBe(true);
  });
});

describe('an expression that doubles what it has', () => {
  test.each([
    ['text', `[claims.x]${'.map(a, a + a)'.repeat(200)}`],
    ['bytes', `[b'x']${'.map(a, a + a)'.repeat(200)}.map(a, a.size())`],
    ['lists', `[[1]]${'.map(a, a + a)'.repeat(200)}.map(a, a.size())`],
    ['formatted text', `[claims.x]${".map(a, '%s%s'.format([a, a]))".repeat(100)}`],
  ])('of %s has no value', (_, text) => {
    expect(run(text).value).toMatch(/larger than 65536|more than 50000 steps/);
  });
});

describe('what rules are written for fits many times', () => {
  test.each<[string, unknown]>([
    ["claims.list.exists(a, a == 'item-1023')", true],
    ["claims.list.map(a, a + '!').size()", 1024],
    ["'item-1023' in claims.list", true],
    ['claims.ids.all(a, claims.ids.exists(b, a == b))', true],
    ["'0b50e6f4-7c1e-4b3a-9c55-0e9a3c0d4b11'.matches('^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$')", true],
    ["'spiffe://example.org/ns/shop/sa/web'.matches('^spiffe://[a-z.]+/ns/[^/]+/sa/[^/]+$')", true],
    ['claims.long.size()', 16_384],
  ])('%s', (text, expected) => {
    const { value, spent } = run(text);
    expect(value).toEqual(expected);
    expect(spent).toBeLessThan(MAX_EXPRESSION_WORK);
  });

  test('65,536 groups, looked through twice', () => {
    const groups = Array.from({ length: 65_536 }, (_, i) => i);
    expect(run('65535 in claims.groups && !(70000 in claims.groups)', { groups }).value).toBe(true);
  });
});

test('a text cannot call what counts', () => {
  expect(parseExpression('spend()', {})).toMatchObject({ ok: false });
  expect(parseExpression('@spend()', {})).toMatchObject({ ok: false });
});
