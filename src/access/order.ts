/** Texts by their code units, which is the same order everywhere. */
export const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Entries of a map by their keys. */
export const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number =>
  order(a, b);
