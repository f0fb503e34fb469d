import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  hasPath,
  intersectPaths,
  type PathSet,
  partitionPaths,
  type Segment,
  subtractPaths,
} from './path-sets.ts';

const word = fc.constantFrom('a', 'b', 'c');
const segment: fc.Arbitrary<Segment> = fc.oneof(
  word.map((literal) => ({ literal })),
  fc.uniqueArray(word, { maxLength: 2 }).map((not) => ({ not: not.toSorted() })),
);
const pathSet: fc.Arbitrary<PathSet> = fc
  .tuple(fc.array(segment, { maxLength: 3 }), fc.constantFrom('rest', 'slash', 'end'))
  .map(([segments, end]) => ({
    segments:
      end === 'slash' || (end === 'end' && segments.length === 0) ? [...segments, { literal: '' }] : segments,
    rest: end === 'rest',
  }));
const path = fc
  .tuple(fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 4 }), fc.boolean())
  .map(([parts, slash]) => `/${parts.join('/')}${slash && parts.length > 0 ? '/' : ''}`);

describe('sets of paths', () => {
  test('an intersection has the paths of both', () => {
    fc.assert(
      fc.property(pathSet, pathSet, path, (a, b, p) => {
        const both = intersectPaths(a, b);
        expect(both !== undefined && hasPath(both, p)).toBe(hasPath(a, p) && hasPath(b, p));
      }),
      { numRuns: 2000 },
    );
  });

  test('a difference has the paths of the one that are not in the other, each once', () => {
    fc.assert(
      fc.property(pathSet, pathSet, path, (a, b, p) => {
        const pieces = subtractPaths(a, b) ?? [];
        expect(pieces.filter((piece) => hasPath(piece, p)).length).toBe(
          hasPath(a, p) && !hasPath(b, p) ? 1 : 0,
        );
      }),
      { numRuns: 2000 },
    );
  });

  test('a partition has every path once, with the tags of all sets that hold it', () => {
    fc.assert(
      fc.property(fc.array(pathSet, { maxLength: 5 }), path, (sets, p) => {
        const pieces = partitionPaths(sets.map((paths, tag) => ({ paths, tag }))) ?? [];
        const found = pieces.filter(({ paths }) => hasPath(paths, p));
        const tags = sets.flatMap((paths, tag) => (hasPath(paths, p) ? [tag] : []));
        expect(found.length).toBe(tags.length === 0 ? 0 : 1);
        expect(found.flatMap((piece) => piece.tags)).toEqual(tags);
      }),
      { numRuns: 2000 },
    );
  });
});
