import { describe, expect, test } from 'vitest';
import { member, readJsonObject } from './json.ts';

const about = {
  code: 'invalid_document',
  subject: 'x',
  what: 'the text',
  maxBytes: 100,
  maxDepth: 3,
} as const;

describe('reading outside JSON', () => {
  test('names that every object inherits are no members, and a written one is an own member', () => {
    const read = readJsonObject('{"__proto__":{"admin":true}}', about);
    expect(member(read, 'constructor')).toBeUndefined();
    expect(member(read, 'admin')).toBeUndefined();
    expect(member(read, '__proto__')).toEqual({ admin: true });
  });

  test.each([
    ['{"a":{"b":[1]}}', undefined],
    ['{"a":{"b":[[]]}}', 'the text is nested deeper than 3 levels'],
    ['{"a":"[[[[{{{{\\"[[["}', undefined],
    ['{"a":[],"b":[],"c":[],"d":[]}', undefined],
    [`{"a":"${'x'.repeat(100)}"}`, 'the text is larger than 100 bytes'],
    ['[1]', 'the text is not a JSON object'],
    ['null', 'the text is not a JSON object'],
    ['{"a":1', 'the text is not JSON'],
  ])('%s', (text, refusal) => {
    const read = (): unknown => readJsonObject(text, about);
    if (refusal === undefined) expect(read()).toEqual(JSON.parse(text));
    else expect(read).toThrow(refusal);
  });
});
