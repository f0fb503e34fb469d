import { type PointerEvent, useMemo, useState } from 'react';
import { hourName, levelPaths } from './hours.ts';

const CELL = 12;
const ROW = 7;
const LEFT = 28;
const DAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];
/** How strong each level is shown; the first is that of no call. */
const OPACITY = [0.6, 0.2, 0.4, 0.65, 1];

/** The 168 hours of a week, a day a row: the more calls the stronger its colour. Times are UTC. */
export function HeatStrip({ hours }: { readonly hours: readonly number[] }) {
  const [at, setAt] = useState<number>();
  const used = hours.filter((n) => n > 0).length;
  // A path for each level, and not a shape for each hour: a page holds hundreds of these.
  const paths = useMemo(
    () => levelPaths(hours, OPACITY.length, { cell: CELL, row: ROW, left: LEFT }),
    [hours],
  );
  const point = (event: PointerEvent<SVGSVGElement>) => {
    const box = event.currentTarget.getBoundingClientRect();
    const scale = (LEFT + 24 * CELL) / box.width;
    const column = Math.floor(((event.clientX - box.left) * scale - LEFT) / CELL);
    const day = Math.floor(((event.clientY - box.top) * scale) / ROW);
    setAt(column >= 0 && column < 24 && day >= 0 && day < 7 ? day * 24 + column : undefined);
  };
  return (
    <svg
      className="heat"
      viewBox={`0 0 ${LEFT + 24 * CELL} ${7 * ROW + 9}`}
      role="img"
      aria-label={`Calls in ${used} of the 168 hours of the week, UTC`}
      onPointerMove={point}
      onPointerLeave={() => setAt(undefined)}
    >
      {at === undefined ? null : (
        <title>{`${hourName(at)} UTC: ${(hours[at] ?? 0).toLocaleString('en')} calls`}</title>
      )}
      {DAYS.map((day, d) => (
        <text key={day} x={0} y={d * ROW + 6} fontSize={6.5} fill="var(--mantine-color-dimmed)">
          {day}
        </text>
      ))}
      {paths.map((path, level) => (
        <path
          // The level is what the path is.
          key={level}
          d={path}
          fill={level === 0 ? 'var(--line)' : 'var(--is-fresh)'}
          fillOpacity={OPACITY[level]}
        />
      ))}
      {[0, 6, 12, 18].map((hour) => (
        <text
          key={hour}
          x={LEFT + hour * CELL}
          y={7 * ROW + 7}
          fontSize={6.5}
          fill="var(--mantine-color-dimmed)"
        >
          {String(hour).padStart(2, '0')}
        </text>
      ))}
    </svg>
  );
}
