import { Button, TextInput } from '@mantine/core';
import { useMemo, useRef, useState } from 'react';
import { download } from './download.ts';
import { type Column, csvOf, inOrder, type Order } from './table-data.ts';

export type { Column } from './table-data.ts';

/** More rows than that are only there while they are seen. */
const ALL_AT_ONCE = 200;
const ROW_PX = 27;
const VIEW_PX = 560;
const AROUND = 12;

interface Props<Row> {
  readonly name: string;
  readonly rows: readonly Row[];
  readonly columns: readonly Column<Row>[];
  readonly keyOf: (row: Row) => string;
  readonly empty?: React.ReactNode;
  readonly order?: Order;
  /** Other controls beside the filter. */
  readonly children?: React.ReactNode;
}

/** Every table of the console: filter, order, export, and any number of rows. */
export function DataTable<Row>({ name, rows, columns, keyOf, empty, order: first, children }: Props<Row>) {
  const [filter, setFilter] = useState('');
  const [order, setOrder] = useState(first);
  const shown = useMemo(() => inOrder(rows, columns, filter, order), [rows, columns, filter, order]);
  if (rows.length === 0 && empty !== undefined) return empty;
  const turn = (key: string) =>
    setOrder(order?.key === key && !order.isDown ? { key, isDown: true } : { key, isDown: false });
  return (
    <div className="stack" style={{ gap: 6 }}>
      <div className="row spread">
        <div className="row">
          <TextInput
            size="xs"
            w={220}
            placeholder="Filter"
            aria-label={`Filter ${name}`}
            value={filter}
            onChange={(event) => setFilter(event.currentTarget.value)}
          />
          {children}
        </div>
        <div className="row">
          <span className="dim" role="status">
            {shown.length === rows.length ? `${rows.length}` : `${shown.length} of ${rows.length}`}
          </span>
          <Button
            size="compact-xs"
            variant="default"
            onClick={() => download(`${name}.csv`, csvOf(shown, columns))}
          >
            CSV
          </Button>
        </div>
      </div>
      <Rows name={name} rows={shown} columns={columns} keyOf={keyOf} order={order} onOrder={turn} />
    </div>
  );
}

interface RowsProps<Row> extends Pick<Props<Row>, 'name' | 'rows' | 'columns' | 'keyOf'> {
  readonly order: Order | undefined;
  readonly onOrder: (key: string) => void;
}

function Rows<Row>({ name, rows, columns, keyOf, order, onOrder }: RowsProps<Row>) {
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const isLong = rows.length > ALL_AT_ONCE;
  const from = isLong ? Math.max(0, Math.min(rows.length, Math.floor(top / ROW_PX)) - AROUND) : 0;
  const to = isLong ? Math.min(rows.length, from + Math.ceil(VIEW_PX / ROW_PX) + 2 * AROUND) : rows.length;
  return (
    <div
      className="scroll"
      ref={box}
      // A region that scrolls is reached by keyboard.
      tabIndex={0}
      role="region"
      aria-label={name}
      style={isLong ? { maxHeight: VIEW_PX } : {}}
      onScroll={isLong ? (event) => setTop(event.currentTarget.scrollTop) : undefined}
    >
      <table className="data" aria-rowcount={rows.length}>
        <thead>
          <tr>
            {columns.map(({ key, head, isNumber }) => (
              <th key={key} className={isNumber ? 'num' : ''} aria-sort={sortOf(key, order)}>
                {head === '' ? null : (
                  <button type="button" onClick={() => onOrder(key)}>
                    {head}
                    {order?.key === key ? (order.isDown ? ' ↓' : ' ↑') : ''}
                  </button>
                )}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          <Space rows={from} span={columns.length} />
          {rows.slice(from, to).map((row) => (
            <tr key={keyOf(row)} style={isLong ? { height: ROW_PX } : {}}>
              {columns.map((column) => (
                <td
                  key={column.key}
                  className={`${column.isNumber ? 'num' : ''} ${column.isWide ? 'what' : ''} ${isLong ? 'clip' : ''}`}
                  style={isLong ? { maxWidth: 420 } : {}}
                >
                  {column.cell === undefined ? column.value(row) : column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
          <Space rows={rows.length - to} span={columns.length} />
        </tbody>
      </table>
    </div>
  );
}

function sortOf(key: string, order: Order | undefined) {
  if (order?.key !== key) return 'none';
  return order.isDown ? 'descending' : 'ascending';
}

/** Stands for rows that are not seen. */
function Space({ rows, span }: { readonly rows: number; readonly span: number }) {
  if (rows <= 0) return null;
  return (
    <tr aria-hidden>
      <td colSpan={span} style={{ height: rows * ROW_PX, padding: 0, border: 0 }} />
    </tr>
  );
}
