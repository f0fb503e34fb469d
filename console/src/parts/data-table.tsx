import { Button, TextInput } from '@mantine/core';
import { useMemo, useRef, useState } from 'react';
import { download } from './download.ts';
import { When } from './marks.tsx';
import { type Column, csvOf, inOrder, isRight, type Order } from './table-data.ts';
import { number } from './words.ts';

export type { Column } from './table-data.ts';

/** More rows than that are only there while they are seen. */
const ALL_AT_ONCE = 200;
const ROW_PX = 27;
const VIEW_PX = 560;
const AROUND = 12;

interface Props<Row> {
  /** What it is called for who does not see it, and as a file. */
  readonly name: string;
  /** A heading of its own, where the page has none for it. */
  readonly title?: React.ReactNode;
  readonly rows: readonly Row[];
  readonly columns: readonly Column<Row>[];
  readonly keyOf: (row: Row) => string;
  readonly empty?: React.ReactNode;
  readonly order?: Order;
  /** Beside other things: a narrow filter, and no higher than so many pixels. */
  readonly mostPx?: number;
  /** Height of a row where there are too many to be there all at once. */
  readonly rowPx?: number;
  /** Other controls beside the filter. */
  readonly children?: React.ReactNode;
}

/** Every table of the console: filter, order, export, and any number of rows. */
export function DataTable<Row>(props: Props<Row>) {
  const { name, title, rows, columns, empty, order: first, mostPx, children } = props;
  const [filter, setFilter] = useState('');
  const [order, setOrder] = useState(first);
  const shown = useMemo(() => inOrder(rows, columns, filter, order), [rows, columns, filter, order]);
  if (rows.length === 0 && empty !== undefined) return empty;
  const turn = (key: string) =>
    setOrder(order?.key === key && !order.isDown ? { key, isDown: true } : { key, isDown: false });
  return (
    <div className="stack" style={{ gap: 6 }} data-table={name}>
      <div className="row spread">
        <div className="row">
          {title === undefined ? null : <h2>{title}</h2>}
          <TextInput
            size="xs"
            w={mostPx === undefined ? 220 : 100}
            placeholder="Filter"
            aria-label={`Filter ${name}`}
            value={filter}
            onChange={(event) => setFilter(event.currentTarget.value)}
          />
          {children}
        </div>
        <div className="row">
          <span className="dim" role="status" aria-label={`Rows of ${name}`}>
            {shown.length === rows.length
              ? title === undefined || mostPx === undefined
                ? number(rows.length)
                : ''
              : `${number(shown.length)} of ${number(rows.length)}`}
          </span>
          <Button
            size="compact-xs"
            variant="default"
            aria-label={`${name} as CSV`}
            onClick={() => download(`${name}.csv`, csvOf(shown, columns))}
          >
            CSV
          </Button>
        </div>
      </div>
      <Rows {...props} rows={shown} isFiltered={filter.trim() !== ''} order={order} onOrder={turn} />
    </div>
  );
}

interface RowsProps<Row>
  extends Pick<Props<Row>, 'name' | 'rows' | 'columns' | 'keyOf' | 'mostPx' | 'rowPx'> {
  readonly isFiltered: boolean;
  readonly order: Order | undefined;
  readonly onOrder: (key: string) => void;
}

function Rows<Row>({
  name,
  rows,
  columns,
  keyOf,
  isFiltered,
  order,
  onOrder,
  mostPx,
  rowPx = ROW_PX,
}: RowsProps<Row>) {
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const isLong = rows.length > ALL_AT_ONCE;
  const viewPx = mostPx ?? VIEW_PX;
  const from = isLong ? Math.max(0, Math.min(rows.length, Math.floor(top / rowPx)) - AROUND) : 0;
  const to = isLong ? Math.min(rows.length, from + Math.ceil(viewPx / rowPx) + 2 * AROUND) : rows.length;
  return (
    <div
      className={mostPx === undefined ? 'scroll' : 'scroll narrow'}
      ref={box}
      // A region that scrolls is reached by keyboard.
      tabIndex={0}
      role="region"
      aria-label={name}
      style={isLong || mostPx !== undefined ? { maxHeight: viewPx } : {}}
      onScroll={isLong ? (event) => setTop(event.currentTarget.scrollTop) : undefined}
    >
      <table className="data" aria-rowcount={rows.length}>
        <thead>
          <tr>
            {columns.map((column) => (
              <Head key={column.key} column={column} order={order} onOrder={onOrder} />
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.length === 0 && isFiltered ? (
            <tr>
              <td colSpan={columns.length} className="dim">
                Nothing here has all of these words.
              </td>
            </tr>
          ) : null}
          <Space px={from * rowPx} span={columns.length} />
          {rows.slice(from, to).map((row) => (
            <tr key={keyOf(row)} style={isLong ? { height: rowPx } : {}}>
              {columns.map((column) => (
                <td
                  key={column.key}
                  className={`${isRight(column) ? 'num' : ''} ${column.isWide ? 'what' : ''} ${isLong ? 'clip' : ''}`}
                  style={isLong ? { maxWidth: 420 } : {}}
                >
                  {cellOf(column, row)}
                </td>
              ))}
            </tr>
          ))}
          <Space px={(rows.length - to) * rowPx} span={columns.length} />
        </tbody>
      </table>
    </div>
  );
}

interface HeadProps<Row> {
  readonly column: Column<Row>;
  readonly order: Order | undefined;
  readonly onOrder: (key: string) => void;
}

function Head<Row>({ column, order, onOrder }: HeadProps<Row>) {
  const { key, head } = column;
  return (
    <th className={isRight(column) ? 'num' : ''} aria-sort={sortOf(key, order)}>
      {head === '' ? null : (
        <button type="button" onClick={() => onOrder(key)}>
          {head}
          {order?.key === key ? (order.isDown ? ' ↓' : ' ↑') : ''}
        </button>
      )}
    </th>
  );
}

function cellOf<Row>({ cell, value, isTime }: Column<Row>, row: Row): React.ReactNode {
  if (cell !== undefined) return cell(row);
  const own = value(row);
  return isTime ? <When at={typeof own === 'number' ? own : undefined} /> : own;
}

function sortOf(key: string, order: Order | undefined) {
  if (order?.key !== key) return 'none';
  return order.isDown ? 'descending' : 'ascending';
}

/** Stands for rows that are not seen. */
function Space({ px, span }: { readonly px: number; readonly span: number }) {
  if (px <= 0) return null;
  return (
    <tr aria-hidden>
      <td colSpan={span} style={{ height: px, padding: 0, border: 0 }} />
    </tr>
  );
}
