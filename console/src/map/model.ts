import { type Counts, countsOf, type GraphAnswer, KINDS } from './kinds.ts';

/** Where callers without an identity are gathered. */
export const STRANGERS = 'group:unauthenticated';

/** A workload, or a caller without an identity. */
export interface Place {
  readonly id: string;
  readonly kind: 'workload' | 'unauthenticated';
  readonly name: string;
  readonly group: string;
  /** "none" where no policy protects it. */
  readonly stage: string;
  readonly isReleased: boolean;
}

/** A namespace with its workloads; all callers without an identity are one more group. */
export interface Group {
  readonly id: string;
  readonly name: string;
  readonly isStrangers: boolean;
  readonly places: readonly Place[];
}

/** Accesses from one place (or group) to another. */
export interface Line {
  readonly id: string;
  readonly from: string;
  readonly to: string;
  /** Pairs of workloads that it stands for. */
  readonly pairs: number;
  readonly accesses: number;
  readonly calls: number;
  readonly counts: Counts;
  /** Accesses that count as new. */
  readonly fresh: number;
  /** Pairs in it that are unusual. */
  readonly lone: number;
  readonly lastSeen?: number;
}

/** The estate as the map needs it: places in groups, and lines between places. */
export interface MapModel {
  readonly trustDomain: string;
  readonly groups: ReadonlyMap<string, Group>;
  readonly places: ReadonlyMap<string, Place>;
  readonly lines: readonly Line[];
  /** By the line's name, as {@link lineId} makes it. */
  readonly byId: ReadonlyMap<string, Line>;
  readonly isCut: boolean;
}

export const lineId = (from: string, to: string) => `${from}\n${to}`;
const byName = (a: { name: string; id: string }, b: { name: string; id: string }) =>
  a.name < b.name ? -1 : a.name > b.name ? 1 : a.id < b.id ? -1 : Number(a.id > b.id);

/** The model of a graph by workload. The order of nodes and edges in it does not matter. */
export function modelOf(graph: GraphAnswer): MapModel {
  const places = new Map<string, Place>();
  const members = new Map<string, Place[]>();
  for (const node of graph.nodes) {
    const isWorkload = node.kind !== 'unauthenticated';
    const group = isWorkload ? `group:ns/${node.namespace ?? ''}` : STRANGERS;
    const place: Place = {
      id: node.id,
      kind: isWorkload ? 'workload' : 'unauthenticated',
      name: nameOf(node.id, node.name, node.namespace) + foreignText(node.id, graph.trustDomain),
      group,
      stage: Object.keys(node.stages)[0] ?? 'none',
      isReleased: node.released > 0,
    };
    places.set(place.id, place);
    const known = members.get(group);
    if (known === undefined) members.set(group, [place]);
    else known.push(place);
  }
  const groups = [...members].map(([id, of]): Group => {
    const name = id === STRANGERS ? 'no identity' : id.slice('group:ns/'.length) || 'no namespace';
    return { id, name, isStrangers: id === STRANGERS, places: of.sort(byName) };
  });
  groups.sort(byName);
  const lines = linesOf(graph, places, groups);
  return {
    trustDomain: graph.trustDomain,
    groups: new Map(groups.map((group) => [group.id, group])),
    places,
    lines,
    byId: new Map(lines.map((line) => [line.id, line])),
    isCut: graph.isCut,
  };
}

/** The namespace is said by the group: the name of a workload in it goes without. */
function nameOf(id: string, name: string, namespace: string | undefined): string {
  const bare = id.startsWith('unauthenticated:') ? id.slice('unauthenticated:'.length) : name;
  return namespace !== undefined && bare.startsWith(`${namespace}/`)
    ? bare.slice(namespace.length + 1)
    : bare || 'unknown';
}

/** A workload of another trust domain says which: its namesake here is another one. */
function foreignText(id: string, trustDomain: string): string {
  if (!id.startsWith('spiffe://') || id.startsWith(`spiffe://${trustDomain}/`)) return '';
  return ` (${id.slice('spiffe://'.length).split('/')[0]})`;
}

/** The lines, in the order of their places. */
function linesOf(graph: GraphAnswer, places: ReadonlyMap<string, Place>, groups: readonly Group[]): Line[] {
  const rank = new Map(groups.flatMap((group) => group.places).map((place, i) => [place, i]));
  const ends: { edge: GraphAnswer['edges'][number]; from: Place; to: Place; rank: number }[] = [];
  const crossings = new Map<string, Map<string, number>>();
  for (const edge of graph.edges) {
    const from = places.get(edge.from);
    const to = places.get(edge.to);
    if (from === undefined || to === undefined) continue;
    ends.push({ edge, from, to, rank: (rank.get(from) ?? 0) * places.size + (rank.get(to) ?? 0) });
    if (edge.views.observed === 0) continue;
    const into = crossings.get(from.group) ?? new Map<string, number>();
    crossings.set(from.group, into.set(to.group, 1 + (into.get(to.group) ?? 0)));
  }
  const isLone = (from: Place, to: Place) =>
    from.group !== to.group && (from.group === STRANGERS || crossings.get(from.group)?.get(to.group) === 1);
  ends.sort((a, b) => a.rank - b.rank);
  return ends.map(({ edge, from, to }): Line => {
    const { accesses, calls, fresh, views, lastSeen } = edge;
    return {
      id: lineId(from.id, to.id),
      // The places' own texts: one string for all lines of a place is found faster than its copies.
      from: from.id,
      to: to.id,
      pairs: 1,
      accesses,
      calls,
      counts: countsOf(edge),
      fresh,
      lone: views.observed > 0 && isLone(from, to) ? 1 : 0,
      ...(lastSeen === undefined ? {} : { lastSeen }),
    };
  });
}

/** Two lines as one. */
export function joined(a: Line, b: Line): Line {
  const counts = Object.fromEntries(KINDS.map((kind) => [kind, a.counts[kind] + b.counts[kind]]));
  const lastSeen = Math.max(a.lastSeen ?? 0, b.lastSeen ?? 0);
  return {
    id: a.id,
    from: a.from,
    to: a.to,
    pairs: a.pairs + b.pairs,
    accesses: a.accesses + b.accesses,
    calls: a.calls + b.calls,
    counts: counts as Counts, // It has every kind: it was made from them.
    fresh: a.fresh + b.fresh,
    lone: a.lone + b.lone,
    ...(lastSeen === 0 ? {} : { lastSeen }),
  };
}
