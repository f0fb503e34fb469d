import type { PathTemplate } from '../policy/index.ts';

/** Pieces that one subtraction or partition may come to; beyond it the caller has to do without. */
export const MAX_PIECES = 2000;

/** One segment: a literal (empty only as the last), or any that is not empty and none of the listed. */
export type Segment = { readonly literal: string } | { readonly not: readonly string[] };

/** Paths in normal form: by their segments, and with `rest` a further slash and anything after it. */
export interface PathSet {
  readonly segments: readonly Segment[];
  readonly rest: boolean;
}

const ANY: Segment = { not: [] };
const EMPTY: Segment = { literal: '' };

/** Every path that starts with a slash. */
export const ALL_PATHS: PathSet = { segments: [], rest: true };

/** The paths that a template covers. */
export function pathSetOf({ segments, rest }: PathTemplate): PathSet {
  return { segments: segments.map((s): Segment => (s === undefined ? ANY : { literal: s })), rest };
}

/** The paths in both, or undefined where there are none. */
export function intersectPaths(a: PathSet, b: PathSet): PathSet | undefined {
  const [short, long] = a.segments.length <= b.segments.length ? [a, b] : [b, a];
  const same = a.segments.length === b.segments.length;
  // A path of `rest` has more segments than are written.
  if (same ? a.rest !== b.rest : !short.rest) return undefined;
  const segments: Segment[] = [];
  for (const [i, segment] of long.segments.entries()) {
    const other = short.segments[i];
    const both = other === undefined ? segment : intersectSegments(segment, other);
    if (both === undefined) return undefined;
    segments.push(both);
  }
  return { segments, rest: long.rest };
}

/** The paths of `a` that are not in `b`, as sets without common paths; undefined beyond {@link MAX_PIECES}. */
export function subtractPaths(a: PathSet, b: PathSet): PathSet[] | undefined {
  if (intersectPaths(a, b) === undefined) return [a];
  if (a.rest && b.segments.length > a.segments.length) {
    const pieces: PathSet[] = [];
    for (const piece of unrolled(a)) {
      const rest = subtractPaths(piece, b);
      if (rest === undefined || pieces.length + rest.length > MAX_PIECES) return undefined;
      pieces.push(...rest);
    }
    return pieces;
  }
  const pieces: PathSet[] = [];
  const before: Segment[] = [];
  for (const [i, other] of b.segments.entries()) {
    // The two have paths in common: `a` has that many segments, and each meets its counterpart.
    const own = a.segments[i] as Segment;
    const after = a.segments.slice(i + 1);
    for (const left of subtractSegments(own, other))
      pieces.push({ segments: [...before, left, ...after], rest: a.rest });
    before.push(intersectSegments(own, other) as Segment);
    if (pieces.length > MAX_PIECES) return undefined;
  }
  return pieces;
}

/** A piece of a partition, with the tags of all the sets that hold it. */
export interface Piece<T> {
  readonly paths: PathSet;
  readonly tags: readonly T[];
}

/** Cuts overlapping sets into sets without common paths; undefined beyond {@link MAX_PIECES}. */
export function partitionPaths<T>(
  sets: readonly { readonly paths: PathSet; readonly tag: T }[],
): Piece<T>[] | undefined {
  let pieces: Piece<T>[] = [];
  for (const { paths, tag } of sets) {
    const next: Piece<T>[] = [];
    let left: PathSet[] | undefined = [paths];
    for (const piece of pieces) {
      const both = intersectPaths(piece.paths, paths);
      if (both === undefined) {
        next.push(piece);
        continue;
      }
      const others = subtractPaths(piece.paths, paths);
      left = subtractAll(left, piece.paths);
      if (others === undefined || left === undefined) return undefined;
      next.push({ paths: both, tags: [...piece.tags, tag] });
      for (const one of others) next.push({ paths: one, tags: piece.tags });
    }
    for (const one of left) next.push({ paths: one, tags: [tag] });
    if (next.length > MAX_PIECES) return undefined;
    pieces = next;
  }
  return pieces;
}

function subtractAll(sets: readonly PathSet[], taken: PathSet): PathSet[] | undefined {
  const all: PathSet[] = [];
  for (const set of sets) {
    const left = subtractPaths(set, taken);
    if (left === undefined || all.length + left.length > MAX_PIECES) return undefined;
    all.push(...left);
  }
  return all;
}

/** The same paths, where there is a rest, with one segment of it written out. */
export function unrolled({ segments }: PathSet): PathSet[] {
  return [
    { segments: [...segments, EMPTY], rest: false },
    { segments: [...segments, ANY], rest: false },
    { segments: [...segments, ANY], rest: true },
  ];
}

function intersectSegments(a: Segment, b: Segment): Segment | undefined {
  if ('literal' in a) return holds(b, a.literal) ? a : undefined;
  if ('literal' in b) return holds(a, b.literal) ? b : undefined;
  return { not: [...new Set([...a.not, ...b.not])].toSorted() };
}

function subtractSegments(a: Segment, b: Segment): Segment[] {
  if ('literal' in a) return holds(b, a.literal) ? [] : [a];
  if ('literal' in b)
    return b.literal === '' ? [a] : [{ not: [...new Set([...a.not, b.literal])].toSorted() }];
  return b.not.filter((text) => !a.not.includes(text)).map((literal) => ({ literal }));
}

function holds(segment: Segment, text: string): boolean {
  return 'literal' in segment ? segment.literal === text : text !== '' && !segment.not.includes(text);
}

/** Whether a path in normal form is one of the set. */
export function hasPath({ segments, rest }: PathSet, path: string): boolean {
  const parts = path.slice(1).split('/');
  if (rest ? parts.length <= segments.length : parts.length !== segments.length) return false;
  return segments.every((segment, i) => holds(segment, parts[i] as string));
}
