const LAST_PORT = 65_535;

/** Ports from `first` to `last`, both included. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/**
 * The ports of some of the named ones and, with `others`, all that are not named, as few ranges. `named` is
 * ascending. Undefined where that is every port.
 */
export function portRanges(
  named: readonly number[],
  included: ReadonlySet<number>,
  others: boolean,
): PortRange[] | undefined {
  if (others && named.every((port) => included.has(port))) return undefined;
  if (!others) return named.filter((port) => included.has(port)).map((port) => ({ first: port, last: port }));
  const ranges: PortRange[] = [];
  let first = 1;
  for (const port of named) {
    if (included.has(port)) continue;
    if (port > first) ranges.push({ first, last: port - 1 });
    first = port + 1;
  }
  if (first <= LAST_PORT) ranges.push({ first, last: LAST_PORT });
  return ranges;
}
