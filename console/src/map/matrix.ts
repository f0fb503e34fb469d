import type { Shown } from './group.ts';
import { type Kind, type Layers, shownKind } from './kinds.ts';
import type { Line, MapModel } from './model.ts';

/** A row or a column: a group that is closed, or one place of a group that is open. */
export interface Header {
  readonly id: string;
  readonly name: string;
  readonly group: string;
  readonly isGroup: boolean;
  /** The first place of an open group: the group's name is written at it. */
  readonly startsGroup: boolean;
}

export interface Cell {
  readonly line: Line;
  readonly kind: Kind;
}

/** Callers down, callees across. */
export interface Matrix {
  readonly callers: readonly Header[];
  readonly callees: readonly Header[];
  readonly rowOf: ReadonlyMap<string, number>;
  readonly columnOf: ReadonlyMap<string, number>;
  readonly cells: ReadonlyMap<string, Cell>;
}

const cellKey = (row: number, column: number) => `${row},${column}`;

/** The matrix of what is shown: only who calls has a row, only who is called has a column. */
export function matrixOf(model: MapModel, shown: Shown, layers: Layers): Matrix {
  const visible = shown.lines.flatMap((line) => {
    const kind = shownKind(line, layers);
    return kind === undefined ? [] : [{ line, kind }];
  });
  const headers = headersOf(model, shown);
  const calling = new Set(visible.map(({ line }) => line.from));
  const called = new Set(visible.map(({ line }) => line.to));
  const callers = marked(headers.filter(({ id }) => calling.has(id)));
  const callees = marked(headers.filter(({ id }) => called.has(id)));
  const rowOf = new Map(callers.map(({ id }, i) => [id, i]));
  const columnOf = new Map(callees.map(({ id }, i) => [id, i]));
  const cells = new Map(
    visible.map((cell) => [cellKey(rowOf.get(cell.line.from) ?? -1, columnOf.get(cell.line.to) ?? -1), cell]),
  );
  return { callers, callees, rowOf, columnOf, cells };
}

export function cellAt(matrix: Matrix, row: number, column: number): Cell | undefined {
  return matrix.cells.get(cellKey(row, column));
}

function headersOf(model: MapModel, shown: Shown): Omit<Header, 'startsGroup'>[] {
  const closed = new Set(shown.groups.map(({ id }) => id));
  return [...model.groups.values()].flatMap((group): Omit<Header, 'startsGroup'>[] =>
    closed.has(group.id)
      ? [{ id: group.id, name: group.name, group: group.id, isGroup: true }]
      : group.places.map(({ id, name }) => ({ id, name, group: group.id, isGroup: false })),
  );
}

function marked(headers: readonly Omit<Header, 'startsGroup'>[]): Header[] {
  return headers.map((header, i) => ({ ...header, startsGroup: headers[i - 1]?.group !== header.group }));
}

/** The cell that a key leads to, kept inside the matrix; with Ctrl to the next cell that holds something. */
export function moved(
  matrix: Matrix,
  { row, column }: { readonly row: number; readonly column: number },
  key: string,
  toNext: boolean,
): { row: number; column: number } | undefined {
  const step = STEPS[key];
  if (step === undefined) return undefined;
  const [down, right] = step;
  const isInside = (r: number, c: number) =>
    r >= 0 && c >= 0 && r < matrix.callers.length && c < matrix.callees.length;
  let at = { row: row + down, column: column + right };
  if (toNext)
    while (isInside(at.row, at.column) && cellAt(matrix, at.row, at.column) === undefined)
      at = { row: at.row + down, column: at.column + right };
  return isInside(at.row, at.column) ? at : { row, column };
}

const STEPS: Readonly<Record<string, readonly [down: number, right: number] | undefined>> = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
};
