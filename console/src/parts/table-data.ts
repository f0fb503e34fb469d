import type { ReactNode } from 'react';
import { exactTime } from './words.ts';

/** One column of a table. */
export interface Column<Row> {
  readonly key: string;
  readonly head: string;
  /** What it is sorted, filtered and exported by. */
  readonly value: (row: Row) => string | number | undefined;
  /** How it is shown; its value where absent. */
  readonly cell?: (row: Row) => ReactNode;
  readonly isNumber?: boolean;
  /** Its value is a time in milliseconds since 1970: shown by how far it is from now, filtered and exported as a date. */
  readonly isTime?: boolean;
  readonly isWide?: boolean;
}

/** Whether what it holds stands at the right: what is compared by its digits. */
export const isRight = ({ isNumber, isTime }: Pick<Column<unknown>, 'isNumber' | 'isTime'>): boolean =>
  isNumber === true || isTime === true;

/** A value as text: for the filter, and for an export. */
function textOf<Row>({ value, isTime }: Column<Row>, row: Row): string {
  const own = value(row);
  return isTime === true && typeof own === 'number' ? exactTime(own) : String(own ?? '');
}

export interface Order {
  readonly key: string;
  readonly isDown: boolean;
}

/** The rows that have every word of the filter in some column, in order. Rows without a value come last. */
export function inOrder<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  filter: string,
  order: Order | undefined,
): readonly Row[] {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (row: Row) => {
    const text = columns
      .map((column) => textOf(column, row))
      .join('\n')
      .toLowerCase();
    return words.every((word) => text.includes(word));
  };
  const found = words.length === 0 ? rows : rows.filter(fits);
  const column = columns.find(({ key }) => key === order?.key);
  if (column === undefined) return found;
  const sign = order?.isDown === true ? -1 : 1;
  return [...found].sort((one, other) => {
    const a = column.value(one);
    const b = column.value(other);
    if (a === undefined || b === undefined) return a === b ? 0 : a === undefined ? 1 : -1;
    return sign * (typeof a === 'number' && typeof b === 'number' ? a - b : compare(String(a), String(b)));
  });
}

const { compare } = new Intl.Collator('en', { numeric: true });

/** RFC 4180. A text that a spreadsheet would run as a formula is led by an apostrophe: names come out of traffic. */
export function csvOf<Row>(rows: readonly Row[], columns: readonly Column<Row>[]): string {
  const cell = (of: string, isText = true) => {
    const text = isText && /^[=+\-@\t\r]/.test(of) ? `'${of}` : of;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  // A column without a head holds what is done, and nothing to be known.
  const own = columns.filter(({ head }) => head !== '');
  const lines = rows.map((row) =>
    own.map((column) => cell(textOf(column, row), typeof column.value(row) !== 'number')).join(','),
  );
  return `${[own.map(({ head }) => cell(head)).join(','), ...lines].join('\r\n')}\r\n`;
}
