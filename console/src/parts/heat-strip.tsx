const DAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];
const CELL = 12;
const ROW = 7;
const LEFT = 28;

/** The 168 hours of a week, a day a row: the more calls the stronger its colour. Times are UTC. */
export function HeatStrip({ hours }: { readonly hours: readonly number[] }) {
  const most = Math.max(1, ...hours);
  const used = hours.filter((n) => n > 0).length;
  return (
    <svg
      className="heat"
      viewBox={`0 0 ${LEFT + 24 * CELL} ${7 * ROW + 9}`}
      role="img"
      aria-label={`Calls in ${used} of the 168 hours of the week, UTC`}
    >
      {DAYS.map((day, d) => (
        <text key={day} x={0} y={d * ROW + 6} fontSize={6.5} fill="var(--mantine-color-dimmed)">
          {day}
        </text>
      ))}
      {hours.map((n, hour) => (
        <rect
          // The hour is what the cell is.
          key={hour}
          x={LEFT + (hour % 24) * CELL}
          y={Math.floor(hour / 24) * ROW}
          width={CELL - 1}
          height={ROW - 1}
          fill={n === 0 ? 'var(--line)' : 'var(--is-fresh)'}
          fillOpacity={n === 0 ? 0.6 : 0.12 + 0.88 * (n / most)}
        >
          <title>{`${DAYS[Math.floor(hour / 24)]} ${String(hour % 24).padStart(2, '0')}:00 UTC: ${n.toLocaleString('en')}`}</title>
        </rect>
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
