const DAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];

/** An hour of the week, 0 to 167, in words: "Tue 09:00". */
export function hourName(hour: number): string {
  return `${DAYS[Math.floor(hour / 24) % 7] ?? ''} ${String(hour % 24).padStart(2, '0')}:00`;
}

/** Which of `levels` an hour belongs to: 0 without a call, the last one with the most. */
export function levelOf(n: number, most: number, levels: number): number {
  return n <= 0 || most <= 0 ? 0 : Math.min(levels - 1, Math.ceil((n / most) * (levels - 1)));
}

/** The cells of each level as one SVG path: hours across, days down. */
export function levelPaths(
  hours: readonly number[],
  levels: number,
  { cell, row, left }: { readonly cell: number; readonly row: number; readonly left: number },
): readonly string[] {
  const most = Math.max(0, ...hours);
  const paths = Array.from({ length: levels }, () => '');
  for (const [hour, n] of hours.entries()) {
    const x = left + (hour % 24) * cell;
    const y = Math.floor(hour / 24) * row;
    paths[levelOf(n, most, levels)] += `M${x} ${y}h${cell - 1}v${row - 1}h${1 - cell}z`;
  }
  return paths;
}
