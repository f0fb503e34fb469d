import { announcesKey, isPlural, isPrefixWord, routeWord } from './lexicon.ts';
import { valueLikeness } from './shapes.ts';

/** Where in a path a set of sibling segments stands. */
export interface Position {
  /** The literal just before, undefined at the start of a path and after a parameter. */
  readonly previous: string | undefined;
  readonly afterParameter: boolean;
  /** Whether a literal further up has a capital: then a capital says nothing here. */
  readonly capitals: boolean;
  /** What the parameter just before stands for, where it stands for words. */
  readonly above: ReadonlySet<string> | undefined;
}

/** Sibling segments that lead on to the same continuations, and what else speaks for or against one parameter. */
export interface Siblings {
  readonly names: readonly string[];
  /** How many of the names were seen in one call only. */
  readonly seenOnce: number;
  /** Share of route words among all literals at the position; the usual few operations do not count. */
  readonly routeShare: number;
  /** Literal continuations that a quarter of the names have in common. */
  readonly sharedContinuations: number;
  /** Share of the names that are values at the position just before, just after, or anywhere else. */
  readonly repeated: number;
  /** Whether words were found to be values at this position before. */
  readonly known: boolean;
}

/** Fewest names that can become a parameter by their number; with a parameter known there, fewer. */
export const FEWEST_NAMES = 3;
/**
 * The same for names that could just as well be routes (of an API in another language than the vocabulary's, say),
 * where nothing but their number speaks for values: after the name of a collection, and elsewhere.
 */
const FEWEST_PLAIN_NAMES = { collection: 8, elsewhere: 16 };
/**
 * The weight of evidence, see {@link weigh}, from which sibling names are one parameter. It errs towards literals:
 * a parameter that was missed is one more rule to read, a wrong one is a rule wider than what was observed.
 * `bench/templates.ts` shows what it finds and misses.
 */
export const ENOUGH = 5;

/**
 * How strongly sibling names speak for being values of one parameter (about: powers of two). Many names, names
 * that routes do not use, an announcing literal before them, names that come once, continuations in common and
 * the same names at other positions speak for it; the vocabulary of APIs, plurals, and the place where
 * collections are named speak against it.
 */
export function weigh(siblings: Siblings, position: Position): number {
  const { names } = siblings;
  const k = names.length;
  if (k === 0) return 0;
  const size = Math.log2(k);
  let likeness = 0;
  let plurals = 0;
  for (const name of names) {
    likeness += valueLikeness(name, position.capitals);
    if (isPlural(name)) plurals++;
  }
  const plain = likeness * 4 < k && siblings.sharedContinuations === 0 && siblings.repeated < 0.3;
  const place = placeWeight(position);
  const fewest = place > 0 ? FEWEST_PLAIN_NAMES.collection : FEWEST_PLAIN_NAMES.elsewhere;
  if (plain && k < fewest && !announces(position)) return 0;
  return (
    size +
    (size / 2) * Math.max(0, 1 - 5 * siblings.routeShare) +
    (k > 32 ? 1.5 * (size - 5) : 0) +
    (4 * likeness) / k -
    (2 * plurals) / k -
    5 * siblings.routeShare +
    (k >= 6 ? (2 * siblings.seenOnce) / k : 0) +
    Math.min(3, siblings.sharedContinuations) +
    (siblings.repeated >= 0.3 ? 3 : 0) +
    (siblings.known ? 2 : 0) +
    place
  );
}

function announces({ previous }: Position): boolean {
  return previous !== undefined && announcesKey(previous);
}

function placeWeight(position: Position): number {
  const { previous, afterParameter } = position;
  if (afterParameter) return -1;
  if (previous === undefined || isPrefixWord(previous)) return -3;
  if (announces(position)) return 3;
  return isPlural(previous) || routeWord(previous) === 'noun' ? 1.5 : 0;
}
