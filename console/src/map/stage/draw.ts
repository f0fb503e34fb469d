import type Sigma from 'sigma';
import type {
  EdgeLabelDrawingFunction,
  NodeHoverDrawingFunction,
  NodeLabelDrawingFunction,
} from 'sigma/rendering';
import type { Layout } from '../layout.ts';
import type { MapModel } from '../model.ts';
import { INK, type Scheme } from '../paint.ts';
import { ASIDE_PX } from './edge-program.ts';
import type { Written } from './label-space.ts';

/** What the rooms are drawn of. */
export interface Rooms {
  readonly layout: Layout;
  readonly model: MapModel | undefined;
  readonly open: ReadonlySet<string>;
  readonly selected: string | undefined;
  readonly ink: (typeof INK)[Scheme];
}

/** The rooms of open groups, under the lines, and their names, over them: what belongs together. */
export function drawRooms(
  ground: CanvasRenderingContext2D,
  names: CanvasRenderingContext2D,
  sigma: Sigma,
  { layout, model, open, selected, ink }: Rooms,
): void {
  const { width, height } = sigma.getDimensions();
  for (const context of [ground, names]) context.clearRect(0, 0, width, height);
  names.font = '600 12px Inter, system-ui, sans-serif';
  names.textBaseline = 'bottom';
  names.lineJoin = 'round';
  names.lineWidth = 4;
  for (const [id, box] of layout.boxes) {
    const group = open.has(id) ? model?.groups.get(id) : undefined;
    if (group === undefined) continue;
    const a = sigma.graphToViewport({ x: box.x - box.w / 2, y: -(box.y - box.h / 2) });
    const b = sigma.graphToViewport({ x: box.x + box.w / 2, y: -(box.y + box.h / 2) });
    if (b.x < 0 || a.x > width || b.y < 0 || a.y > height) continue;
    ground.beginPath();
    ground.roundRect(a.x, a.y, b.x - a.x, b.y - a.y, 6);
    ground.fillStyle = ink.room;
    ground.fill();
    ground.lineWidth = id === selected ? 2 : 1;
    ground.strokeStyle = id === selected ? ink.fresh : `${ink.dim}55`;
    ground.stroke();
    if (b.x - a.x < 36) continue;
    names.strokeStyle = ink.ground;
    names.fillStyle = id === selected ? ink.fresh : ink.dim;
    // The name stays in view while any of its room does.
    const [x, y] = [Math.max(a.x, 4) + 2, Math.max(a.y, 18) - 3];
    names.strokeText(group.name, x, y);
    names.fillText(group.name, x, y);
  }
}

/** The scheme by its label colour: sigma hands the settings, and nothing else, to those who draw. */
const inkOf = (labelColor: { readonly color?: string | undefined }) =>
  labelColor.color === INK.light.text ? INK.light : INK.dark;

const clipped = (text: string, most = 28) => (text.length <= most ? text : `${text.slice(0, most - 1)}…`);

/**
 * A name right of its node, with a seam of the ground's colour so that lines do not cut it. Where another name stands
 * already it is left out, until one zooms in or points at it; that of the selected is always written.
 */
export const drawNodeLabel =
  ({ names, all }: Written): NodeLabelDrawingFunction =>
  (context, data, { labelSize, labelFont, labelWeight, labelColor }) => {
    if (typeof data.label !== 'string' || data.label === '') return;
    const ink = inkOf(labelColor);
    // Sigma's type of what it hands over leaves the node's own attributes out.
    const isFaded = Reflect.get(data, 'isFaded') === true;
    context.font = `${labelWeight} ${labelSize}px ${labelFont}`;
    context.textBaseline = 'middle';
    context.lineJoin = 'round';
    const text = clipped(data.label);
    const { x, y, size } = data;
    all.take({ x: x - size, y: y - size, w: 2 * size, h: 2 * size });
    const name = { x: x + size + 2, y: y - 8, w: context.measureText(text).width + 4, h: 16 };
    const isForced = Reflect.get(data, 'forceLabel') === true;
    if (!isForced && !names.isFree(name)) return;
    for (const space of [names, all]) space.take(name);
    context.lineWidth = 5;
    context.globalAlpha = isFaded ? 0.35 : 1;
    context.strokeStyle = ink.ground;
    context.fillStyle = ink.text;
    context.strokeText(text, data.x + data.size + 4, data.y);
    context.fillText(text, data.x + data.size + 4, data.y);
    context.globalAlpha = 1;
    context.textBaseline = 'alphabetic';
  };

/** The whole name under the pointer. */
export const drawHover: NodeHoverDrawingFunction = (context, data, settings) => {
  if (typeof data.label !== 'string') return;
  const ink = inkOf(settings.labelColor);
  context.font = `600 ${settings.labelSize}px ${settings.labelFont}`;
  const width = context.measureText(data.label).width;
  context.beginPath();
  context.roundRect(data.x + data.size + 1, data.y - 10, width + 8, 20, 4);
  context.fillStyle = ink.ground;
  context.fill();
  context.lineWidth = 1;
  context.strokeStyle = ink.dim;
  context.stroke();
  context.fillStyle = ink.text;
  context.textBaseline = 'middle';
  context.fillText(data.label, data.x + data.size + 4, data.y);
  context.textBaseline = 'alphabetic';
};

/**
 * Where on a line its sign may stand, from its beginning: nearer to the callee than to the caller, as lines that leave
 * one caller part there.
 */
const PLACES = [0.58, 0.7, 0.45, 0.33];

/** The sign and count on a line, upright whatever way the line runs; left out where there is no place for it. */
export const drawEdgeLabel =
  ({ all }: Written): EdgeLabelDrawingFunction =>
  (context, edge, source, target, settings) => {
    if (typeof edge.label !== 'string' || edge.label === '') return;
    const [dx, dy] = [target.x - source.x, target.y - source.y];
    const far = Math.hypot(dx, dy);
    context.font = `600 ${settings.edgeLabelSize}px ${settings.edgeLabelFont}`;
    const width = context.measureText(edge.label).width;
    if (far < width + source.size + target.size + 24) return;
    const ink = inkOf(settings.labelColor);
    const rects = PLACES.map((share) => ({
      x: source.x + dx * share - (dy / far) * ASIDE_PX - width / 2 - 4,
      y: source.y + dy * share + (dx / far) * ASIDE_PX - 8,
      w: width + 8,
      h: 16,
    }));
    const rect = rects.find((each) => all.isFree(each));
    if (rect === undefined) return;
    all.take(rect);
    context.beginPath();
    context.roundRect(rect.x, rect.y, rect.w, rect.h, 8);
    context.fillStyle = ink.ground;
    context.fill();
    context.lineWidth = 1;
    // The line's own colour where the stage gave no other.
    context.strokeStyle = context.fillStyle = String(Reflect.get(edge, 'labelInk') ?? edge.color);
    context.stroke();
    context.textAlign = 'center';
    context.textBaseline = 'middle';
    context.fillText(edge.label, rect.x + rect.w / 2, rect.y + 8.5);
    context.textAlign = 'start';
    context.textBaseline = 'alphabetic';
  };
