import { type Group, joined, type Line, lineId, type MapModel, type Place } from './model.ts';

/** What is drawn: groups that are closed, places of groups that are open, and the lines between those. */
export interface Shown {
  readonly groups: readonly Group[];
  readonly places: readonly Place[];
  readonly lines: readonly Line[];
}

/** The map with these groups open. Calls inside a closed group are in its node, not on a line. */
export function shownOf(model: MapModel, open: ReadonlySet<string>): Shown {
  const groups: Group[] = [];
  const places: Place[] = [];
  for (const group of model.groups.values()) {
    if (open.has(group.id)) places.push(...group.places);
    else groups.push(group);
  }
  const standsFor = (id: string) => {
    const group = model.places.get(id)?.group ?? id;
    return open.has(group) ? id : group;
  };
  const lines = new Map<string, Line>();
  for (const line of model.lines) {
    const from = standsFor(line.from);
    const to = standsFor(line.to);
    if (from === to && from !== line.from) continue;
    const id = lineId(from, to);
    const known = lines.get(id);
    if (known !== undefined) lines.set(id, joined(known, line));
    else lines.set(id, from === line.from && to === line.to ? line : { ...line, id, from, to });
  }
  return { groups, places, lines: [...lines.values()] };
}

/** Up to so many places, all are shown from the start. */
export const ALL_OPEN = 60;

/** The groups that are open at first. */
export function openAtFirst(model: MapModel): ReadonlySet<string> {
  return new Set(model.places.size <= ALL_OPEN ? model.groups.keys() : []);
}

/** The pairs of workloads that something shown stands for: a place, a group, or a line between two of those. */
export function pairsOf(model: MapModel, selected: string): Line[] {
  const ends = selected.split('\n');
  const [from = '', to] = ends;
  const isIn = (id: string, end: string) => id === end || model.places.get(id)?.group === end;
  return model.lines.filter((line) =>
    to === undefined
      ? isIn(line.from, from) || isIn(line.to, from)
      : isIn(line.from, from) && isIn(line.to, to),
  );
}

/** What is selected under its present name: a place of a closed group stays selected, shown by the group. */
export function shownAs(model: MapModel, open: ReadonlySet<string>, id: string): string {
  const group = model.places.get(id)?.group;
  return group === undefined || open.has(group) ? id : group;
}

/** Places and groups whose name or ID has the text in it, those that begin with it first. At most `most`. */
export function found(model: MapModel, text: string, most = 20): (Place | Group)[] {
  const wanted = text.trim().toLowerCase();
  if (wanted === '') return [];
  const hits: { rank: number; name: string; of: Place | Group }[] = [];
  const look = (of: Place | Group) => {
    const name = of.name.toLowerCase();
    const rank = name.startsWith(wanted)
      ? 0
      : name.includes(wanted)
        ? 1
        : of.id.toLowerCase().includes(wanted)
          ? 2
          : 3;
    if (rank < 3) hits.push({ rank, name, of });
  };
  for (const group of model.groups.values()) look(group);
  for (const place of model.places.values()) look(place);
  hits.sort((a, b) => a.rank - b.rank || (a.name < b.name ? -1 : Number(a.name > b.name)));
  return hits.slice(0, most).map(({ of }) => of);
}
