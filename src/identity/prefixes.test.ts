import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseSpiffeId } from '../access/index.ts';
import { arePrefixesInside, isInside, isReservedPath, prefixFault } from './prefixes.ts';

const segment = fc.constantFrom('a', 'b', 'ab');
const prefix = fc.array(segment, { minLength: 1, maxLength: 3 }).map((parts) => `/${parts.join('/')}/`);
const prefixes = fc.option(fc.array(prefix, { maxLength: 3 }), { nil: undefined });
const id = fc
  .array(segment, { minLength: 1, maxLength: 5 })
  .map((parts) => parseSpiffeId(`spiffe://example.org/${parts.join('/')}`));

test('what lies inside narrower prefixes lies inside the wider ones', () => {
  let inside = 0;
  fc.assert(
    fc.property(prefixes, prefixes, id, (narrow, wide, spiffeId) => {
      if (!arePrefixesInside(narrow, wide) || !isInside(spiffeId, narrow)) return;
      inside++;
      expect(isInside(spiffeId, wide)).toBe(true);
    }),
    { numRuns: 5000 },
  );
  expect(inside).toBeGreaterThan(100);
});

test('absent prefixes allow every path, an empty list none, and a name that only begins the same is outside', () => {
  const web = parseSpiffeId('spiffe://example.org/area/pay/web');
  expect([isInside(web, undefined), isInside(web, []), isInside(web, ['/area/pay/'])]).toEqual([
    true,
    false,
    true,
  ]);
  expect(isInside(parseSpiffeId('spiffe://example.org/area/payroll'), ['/area/pay/'])).toBe(false);
  expect(isInside(parseSpiffeId('spiffe://example.org/area/pay'), ['/area/pay/'])).toBe(false);
  expect([
    arePrefixesInside(undefined, ['/a/']),
    arePrefixesInside([], ['/a/']),
    arePrefixesInside(undefined, undefined),
  ]).toEqual([false, true, true]);
});

test.each([
  '',
  '/',
  'a/',
  '/a',
  '//',
  '/a//',
  '/../',
  '/a/./',
  '/a b/',
  '/ä/',
  '/interlock/',
  '/interlock/x/',
  '/a/interlock/agent/',
])('%j is no prefix', (text) => {
  expect(prefixFault(text)).toBeDefined();
});

test.each([
  ['/interlock', true],
  ['/interlock/server', true],
  ['/area/pay/interlock/server', true],
  ['/area/pay/interlock/agent/x/y', true],
  ['/interlocking', false],
  ['/ns/interlock/sa/x', false],
  ['/area/interlock/serverless', false],
])('%s is the program own: %s', (path, own) => {
  expect(isReservedPath(path)).toBe(own);
});
