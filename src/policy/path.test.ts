import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isCleanPath, normalizePath } from './path.ts';

const parts = fc.constantFrom(
  'a',
  'b',
  '/',
  '//',
  '.',
  '..',
  '%2e',
  '%2E',
  '\\',
  '%61',
  '%41',
  '%3A',
  '%7E',
  '?',
  '%',
  '%2f',
  '*',
  '~',
  '[',
  '{',
  'é',
  ';',
);
const rawPath = fc.array(parts, { maxLength: 12 }).map((list) => `/${list.join('')}`);

describe('normalizePath', () => {
  test('gives a path that it leaves alone', () => {
    let normal = 0;
    fc.assert(
      fc.property(rawPath, (raw) => {
        const result = normalizePath(raw);
        if (!result.ok) return;
        normal++;
        if (isCleanPath(raw)) expect(result.path).toBe(raw);
        expect(normalizePath(result.path)).toEqual(result);
      }),
      { numRuns: 2000 },
    );
    expect(normal).toBeGreaterThan(200);
  });

  test('agrees with the URL standard where the standard does the same: dots, backslashes', () => {
    const piece = fc.constantFrom('a', 'b', '.', '..', '%2e', '.%2E', '...', '.a');
    const slash = fc.constantFrom('/', '\\');
    fc.assert(
      fc.property(
        fc.array(fc.tuple(slash, piece), { minLength: 1, maxLength: 8 }),
        fc.constantFrom('', '/'),
        (list, end) => {
          const raw = `/${list.map(([s, p], i) => (i === 0 ? p : s + p)).join('')}${end}`;
          expect(normalizePath(raw)).toEqual({ ok: true, path: new URL(raw, 'http://h').pathname });
        },
      ),
      { numRuns: 1000 },
    );
  });

  test('returns a clean path itself', () => {
    for (const path of ['/', '/a', '/a/b.c/d', '/a/', "/!$&'()*+,;=:@-_~[]"]) {
      expect(normalizePath(path)).toEqual({ ok: true, path });
      expect(isCleanPath(path)).toBe(true);
    }
  });

  test('says why a path is not safe', () => {
    const reasonOf = (raw: string) => {
      const result = normalizePath(raw);
      return result.ok ? '' : result.reason;
    };
    expect(reasonOf('/a%2Fb')).toBe('it holds an escaped slash "%2F"');
    expect(reasonOf('/a\u0000')).toBe('it holds a control character');
    expect(reasonOf('/a%7f')).toBe('it holds an escaped control character');
    for (const raw of ['/..;/a', '/a/.;x', '/a/..;b=c/d', '/%2e%2E;/a', '/\\..;']) {
      expect(reasonOf(raw)).toBe('it holds a dot segment with parameters');
    }
    for (const raw of ['//', '/\\', '/a/..//', '///']) {
      expect(reasonOf(raw)).toBe('it is slashes only, which Envoy does not merge');
    }
    expect(reasonOf('')).toBe('it does not start with "/"');
    expect(reasonOf(`/${'a'.repeat(9000)}`)).toBe('it is longer than 8192 characters');
  });
});
