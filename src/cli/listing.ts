import { wrap } from './wrap.ts';

/** A cell that is no longer than this is never wrapped while there is another way; characters. */
const COMFORT = 16;
/** Between two columns, and before what stands below the name of its row. */
const GAP = '  ';

export interface ListingOptions {
  /** Columns whose cells end at the same place: numbers. */
  readonly right?: readonly number[];
}

/**
 * The lines of each row of a list of named things; the first row is the heading. What a reader copies (an ID, an
 * address) is never broken: prose is wrapped at its spaces, and where that is not enough the first cells of each row
 * stand above the others. A word that is longer than the room sticks out. `room` is in characters, Infinity for one line a row.
 */
export function listingLines(
  cells: readonly (readonly string[])[],
  room: number,
  { right = [] }: ListingOptions = {},
): string[][] {
  const columns = countOf(cells);
  const part = (from: number, to: number, least: number): Part => {
    const width = room - (from === 0 ? 0 : GAP.length);
    const widths = columnWidths(
      cells.map((row) => row.slice(from, to)),
      width,
      least,
    );
    return { from, to, widths, fits: widthOf(widths) <= width };
  };
  const lines = (row: readonly string[], { from, to, widths }: Part) => {
    const ends = right.map((column) => column - from);
    const indent = from === 0 ? '' : GAP;
    return rowLines(row.slice(from, to), widths, ends).map((line) => indent + line);
  };
  const whole = part(0, columns, COMFORT);
  if (whole.fits || columns < 2) return cells.map((row) => lines(row, whole));
  for (let above = 1; above < columns; above++) {
    const parts = [part(0, above, COMFORT), part(above, columns, COMFORT)];
    if (parts.every(({ fits }) => fits)) return cells.map((row) => parts.flatMap((each) => lines(row, each)));
  }
  const narrow = [part(0, 1, 1), part(1, columns, 1)];
  return cells.map((row) => narrow.flatMap((each) => lines(row, each)));
}

/** Columns that stand beside each other. */
interface Part {
  readonly from: number;
  readonly to: number;
  readonly widths: readonly number[];
  readonly fits: boolean;
}

/** The widths of the columns, the widest narrowed first, none below its longest word or `least` where it has that. */
function columnWidths(cells: readonly (readonly string[])[], room: number, least: number): number[] {
  const columns = Array.from({ length: countOf(cells) }, (_, i) => cells.map((row) => row[i] ?? ''));
  const widths = columns.map((column) => Math.max(1, longest(column)));
  const floors = columns.map((column, i) =>
    Math.min(widths[i] ?? 0, Math.max(least, longest(column.flatMap((cell) => cell.split(' '))))),
  );
  let over = widthOf(widths) - room;
  while (over > 0) {
    const free = widths.map((width, i) => (width > (floors[i] ?? 0) ? width : 0));
    const widest = free.indexOf(Math.max(...free));
    if ((free[widest] ?? 0) === 0) break;
    widths[widest] = (widths[widest] ?? 0) - 1;
    over--;
  }
  return widths;
}

const countOf = (cells: readonly (readonly string[])[]) =>
  cells.reduce((most, { length }) => Math.max(most, length), 0);

// No spread: a list may have more rows than a call has room for arguments.
const longest = (texts: readonly string[]) => texts.reduce((most, { length }) => Math.max(most, length), 0);

function widthOf(widths: readonly number[]): number {
  return widths.reduce((sum, width) => sum + width, 0) + GAP.length * Math.max(0, widths.length - 1);
}

function rowLines(row: readonly string[], widths: readonly number[], right: readonly number[]): string[] {
  const wrapped = widths.map((width, i) => wrap(row[i] ?? '', width));
  const height = Math.max(1, ...wrapped.map((lines) => lines.length));
  return Array.from({ length: height }, (_, l) =>
    widths
      .map((width, i) => {
        const text = wrapped[i]?.[l] ?? '';
        return right.includes(i) ? text.padStart(width) : text.padEnd(width);
      })
      .join(GAP)
      .trimEnd(),
  );
}
