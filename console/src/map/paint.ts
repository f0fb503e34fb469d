import type { Shown } from './group.ts';
import { type Kind, KIND, type Layers, shownKind } from './kinds.ts';
import type { Group, Line, Place } from './model.ts';

export type Scheme = 'light' | 'dark';

/** Length of a dash, of the gap after it, and of a dot between two gaps (0: none), in pixels; no gap is a whole line. */
export type Dash = readonly [on: number, off: number, dot: number];

/** The form of each kind, which says the same as its colour. */
export const DASH: Readonly<Record<Kind, Dash>> = {
  'would-deny': [11, 4, 0],
  denied: [4, 3, 0],
  plaintext: [10, 4, 3],
  unused: [2, 4, 0],
  declared: [6, 6, 0],
  possible: [1.5, 7, 0],
  open: [1, 0, 0],
  allowed: [1, 0, 0],
};

/** The colours of the console's style sheet, for what is drawn on a canvas; `open`, `possible` and the grounds are the map's own. */
export const INK: Readonly<
  Record<Scheme, Readonly<Record<Kind | 'fresh' | 'text' | 'dim' | 'ground' | 'room', string>>>
> = {
  light: {
    'would-deny': '#a03f00',
    denied: '#c01c1c',
    plaintext: '#862e9c',
    unused: '#5c636a',
    declared: '#5c636a',
    possible: '#8b939b',
    open: '#7088a3',
    allowed: '#08705a',
    fresh: '#0b5fb0',
    text: '#1a1d20',
    dim: '#5c636a',
    ground: '#ffffff',
    room: '#f5f7f9',
  },
  dark: {
    'would-deny': '#ffa94d',
    denied: '#ff8f8f',
    plaintext: '#e599f7',
    unused: '#a3abb3',
    declared: '#a3abb3',
    possible: '#6c747c',
    open: '#6f88a3',
    allowed: '#5fd6b8',
    fresh: '#74c0fc',
    text: '#e6e9ec',
    dim: '#a3abb3',
    ground: '#17191b',
    room: '#1d2023',
  },
};

/** The stages in the order of the lifecycle; how full a node is says how far it has come. */
const STAGE_FILL: Readonly<Record<string, number>> = {
  none: 0,
  draft: 0.3,
  shadow: 0.55,
  canary: 0.8,
  enforced: 1,
};

/** What a node is drawn as: a workload is a disc, a group a square, a caller without an identity a diamond. */
export interface NodeLook {
  readonly label: string;
  readonly size: number;
  readonly color: string;
  /** Share of the node that is filled, from the middle. */
  readonly fill: number;
  readonly shape: 0 | 1 | 2;
  readonly isFaded: boolean;
  readonly zIndex: number;
  readonly forceLabel: boolean;
}

/** What a line is drawn as. */
export interface LineLook {
  readonly from: string;
  readonly to: string;
  readonly kind: Kind;
  readonly color: string;
  readonly size: number;
  readonly dash: Dash;
  /** Said in the middle of the line; "" where there is nothing to say. */
  readonly label: string;
  /** Colour of what is said: that of the kind where the kind is said, else that of what is new. */
  readonly labelInk: string;
  readonly zIndex: number;
}

export interface Painted {
  readonly nodes: ReadonlyMap<string, NodeLook>;
  readonly lines: ReadonlyMap<string, LineLook>;
}

export interface PaintOptions {
  readonly layers: Layers;
  readonly scheme: Scheme;
  /** A node or a line under its present name: what does not touch it is faded. */
  readonly selected?: string | undefined;
}

const ALL_LABELLED = 150;
const MOST_LABELLED = 1200;
/** What is said of many is not unusual: above so many lines the filter tells them apart. */
const FEW_LONE = 12;

/** The looks of what is shown. */
export function paint(shown: Shown, { layers, scheme, selected }: PaintOptions): Painted {
  const ink = INK[scheme];
  const isSelected = selectedTest(shown, selected);
  const seen = shown.lines.flatMap((line) => {
    const kind = shownKind(line, layers);
    return kind === undefined ? [] : [{ line, kind }];
  });
  const near = nearOf(shown, seen, layers, selected, isSelected);
  const nodes = new Map<string, NodeLook>();
  const look = (of: Group | Place) => {
    const isFaded = near !== undefined && !near.has(of.id);
    nodes.set(of.id, nodeLook(of, ink, isFaded, of.id === selected));
  };
  for (const group of shown.groups) look(group);
  for (const place of shown.places) look(place);
  const lines = new Map<string, LineLook>();
  // The more lines, the fewer of them speak: all that stand out, what would break or is new, only those of the selected.
  const says = selected !== undefined || shown.lines.length <= ALL_LABELLED ? 'all' : 'urgent';
  const isSilent = selected === undefined && shown.lines.length > MOST_LABELLED;
  const lone = seen.filter(({ line }) => line.lone > 0 && isSelected?.(line) !== false).length;
  const saysLone = says === 'all' && lone <= FEW_LONE;
  for (const { line, kind } of seen) {
    const quiet = kind === 'allowed' || kind === 'open' ? calm(shown.lines.length) : '';
    const isNear = isSelected === undefined || isSelected(line);
    lines.set(line.id, {
      from: line.from,
      to: line.to,
      kind,
      color: isNear ? ink[kind] + (selected === undefined ? quiet : '') : faded(ink[kind]),
      size: thickness(line, kind),
      dash: DASH[kind],
      label: isNear && !isSilent ? lineLabel(line, kind, says, saysLone) : '',
      labelInk: isFinding(kind) ? ink[kind] : ink.fresh,
      zIndex: isNear ? Z[kind] : 0,
    });
  }
  return { nodes, lines };
}

