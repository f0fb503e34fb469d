import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { normalizePath } from '../policy/index.ts';
import { rawPathPattern, targetPattern } from './path-pattern.ts';
import { hasPath, type PathSet, type Segment } from './path-sets.ts';

const word = fc.constantFrom('a', 'ab', 'b.c', 'x+', '..a', '...');
const segment: fc.Arbitrary<Segment> = fc.oneof(
  word.map((literal) => ({ literal })),
  fc.uniqueArray(word, { maxLength: 2 }).map((not) => ({ not: not.toSorted() })),
);
const pathSet: fc.Arbitrary<PathSet> = fc.record({
  segments: fc.array(segment, { minLength: 1, maxLength: 3 }),
  rest: fc.boolean(),
});
const sent = fc
  .array(
    fc.constantFrom(
      'a',
      'ab',
      'abc',
      'b.c',
      'bxc',
      'x+',
      'xx',
      '..a',
      '...',
      '.',
      '..',
      '',
      '%20',
      '%41',
      '%2f',
      '%00',
      '%7f',
      '"',
      'é',
      '-',
    ),
    {
      minLength: 1,
      maxLength: 4,
    },
  )
  .map((parts) => `/${parts.join('/')}`);

describe('patterns of paths', () => {
  test('as they are sent, match the paths of the set that are in normal form, and no others', () => {
    let matched = 0;
    fc.assert(
      fc.property(pathSet, sent, (set, path) => {
        const normal = normalizePath(path);
        const wanted = normal.ok && normal.path === path && hasPath(set, path);
        const pattern = rawPathPattern(set);
        if (pattern === undefined) throw new Error('the words hold no escapes');
        expect(new RegExp(pattern).test(path), `${pattern} ${path}`).toBe(wanted);
        if (wanted) matched++;
      }),
      { numRuns: 5000 },
    );
    expect(matched).toBeGreaterThan(50);
  });

  test('after normalising, match the paths of the set with any query', () => {
    const literals = pathSet.filter(({ segments }) =>
      segments.every((s) => 'literal' in s || s.not.length === 0),
    );
    fc.assert(
      fc.property(literals, sent, fc.constantFrom('', '?', '?x=/a/b&y=%20'), (set, path, query) => {
        const normal = normalizePath(path);
        const { text } = targetPattern(set, false) ?? { text: '' };
        const target = normal.ok ? normal.path : path.replace(/%2f/g, '');
        // "." and ".." and "//" do not come out of normalising; anything else unsafe must not match.
        if (!normal.ok && /\/(\.{1,2})?(\/|$)/.test(target)) return;
        expect(new RegExp(`^(?:${text})$`).test(target + query)).toBe(normal.ok && hasPath(set, normal.path));
      }),
      { numRuns: 5000 },
    );
  });

  test('write no operators of classes that Rust would read', () => {
    fc.assert(
      fc.property(pathSet, (set) => {
        expect(rawPathPattern(set)).not.toMatch(/--|&&|~~/);
      }),
    );
  });

  test('the plain form matches only what the full form does', () => {
    const set: PathSet = { segments: [{ literal: 'a' }, { not: [] }], rest: true };
    const of = (plain: boolean) => new RegExp(`^(?:${targetPattern(set, plain)?.text})$`);
    const one = fc
      .array(fc.constantFrom(...'azAZ09-._~:@!%20/+"é'), { maxLength: 6 })
      .map((chars) => `/a/${chars.join('')}`);
    const more = fc.sample(one, 3000).filter((path) => of(true).test(path) && !of(false).test(path));
    expect(more).toEqual([]);
  });
});
