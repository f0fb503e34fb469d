import { describe, expect, test } from 'vitest';
import { parseExpression } from './cel.ts';

function valueOf(text: string, x: string) {
  const parsed = parseExpression(text, { k: 'any' });
  if (!parsed.ok) throw new Error(parsed.reason);
  return parsed.expression.value({ k: new Map([['x', x]]) });
}

describe('the growing functions of strings', () => {
  test.each([
    ['k.x.replace("a", "bb")', 'a-a', 'bb-bb'],
    ['k.x.replace("a", "aa", 1)', 'a-a', 'aa-a'],
    ['k.x.replace("aa", "b")', 'aaaaa', 'bba'],
    ['k.x.replace("", "_")', 'abc', '_a_b_c'],
    ['k.x.replace("none", "_")', 'abc', 'abc'],
    ['k.x.split("/")', 'a/b', ['a', 'b']],
    ['k.x.split("/", 1)', 'a/b', ['a/b']],
    ['k.x.split("/").join("-")', 'a/b', 'a-b'],
    ['k.x.split("/").join()', '/a/b', 'ab'],
  ])('%s does what it says', (expression, x, value) => {
    expect(valueOf(expression, x)).toEqual({ ok: true, value });
  });

  // Each of these doubled a text twenty times and more, and took minutes: an operator's rule stopped every agent.
  test.each([
    `k.x${'.replace("a", "aa")'.repeat(100)}`,
    `k.x${'.replace("", "aa")'.repeat(100)}`,
    `k.x${'.split("").join("aa")'.repeat(100)}`,
  ])('%.30s... in a long chain has no answer, instead of taking all memory', (expression) => {
    const value = valueOf(expression, 'aa"\\');
    expect(value.ok ? '' : value.reason).toMatch(/longer than 65536|more than 4096/);
  });
});
