import type { Kind } from './kinds.ts';
import { cellAt, type Header, type Matrix } from './matrix.ts';
import type { INK, Scheme } from './paint.ts';

export const CELL_PX = 16;
export const HEAD_LEFT_PX = 170;
export const HEAD_TOP_PX = 130;

interface View {
  readonly width: number;
  readonly height: number;
  /** How far it is scrolled. */
  readonly left: number;
  readonly top: number;
  readonly at: { readonly row: number; readonly column: number };
  readonly selected: string | undefined;
  readonly ink: (typeof INK)[Scheme];
}

/** Draws the part of the matrix that is in view. */
export function drawMatrix(canvas: HTMLCanvasElement, matrix: Matrix, view: View): void {
  const context = canvas.getContext('2d');
  if (context === null) return;
  const scale = window.devicePixelRatio;
  canvas.width = Math.round(view.width * scale);
  canvas.height = Math.round(view.height * scale);
  canvas.style.width = `${view.width}px`;
  canvas.style.height = `${view.height}px`;
  context.scale(scale, scale);
  const columns = inView(view.left, view.width - HEAD_LEFT_PX, matrix.callees.length);
  const rows = inView(view.top, view.height - HEAD_TOP_PX, matrix.callers.length);
  const x = (column: number) => HEAD_LEFT_PX + column * CELL_PX - view.left;
  const y = (row: number) => HEAD_TOP_PX + row * CELL_PX - view.top;
  context.save();
  context.beginPath();
  context.rect(HEAD_LEFT_PX, HEAD_TOP_PX, view.width, view.height);
  context.clip();
  drawGrid(context, matrix, view, { rows, columns, x, y });
  for (const row of rows) {
    for (const column of columns) {
      const cell = cellAt(matrix, row, column);
      if (cell === undefined) continue;
      const isSelected = cell.line.id === view.selected;
      drawSign(context, cell.kind, x(column), y(row), view.ink, isSelected || cell.line.fresh > 0);
    }
  }
  context.strokeStyle = view.ink.fresh;
  context.lineWidth = 2;
  context.strokeRect(x(view.at.column) + 1, y(view.at.row) + 1, CELL_PX - 2, CELL_PX - 2);
  context.restore();
  drawHeaders(context, matrix, view, { rows, columns, x, y });
}

interface Part {
  readonly rows: readonly number[];
  readonly columns: readonly number[];
  readonly x: (column: number) => number;
  readonly y: (row: number) => number;
}

function inView(from: number, length: number, count: number): number[] {
  const first = Math.max(0, Math.floor(from / CELL_PX));
  const last = Math.min(count - 1, Math.ceil((from + length) / CELL_PX));
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i);
}

function drawGrid(
  context: CanvasRenderingContext2D,
  matrix: Matrix,
  view: View,
  { rows, columns, x, y }: Part,
): void {
  context.fillStyle = view.ink.room;
  for (const row of rows)
    if (row % 2 === 0)
      context.fillRect(HEAD_LEFT_PX, y(row), x(matrix.callees.length) - HEAD_LEFT_PX, CELL_PX);
  context.fillStyle = `${view.ink.dim}55`;
  for (const row of rows)
    if (matrix.callers[row]?.startsGroup === true)
      context.fillRect(HEAD_LEFT_PX, y(row), x(matrix.callees.length) - HEAD_LEFT_PX, 1);
  for (const column of columns)
    if (matrix.callees[column]?.startsGroup === true)
      context.fillRect(x(column), HEAD_TOP_PX, 1, y(matrix.callers.length) - HEAD_TOP_PX);
}

/** Each kind has a form of its own, as its line has on the map. */
function drawSign(
  context: CanvasRenderingContext2D,
  kind: Kind,
  x: number,
  y: number,
  ink: View['ink'],
  isRinged: boolean,
): void {
  const [a, b] = [3, CELL_PX - 3];
  const middle = CELL_PX / 2;
  context.save();
  context.translate(x, y);
  context.fillStyle = context.strokeStyle = ink[kind];
  context.lineWidth = 1.6;
  context.beginPath();
  if (kind === 'would-deny') {
    context.moveTo(middle, a);
    context.lineTo(b, b);
    context.lineTo(a, b);
    context.fill();
  } else if (kind === 'denied') {
    context.moveTo(a, a);
    context.lineTo(b, b);
    context.moveTo(b, a);
    context.lineTo(a, b);
    context.stroke();
  } else if (kind === 'plaintext') {
    context.arc(middle, middle, 4, 0, 7);
    context.stroke();
  } else if (kind === 'unused') {
    context.strokeRect(a + 1, a + 1, b - a - 2, b - a - 2);
  } else if (kind === 'declared' || kind === 'possible') {
    context.arc(middle, middle, kind === 'declared' ? 2.5 : 1.5, 0, 7);
    context.fill();
  } else if (kind === 'open') {
    context.fillRect(a, middle - 2, b - a, 4);
  } else context.fillRect(a, a, b - a, b - a);
  if (isRinged) {
    context.strokeStyle = ink.fresh;
    context.strokeRect(1, 1, CELL_PX - 2, CELL_PX - 2);
  }
  context.restore();
}

