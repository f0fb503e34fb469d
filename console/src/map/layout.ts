import { type Arc, layered, type Point } from './layered.ts';
import type { MapModel } from './model.ts';

/** The room of a group: its place is kept while it is closed, so that opening it moves nothing else. */
export interface Box {
  /** Centre. */
  readonly x: number;
  readonly y: number;
  readonly w: number;
  readonly h: number;
  /** Places at its foot that are held free for newcomers, and those taken. */
  readonly spare: number;
}

/** Where everything is. y grows downwards; the unit is the height of one workload's row. */
export interface Layout {
  readonly boxes: ReadonlyMap<string, Box>;
  readonly points: ReadonlyMap<string, Point>;
}

/** What the layout needs of a model: small enough to be handed to a worker. */
export interface LayoutInput {
  readonly groups: readonly { readonly id: string; readonly places: readonly string[] }[];
  readonly arcs: readonly Arc[];
}

/** Room of one workload with its name beside it. */
const CELL = { w: 3.4, h: 1 };
/** How far workloads of one column stand apart across it. */
const SWAY = 1.1;
const PADDING = 0.7;
/** Between groups: room for the lines. */
const GAP = 3.4;

export function layoutInput(model: MapModel): LayoutInput {
  return {
    groups: [...model.groups.values()].map(({ id, places }) => ({ id, places: places.map((p) => p.id) })),
    arcs: model.lines.map(({ from, to, accesses }) => ({ from, to, weight: accesses })),
  };
}

/**
 * The layout of an estate. With the layout before, what was there stays where it was and newcomers take free places;
 * only where a group has outgrown its room everything is laid out anew.
 */
export function layoutOf(input: LayoutInput, before?: Layout): Layout {
  return (before === undefined ? undefined : grown(input, before)) ?? fresh(input);
}

function fresh({ groups, arcs }: LayoutInput): Layout {
  const groupOf = new Map(groups.flatMap(({ id, places }) => places.map((place) => [place, id] as const)));
  const inner = new Map<string, Arc[]>();
  const between = new Map<string, { from: string; to: string; weight: number }>();
  for (const { from, to, weight } of arcs) {
    const [a, b] = [groupOf.get(from), groupOf.get(to)];
    if (a === undefined || b === undefined) continue;
    if (a === b) {
      const known = inner.get(a);
      if (known === undefined) inner.set(a, [{ from, to, weight }]);
      else known.push({ from, to, weight });
      continue;
    }
    const known = between.get(`${a}\n${b}`);
    if (known === undefined) between.set(`${a}\n${b}`, { from: a, to: b, weight });
    else known.weight += weight;
  }
  const within = new Map(groups.map(({ id, places }) => [id, room(places, inner.get(id) ?? [])]));
  const items = groups.map(({ id }) => ({ id, w: within.get(id)?.w ?? 0, h: within.get(id)?.h ?? 0 }));
  const centres = layered(items, [...between.values()], { gap: GAP, aspect: 1.7, sway: GAP - 0.4 });
  const boxes = new Map<string, Box>();
  const points = new Map<string, Point>();
  for (const { id } of groups) {
    const { x, y } = centres.get(id) ?? { x: 0, y: 0 };
    const of = within.get(id);
    if (of === undefined) continue;
    boxes.set(id, { x, y, w: of.w, h: of.h, spare: of.spare });
    for (const [place, at] of of.points) points.set(place, { x: x + at.x, y: y + at.y });
  }
  return { boxes, points };
}

interface Room {
  readonly w: number;
  readonly h: number;
  readonly spare: number;
  /** From the middle of the room. */
  readonly points: ReadonlyMap<string, Point>;
}

/** The places of one group, and a free row at its foot. */
function room(places: readonly string[], arcs: readonly Arc[]): Room {
  const points = layered(
    places.map((id) => ({ id, ...CELL })),
    arcs,
    { gap: 0, aspect: 2.2, sway: SWAY },
  );
  const xs = [...points.values()].map(({ x }) => x);
  const ys = [...points.values()].map(({ y }) => y);
  const [left, right] = [Math.min(...xs) - CELL.w / 2, Math.max(...xs) + CELL.w / 2];
  const [top, bottom] = [Math.min(...ys) - CELL.h / 2, Math.max(...ys) + CELL.h / 2];
  const w = right - left + 2 * PADDING;
  const h = bottom - top + CELL.h + 2 * PADDING;
  const centred = new Map(
    [...points].map(([id, { x, y }]) => [
      id,
      // The name is right of its workload: the workload itself stands left in its cell.
      { x: x - (left + right) / 2 - CELL.w * 0.3, y: y - top - h / 2 + PADDING },
    ]),
  );
  return { w, h, spare: Math.max(1, Math.floor((right - left) / CELL.w + 1e-9)), points: centred };
}

/** The layout before with newcomers in free places; undefined where there is no room for them. */
function grown({ groups }: LayoutInput, before: Layout): Layout | undefined {
  const boxes = new Map(before.boxes);
  const points = new Map(before.points);
  let foot = Math.max(0, ...[...boxes.values()].map(({ y, h }) => y + h / 2)) + GAP;
  for (const { id, places } of groups) {
    const box = boxes.get(id);
    if (box === undefined) {
      const of = room(places, []);
      const left = Math.min(0, ...[...before.boxes.values()].map(({ x, w }) => x - w / 2));
      const at = { x: left + of.w / 2, y: foot + of.h / 2 };
      foot += of.h + GAP;
      boxes.set(id, { ...at, w: of.w, h: of.h, spare: of.spare });
      for (const [place, { x, y }] of of.points) points.set(place, { x: at.x + x, y: at.y + y });
      continue;
    }
    const all = Math.max(1, Math.floor((box.w - 2 * PADDING) / CELL.w + 1e-9));
    let { spare } = box;
    for (const place of places) {
      if (points.has(place)) continue;
      if (spare === 0) return undefined;
      const column = all - spare--;
      const left = box.x - box.w / 2 + PADDING + CELL.w * 0.2;
      points.set(place, { x: left + column * CELL.w, y: box.y + box.h / 2 - PADDING - CELL.h / 2 });
    }
    boxes.set(id, { ...box, spare });
  }
  return { boxes, points };
}

/** The rectangle around everything, with room for a name at its right. */
export function extentOf({ boxes }: Layout): { x: [number, number]; y: [number, number] } {
  const all = [...boxes.values()];
  if (all.length === 0) return { x: [0, 1], y: [0, 1] };
  return {
    x: [
      Math.min(...all.map(({ x, w }) => x - w / 2)),
      Math.max(...all.map(({ x, w }) => x + w / 2)) + CELL.w,
    ],
    y: [Math.min(...all.map(({ y, h }) => y - h / 2)), Math.max(...all.map(({ y, h }) => y + h / 2))],
  };
}

/** The group whose room holds a point. */
export function boxAt({ boxes }: Layout, { x, y }: Point): string | undefined {
  for (const [id, box] of boxes)
    if (Math.abs(x - box.x) <= box.w / 2 && Math.abs(y - box.y) <= box.h / 2) return id;
  return undefined;
}
