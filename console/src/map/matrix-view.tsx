import { useEffect, useMemo, useRef, useState } from 'react';
import { counted } from '../parts/words.ts';
import type { Shown } from './group.ts';
import { KIND, type Layers } from './kinds.ts';
import { cellAt, matrixOf, moved } from './matrix.ts';
import { CELL_PX, drawMatrix, HEAD_LEFT_PX, HEAD_TOP_PX, hitMatrix } from './matrix-draw.ts';
import type { MapModel } from './model.ts';
import { INK, type Scheme } from './paint.ts';

interface Props {
  readonly model: MapModel;
  readonly shown: Shown;
  readonly layers: Layers;
  readonly selected: string | undefined;
  readonly scheme: Scheme;
  readonly onSelect: (id: string | undefined) => void;
  readonly onToggle: (group: string) => void;
}

/** Callers down, callees across: for estates that are too dense for lines. Only what is in view is drawn. */
export function MatrixView({ model, shown, layers, selected, scheme, onSelect, onToggle }: Props) {
  const matrix = useMemo(() => matrixOf(model, shown, layers), [model, shown, layers]);
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [at, setAt] = useState({ row: 0, column: 0 });
  const draw = useRef(() => {});
  draw.current = () => {
    const [view, on] = [box.current, canvas.current];
    if (view === null || on === null) return;
    const { clientWidth: width, clientHeight: height, scrollLeft: left, scrollTop: top } = view;
    drawMatrix(on, matrix, { width, height, left, top, at, selected, ink: INK[scheme] });
  };
  useEffect(() => draw.current(), [matrix, at, selected, scheme]);
  useEffect(() => {
    if (box.current === null) return;
    const again = new ResizeObserver(() => draw.current());
    again.observe(box.current);
    return () => again.disconnect();
  }, []);

  const cell = cellAt(matrix, at.row, at.column);
  const caller = matrix.callers[at.row];
  const callee = matrix.callees[at.column];
  const onClick = (event: React.MouseEvent) => {
    const view = box.current;
    if (view === null) return;
    const { left, top } = view.getBoundingClientRect();
    const point = { x: event.clientX - left, y: event.clientY - top };
    const hit = hitMatrix(matrix, point, { left: view.scrollLeft, top: view.scrollTop });
    if (hit === undefined) return;
    if ('header' in hit) {
      onSelect(hit.header.id);
      if (event.detail > 1) onToggle(hit.header.group);
      return;
    }
    setAt(hit);
    const line = cellAt(matrix, hit.row, hit.column)?.line;
    if (line !== undefined) onSelect(line.id);
  };
  const onKeyDown = (event: React.KeyboardEvent) => {
    const next = moved(matrix, at, event.key, event.ctrlKey);
    if (next !== undefined) {
      setAt(next);
      reveal(box.current, next);
    } else if (event.key === 'Enter' && cell !== undefined) onSelect(cell.line.id);
    else if (event.key === 'o' && caller !== undefined) onToggle(caller.group);
    else if (event.key === 'p' && callee !== undefined) onToggle(callee.group);
    else if (event.key === 'Escape') onSelect(undefined);
    else return;
    event.preventDefault();
  };
  if (matrix.cells.size === 0)
    return <div className="map-note">Nothing is left to show: switch more on in the legend.</div>;
  const text = `${caller?.name ?? ''} calls ${callee?.name ?? ''}: ${cell === undefined ? 'nothing' : `${KIND[cell.kind].label}, ${counted(cell.line.accesses, 'access', 'accesses')}`}`;
  return (
    <>
      <div
        ref={box}
        className="map-matrix"
        role="application"
        tabIndex={0}
        aria-label="Access matrix, callers down and callees across. Arrow keys move, with Ctrl to the next access; Enter selects; o opens or closes the caller's namespace, p the callee's."
        onScroll={() => draw.current()}
        onClick={onClick}
        onKeyDown={onKeyDown}
      >
        <canvas ref={canvas} />
        <div
          style={{
            width: HEAD_LEFT_PX + matrix.callees.length * CELL_PX + 12,
            height: HEAD_TOP_PX + matrix.callers.length * CELL_PX + 40,
            position: 'absolute',
            top: 0,
            left: 0,
            pointerEvents: 'none',
          }}
        />
      </div>
      <div className="map-note" role="status">
        {text}
      </div>
    </>
  );
}

function reveal(
  view: HTMLDivElement | null,
  { row, column }: { readonly row: number; readonly column: number },
): void {
  if (view === null) return;
  const x = column * CELL_PX;
  const y = row * CELL_PX;
  const width = view.clientWidth - HEAD_LEFT_PX - 2 * CELL_PX;
  const height = view.clientHeight - HEAD_TOP_PX - 4 * CELL_PX;
  view.scrollLeft = Math.min(x, Math.max(view.scrollLeft, x - width));
  view.scrollTop = Math.min(y, Math.max(view.scrollTop, y - height));
}
