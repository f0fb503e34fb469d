/** Something to be placed, with the room it takes. */
export interface Item {
  readonly id: string;
  readonly w: number;
  readonly h: number;
}
/** A call from one item to another; the heavier, the more it counts for the direction. */
export interface Arc {
  readonly from: string;
  readonly to: string;
  readonly weight: number;
}
export interface Point {
  readonly x: number;
  readonly y: number;
}

/**
 * Places items in columns, callers left of whom they call, so that direction reads the same everywhere; calls that run
 * back (cycles) are the lightest that can be chosen greedily (Eades, Lin and Smyth 1993). The columns are ordered by the mean place of neighbours.
 * Items in a column sway a little about its middle. The same input in any order gives the same picture. Centres of the
 * items; y grows downwards.
 */
export function layered(
  items: readonly Item[],
  arcs: readonly Arc[],
  { gap, aspect, sway }: { readonly gap: number; readonly aspect: number; readonly sway: number },
): Map<string, Point> {
  const sorted = [...items].sort((a, b) => (a.id < b.id ? -1 : 1));
  const known = new Set(sorted.map(({ id }) => id));
  const used = arcs.filter(({ from, to }) => from !== to && known.has(from) && known.has(to));
  const order = orderOf(
    sorted.map(({ id }) => id),
    used,
  );
  const columns = columnsOf(sorted, order, used, aspect);
  settle(columns, used);
  return pointsOf(columns, gap, sway);
}

/** A sequence in which as little weight as possible runs backwards. */
function orderOf(ids: readonly string[], arcs: readonly Arc[]): Map<string, number> {
  const surplus = new Map(ids.map((id) => [id, { out: 0, in: 0 }]));
  const touching = new Map<string, Arc[]>(ids.map((id) => [id, []]));
  for (const arc of arcs) {
    for (const end of [arc.from, arc.to]) touching.get(end)?.push(arc);
    const [from, to] = [surplus.get(arc.from), surplus.get(arc.to)];
    if (from !== undefined) from.out += arc.weight;
    if (to !== undefined) to.in += arc.weight;
  }
  const left: string[] = [];
  const right: string[] = [];
  while (surplus.size > 0) {
    const { id, isSink } = nextOf(surplus);
    surplus.delete(id);
    (isSink ? right : left).push(id);
    for (const { from, to, weight } of touching.get(id) ?? []) {
      const other = surplus.get(from === id ? to : from);
      if (other === undefined) continue;
      if (from === id) other.in -= weight;
      else other.out -= weight;
    }
  }
  return new Map([...left, ...right.toReversed()].map((id, i) => [id, i]));
}

/** A sink, else a source, else whoever calls most beyond being called. */
function nextOf(surplus: ReadonlyMap<string, { out: number; in: number }>): { id: string; isSink: boolean } {
  let best = '';
  let most = Number.NEGATIVE_INFINITY;
  for (const [id, { out, in: into }] of surplus) {
    // What nobody calls and calls nobody goes to the left, with the sources.
    if (out <= 0 && into > 0) return { id, isSink: true };
    const score = into <= 0 ? Number.MAX_VALUE : out - into;
    if (score > most) [best, most] = [id, score];
  }
  return { id: best, isSink: false };
}

/** Columns by the longest way of calls, no more of them than keeps the whole about `aspect` times as wide as high. */
function columnsOf(
  items: readonly Item[],
  order: ReadonlyMap<string, number>,
  arcs: readonly Arc[],
  aspect: number,
): Item[][] {
  const at = (id: string) => order.get(id) ?? 0;
  const layer = new Map(items.map(({ id }) => [id, 0]));
  for (const { from, to } of [...arcs].sort((a, b) => at(a.from) - at(b.from)))
    if (at(from) < at(to)) layer.set(to, Math.max(layer.get(to) ?? 0, (layer.get(from) ?? 0) + 1));
  const layers = 1 + Math.max(0, ...layer.values());
  const area = items.reduce((sum, { w, h }) => sum + w * h, 0);
  const width = items.reduce((sum, { w }) => sum + w, 0) / Math.max(1, items.length);
  const most = Math.max(2, Math.ceil(Math.sqrt(area * aspect) / Math.max(width, 1e-9)));
  const tallest = Math.sqrt((area / aspect) * 1.4);
  const columns: Item[][] = Array.from({ length: Math.min(layers, most) }, () => []);
  for (const item of [...items].sort((a, b) => at(a.id) - at(b.id))) {
    const of = layer.get(item.id) ?? 0;
    columns[layers <= most ? of : Math.floor((of * most) / layers)]?.push(item);
  }
  return columns.filter((column) => column.length > 0).flatMap((column) => splitColumn(column, tallest));
}

/** A column that is too tall, side by side in parts of like height. */
function splitColumn(column: Item[], tallest: number): Item[][] {
  const height = column.reduce((sum, { h }) => sum + h, 0);
  const parts = Math.min(column.length, Math.max(1, Math.round(height / Math.max(tallest, 1e-9))));
  const result: Item[][] = Array.from({ length: parts }, () => []);
  let done = 0;
  for (const item of column) {
    result[Math.min(parts - 1, Math.floor((done / height) * parts))]?.push(item);
    done += item.h;
  }
  return result.filter((part) => part.length > 0);
}

/** Orders each column by the mean place of neighbours: few lines cross. */
function settle(columns: Item[][], arcs: readonly Arc[]): void {
  const neighbours = new Map<string, string[]>();
  const note = (a: string, b: string) => {
    const known = neighbours.get(a);
    if (known === undefined) neighbours.set(a, [b]);
    else known.push(b);
  };
  for (const { from, to } of arcs) {
    note(from, to);
    note(to, from);
  }
  const place = new Map<string, number>();
  const number = (column: readonly Item[]) => {
    for (const [i, { id }] of column.entries()) place.set(id, (i + 0.5) / column.length);
  };
  for (const column of columns) number(column);
  for (let sweep = 0; sweep < 6; sweep++) {
    for (const column of sweep % 2 === 0 ? columns : columns.toReversed()) {
      const mean = new Map(
        column.map(({ id }) => {
          const of = neighbours.get(id) ?? [];
          const sum = of.reduce((total, other) => total + (place.get(other) ?? 0.5), 0);
          return [id, of.length === 0 ? (place.get(id) ?? 0.5) : sum / of.length];
        }),
      );
      column.sort((a, b) => (mean.get(a.id) ?? 0) - (mean.get(b.id) ?? 0) || (a.id < b.id ? -1 : 1));
      number(column);
    }
  }
}

function pointsOf(columns: readonly Item[][], gap: number, sway: number): Map<string, Point> {
  const points = new Map<string, Point>();
  let left = 0;
  for (const [i, column] of columns.entries()) {
    const width = Math.max(...column.map(({ w }) => w));
    const height = column.reduce((sum, { h }) => sum + h + gap, -gap);
    // Every other column is shifted a little: a line over it does not run through its items.
    let top = -height / 2 + (i % 2 === 0 ? 0 : Math.min(0.5 * gap + 0.15, 0.35 * (column[0]?.h ?? 0)));
    for (const [k, { id, w, h }] of column.entries()) {
      // Nor does a line within a column run through those between its ends: they do not stand in one line. What is
      // narrower than its column has all of that to sway in.
      const aside = column.length > 2 ? (((k * 0.618) % 1) - 0.5) * (sway + width - w) : 0;
      points.set(id, { x: left + width / 2 + aside, y: top + h / 2 });
      top += h + gap;
    }
    left += width + gap;
  }
  return points;
}
