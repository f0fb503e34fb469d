import {
  type AccessGraph,
  actionText,
  BLIND_SPOTS,
  type BlindSpotKind,
  principalText,
  shortNameOf,
  type SpiffeId,
} from '../../access/index.ts';
import { TemplateMatcher } from '../templates/index.ts';
import type { Unwritable } from './routes.ts';
import { placeKey, type Unit } from './units.ts';

/** Something a reviewer should know that is no rule and no doubt. Without a workload it is about the estate. */
export interface Remark {
  readonly workload?: SpiffeId;
  readonly what: string;
}

/** Overlaps named for one workload; the rest is counted. */
const MOST_OVERLAPS = 20;
/** Examples named in one remark; the rest is counted. */
const MOST_NAMED = 3;

/** What the recordings did not fully see of calls to `to`, one remark for each kind of blind spot. */
export function blindSpotRemarks(graph: AccessGraph, to: SpiffeId): Remark[] {
  const byKind = new Map<BlindSpotKind, { count: number; what: Set<string> }>();
  for (const spot of graph.blindSpots) {
    if (spot.to.kind !== 'workload' || spot.to.id !== to || spot.count <= 0) continue;
    const known = byKind.get(spot.kind) ?? { count: 0, what: new Set() };
    known.count += spot.count;
    known.what.add(spot.what);
    byKind.set(spot.kind, known);
  }
  return [...byKind]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([kind, { count, what }]) => ({
      workload: to,
      what: `blind spot: ${BLIND_SPOTS[kind]} (${count} times: ${named([...what].sort())}). No rule covers it.`,
    }));
}

/** Calls that reached `to` and that no rule can be written for. */
export function unwritableRemarks(to: SpiffeId, unwritable: readonly Unwritable[]): Remark[] {
  const byReason = new Map<string, { calls: number; what: Set<string> }>();
  for (const { what, reason, calls } of unwritable) {
    const known = byReason.get(reason) ?? { calls: 0, what: new Set() };
    known.calls += calls;
    known.what.add(what.length > 60 ? `${what.slice(0, 57)}...` : what);
    byReason.set(reason, known);
  }
  return [...byReason]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([reason, { calls, what }]) => ({
      workload: to,
      what: `${calls} ${calls === 1 ? 'call' : 'calls'} can have no rule and will be denied: ${named([...what].sort())}: ${reason}.`,
    }));
}

/**
 * Where a caller's `{name}` also matches a path that was seen only from others: a template has no exceptions, so
 * the rule lets that caller go there too.
 */
export function overlapRemarks(to: SpiffeId, units: readonly Unit[]): Remark[] {
  const patterns = new Map<string, { matcher: TemplateMatcher; own: Set<string>; unit: Unit }>();
  const literal = new Map<string, Unit>();
  for (const unit of units) {
    const { action, from } = unit;
    if (action.kind !== 'http') continue;
    const place = `${placeKey(from, action.port)}\n${action.method}`;
    const known = patterns.get(place) ?? { matcher: new TemplateMatcher(), own: new Set(), unit };
    if (action.path.includes('{')) known.matcher.add(action.path);
    known.own.add(action.path);
    patterns.set(place, known);
    literal.set(`${action.port} ${action.method} ${action.path}`, unit);
  }
  const found: string[] = [];
  for (const { matcher, own, unit } of patterns.values()) {
    if (matcher.size === 0 || unit.action.kind !== 'http') continue;
    for (const { action } of literal.values()) {
      if (action.kind !== 'http' || own.has(action.path)) continue;
      if (action.method !== unit.action.method || action.port !== unit.action.port) continue;
      const wider = matcher.match(action.path);
      if (wider === undefined) continue;
      const from = unit.from.kind === 'workload' ? shortNameOf(unit.from.id) : principalText(unit.from);
      found.push(`${from} may also use ${actionText(action)}, because ${wider} matches it`);
    }
  }
  const shown = found.sort().slice(0, MOST_OVERLAPS);
  if (found.length > shown.length) shown.push(`and ${found.length - shown.length} more such overlaps`);
  return shown.map((what) => ({ workload: to, what: `${what}.` }));
}

function named(names: readonly string[]): string {
  const shown = names.slice(0, MOST_NAMED).join(', ');
  return names.length > MOST_NAMED ? `${shown} and ${names.length - MOST_NAMED} more` : shown;
}