/** What has to be looked at lies over the rest. */
const Z: Readonly<Record<Kind, number>> = {
  possible: 1,
  declared: 1,
  unused: 2,
  open: 3,
  allowed: 3,
  plaintext: 4,
  'would-deny': 5,
  denied: 6,
};

/** Whether a line is of what is selected: a line, a node, or a group by any of its places. */
function selectedTest(
  { places }: Shown,
  selected: string | undefined,
): ((line: Line) => boolean) | undefined {
  if (selected === undefined) return undefined;
  const ends = new Set([selected, ...places.filter(({ group }) => group === selected).map(({ id }) => id)]);
  return ({ id, from, to }) => id === selected || ends.has(from) || ends.has(to);
}

/** What is not out of the way: the selected with those it is seen with, or the ends of what was asked for. All where nothing was. */
function nearOf(
  { places }: Shown,
  seen: readonly { readonly line: Line }[],
  { marks }: Layers,
  selected: string | undefined,
  isSelected: ((line: Line) => boolean) | undefined,
): ReadonlySet<string> | undefined {
  if (selected === undefined && marks.size === 0) return undefined;
  const near = new Set(selected?.split('\n'));
  for (const { id, group } of places) if (group === selected) near.add(id);
  for (const { line } of seen) {
    if (isSelected?.(line) === false) continue;
    near.add(line.from);
    near.add(line.to);
  }
  return near;
}

/** The more lines there are, the less the ordinary ones cover those that have to be looked at: an alpha in hex. */
function calm(lines: number): string {
  return lines < 60 ? '' : lines < 300 ? 'a0' : lines < 1000 ? '50' : '30';
}

function nodeLook(
  of: Group | Place,
  ink: (typeof INK)[Scheme],
  isFaded: boolean,
  isSelected: boolean,
): NodeLook {
  const isGroup = 'places' in of;
  const isStranger = isGroup ? of.isStrangers : of.kind === 'unauthenticated';
  const stages = isGroup ? of.places.map(({ stage }) => stage) : [of.stage];
  const isReleased = isGroup ? of.places.some((place) => place.isReleased) : of.isReleased;
  const color = isStranger
    ? ink.plaintext
    : isReleased
      ? ink['would-deny']
      : isSelected
        ? ink.fresh
        : ink.dim;
  const fill = stages.reduce((sum, stage) => sum + (STAGE_FILL[stage] ?? 0), 0) / Math.max(1, stages.length);
  return {
    label: isGroup ? `${of.name} (${of.places.length})` : of.name,
    size: isGroup ? Math.min(22, 7 + 2 * Math.sqrt(of.places.length)) : 6,
    color: isFaded ? faded(color) : color,
    fill: isStranger ? 1 : fill,
    shape: isStranger ? 2 : isGroup ? 1 : 0,
    isFaded,
    zIndex: isFaded ? 0 : 1,
    forceLabel: isSelected,
  };
}

/** Pixels: a tenfold of calls is a little more. */
function thickness({ calls, pairs }: Line, kind: Kind): number {
  const base = kind === 'would-deny' || kind === 'denied' ? 1.8 : kind === 'possible' ? 1 : 1.2;
  return base + Math.min(2, 0.18 * Math.log10(1 + calls) + 0.25 * Math.log10(pairs));
}

/** The sign of a kind that has to be looked at, with its count, and the marks. */
export function lineLabel(
  { counts, fresh, lone }: Line,
  kind: Kind,
  says: 'all' | 'urgent',
  saysLone: boolean,
): string {
  // Among many lines the form of one that would be denied says so: a number is only said where it says more.
  const isSaid =
    says === 'all'
      ? isFinding(kind)
      : kind === 'denied' || (kind === 'would-deny' && counts['would-deny'] > 1);
  const parts = isSaid ? [`${KIND[kind].sign} ${counts[kind]}`] : [];
  if (fresh > 0) parts.push(`new ${fresh}`);
  if (lone > 0 && saysLone) parts.push('unusual');
  return parts.join(' · ');
}

const isFinding = (kind: Kind) => kind === 'would-deny' || kind === 'denied' || kind === 'plaintext';

/** The same colour at a tenth: there, and out of the way. */
function faded(color: string): string {
  return `${color}1f`;
}

/** A number as people read it at a glance: 950, 12k, 3.4M. */
export function short(n: number): string {
  if (n < 1000) return String(n);
  const [unit, by] =
    n < 1e6 ? (['k', 1e3] as const) : n < 1e9 ? (['M', 1e6] as const) : (['G', 1e9] as const);
  const value = n / by;
  return `${value < 10 ? Math.floor(value * 10) / 10 : Math.floor(value)}${unit}`;
}
