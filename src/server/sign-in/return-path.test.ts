import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { returnPath } from './return-path.ts';

test.each(['/', '/workloads', '/workloads?stage=shadow#top', '/a%2Fb', '/.well-known/x'])(
  '%s is a path of ours',
  (path) => {
    expect(returnPath(path)).toBe(path);
  },
);

test.each([
  undefined,
  '',
  'https://evil.example',
  '//evil.example',
  '/\\evil.example',
  '\\/evil.example',
  '/\t/evil.example',
  '/\n/evil.example',
  ' //evil.example',
  '/.//evil.example',
  '/x/..//evil.example',
  'javascript:alert(1)',
  '/'.repeat(3000),
  // Three times as long as an address.
  `/${'ü'.repeat(1500)}`,
])('%j leads nowhere else', (path) => {
  expect(returnPath(path)).toBe('/');
});

test('whatever is asked for, the browser stays here', () => {
  const part = fc.constantFrom(
    '/',
    '\\',
    '.',
    '..',
    '\t',
    '\n',
    '@',
    ':',
    'evil.example',
    '%2f',
    '?',
    '#',
    'x',
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
      const here = 'https://interlock.example.com';
      expect(new URL(returnPath(`/${parts.join('')}`), here).origin).toBe(here);
    }),
  );
});
