import type { ReactNode } from 'react';

/** One column of a table. */
export interface Column<Row> {
  readonly key: string;
  readonly head: string;
  /** What it is sorted, filtered and exported by. */
  readonly value: (row: Row) => string | number | undefined;
  /** How it is shown; its value where absent. */
  readonly cell?: (row: Row) => ReactNode;
  readonly isNumber?: boolean;
  readonly isWide?: boolean;
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
      .map(({ value }) => value(row) ?? '')
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
  const cell = (value: string | number | undefined) => {
    const text = typeof value === 'string' && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value ?? '');
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = rows.map((row) => columns.map(({ value }) => cell(value(row))).join(','));
  return `${[columns.map(({ head }) => cell(head)).join(','), ...lines].join('\r\n')}\r\n`;
}