function drawHeaders(
  context: CanvasRenderingContext2D,
  matrix: Matrix,
  view: View,
  { rows, columns, x, y }: Part,
): void {
  const { ink, at, selected } = view;
  context.fillStyle = ink.ground;
  context.fillRect(0, 0, HEAD_LEFT_PX, view.height);
  context.fillRect(0, 0, view.width, HEAD_TOP_PX);
  context.textBaseline = 'middle';
  const font = (header: Header, isAt: boolean) =>
    `${header.isGroup || isAt ? 600 : 400} 12px Inter, system-ui, sans-serif`;
  const color = (header: Header, isAt: boolean) =>
    header.id === selected || isAt ? ink.fresh : header.isGroup ? ink.text : ink.dim;
  context.save();
  context.beginPath();
  context.rect(0, HEAD_TOP_PX, HEAD_LEFT_PX, view.height);
  context.clip();
  context.textAlign = 'right';
  for (const row of rows) {
    const header = matrix.callers[row];
    if (header === undefined) continue;
    context.font = font(header, row === at.row);
    context.fillStyle = color(header, row === at.row);
    context.fillText(clipped(header), HEAD_LEFT_PX - 6, y(row) + CELL_PX / 2 + 1);
  }
  context.restore();
  context.save();
  context.beginPath();
  context.rect(HEAD_LEFT_PX, 0, view.width, HEAD_TOP_PX);
  context.clip();
  context.textAlign = 'left';
  for (const column of columns) {
    const header = matrix.callees[column];
    if (header === undefined) continue;
    context.save();
    context.translate(x(column) + CELL_PX / 2, HEAD_TOP_PX - 5);
    context.rotate(-Math.PI / 2.6);
    context.font = font(header, column === at.column);
    context.fillStyle = color(header, column === at.column);
    context.fillText(clipped(header), 0, 0);
    context.restore();
  }
  context.restore();
  context.fillStyle = ink.dim;
  context.textAlign = 'right';
  context.font = '11px Inter, system-ui, sans-serif';
  context.fillText('callers ↓   callees →', HEAD_LEFT_PX - 6, HEAD_TOP_PX - 10);
}

function clipped(header: Header): string {
  const group = header.group.replace(/^group:(ns\/)?/, '');
  const name = header.isGroup
    ? `▸ ${header.name}`
    : header.startsGroup
      ? `${group}/${header.name}`
      : header.name;
  return name.length <= 22 ? name : `${name.slice(0, 21)}…`;
}

/** What lies under a point of the view. */
export function hitMatrix(
  matrix: Matrix,
  { x, y }: { readonly x: number; readonly y: number },
  { left, top }: { readonly left: number; readonly top: number },
): { readonly row: number; readonly column: number } | { readonly header: Header } | undefined {
  const row = Math.floor((y - HEAD_TOP_PX + top) / CELL_PX);
  const column = Math.floor((x - HEAD_LEFT_PX + left) / CELL_PX);
  if (x < HEAD_LEFT_PX) {
    const header = y < HEAD_TOP_PX ? undefined : matrix.callers[row];
    return header === undefined ? undefined : { header };
  }
  if (y < HEAD_TOP_PX) {
    // The names lean to the right: what is under the point began further left.
    const leaned = Math.floor(
      (x - HEAD_LEFT_PX + left - (HEAD_TOP_PX - y) / Math.tan(Math.PI / 2.6)) / CELL_PX,
    );
    const header = matrix.callees[leaned];
    return header === undefined ? undefined : { header };
  }
  return row < matrix.callers.length && column < matrix.callees.length ? { row, column } : undefined;
}
