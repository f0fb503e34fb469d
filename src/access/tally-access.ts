import type { Action } from './action.ts';
import { canonicalEndpoint, type Endpoint } from './endpoint.ts';
import { addCall, addInstance, type Evidence, emptyEvidence, type Outcome } from './evidence.ts';
import { COLLAPSED_WHOLLY, collapseHard, collapsePath, isCollapsed, MAX_PATHS } from './path-limit.ts';

/** Which end's proxy or library wrote the record. The same call may be seen from both. */
export type Side = 'caller' | 'callee';

/** An access as a recording names it, before identities are decided. */
export interface RecordedAccess {
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly action: Action;
  readonly side: Side;
  readonly evidence: Evidence;
}

/**
 * Most accesses kept of one recording in which an end is a bare address or host name. Whoever can call from many
 * addresses, or with many Host headers, would fill memory and the state with them: further ones are `unknown`.
 */
export const MAX_STRANGER_ACCESSES = 100_000;

/** One recorded access that calls can be added to. Keep it and call it again: finding it costs more than using it. */
export class Counter implements RecordedAccess {
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly action: Action;
  readonly side: Side;
  readonly evidence: Evidence = emptyEvidence();

  constructor(from: Endpoint, to: Endpoint, action: Action, side: Side, source: string) {
    this.from = from;
    this.to = to;
    this.action = action;
    this.side = side;
    this.evidence.sources.add(source);
  }

  /** Adds `n` calls at `at` (milliseconds since 1970 UTC); `instance` names the caller's pod, host or address. */
  add(at: number, outcome: Outcome, instance?: string, n = 1): void {
    addCall(this.evidence, at, outcome, n);
    if (instance !== undefined) addInstance(this.evidence, instance);
  }
}

/** The accesses of a tally in the order in which they were first seen, and how many have a {@link Pair.stranger}. */
export interface Accesses {
  readonly all: Counter[];
  strangers: number;
}

/** What accesses of one pair have in common, and the rest of each action -> its counter. */
interface Place {
  readonly kind: Action['kind'];
  readonly port: number;
  readonly method: string;
  readonly counters: Map<string, Counter>;
  /** How many actions of the port are known, in one object for all places of it. */
  readonly onPort: { known: number };
}

/** A caller and a callee as a recording names them, and the accesses between them. Made by {@link Tally.pair}. */
export class Pair {
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly side: Side;
  readonly #source: string;
  readonly #accesses: Accesses;
  /** Gives the pair that stands in for this one when there are too many strangers; absent where neither end is one. */
  readonly #others: (() => Pair) | undefined;
  /** The place of the last action: the next one mostly has the same. */
  #last: Place | undefined;
  /** All places, and one for each port. Made for the second place: strangers by the thousand have one. */
  #places: Map<string, Place> | undefined;
  #ports: Map<number, Place> | undefined;

  constructor(
    from: Endpoint,
    to: Endpoint,
    side: Side,
    source: string,
    accesses: Accesses,
    others: (() => Pair) | undefined,
  ) {
    this.from = canonicalEndpoint(from);
    this.to = canonicalEndpoint(to);
    this.side = side;
    this.#source = source;
    this.#accesses = accesses;
    this.#others = others;
  }

  /** The counter of an action between the two, as {@link Tally.access} gives it. */
  access(action: Action): Counter {
    const place = this.#placeOf(action);
    const known = place?.counters.get(restOf(action));
    if (known !== undefined) return known;
    const onPort = this.#onPort(action.port);
    const kept = withinLimit(action, onPort);
    const keptPlace = kept === action ? place : this.#placeOf(kept);
    const same = keptPlace?.counters.get(restOf(kept));
    if (same !== undefined) return same;
    if (this.#others !== undefined) {
      if (this.#accesses.strangers >= MAX_STRANGER_ACCESSES) return this.#others().access(action);
      this.#accesses.strangers++;
    }
    const { counters } = keptPlace ?? this.#newPlace(kept, onPort);
    const counter = new Counter(this.from, this.to, kept, this.side, this.#source);
    counters.set(restOf(kept), counter);
    this.#accesses.all.push(counter);
    return counter;
  }

  /** The counters of the pair in groups whose actions are of one kind, port and HTTP method. */
  *counters(): Generator<Iterable<Counter>> {
    const only = this.#last === undefined ? [] : [this.#last];
    for (const { counters } of this.#places?.values() ?? only) yield counters.values();
  }

  /** The place of an action, where it has one: it gets one with its first counter. */
  #placeOf(action: Action): Place | undefined {
    const { kind, port } = action;
    const method = action.kind === 'http' ? action.method : '';
    const last = this.#last;
    if (last !== undefined && last.kind === kind && last.port === port && last.method === method) return last;
    const place = this.#places?.get(placeKey({ kind, port, method }));
    if (place !== undefined) this.#last = place;
    return place;
  }

  #onPort(port: number): Place['onPort'] {
    const place = this.#last?.port === port ? this.#last : this.#ports?.get(port);
    return place?.onPort ?? { known: 0 };
  }

  #newPlace(action: Action, onPort: Place['onPort']): Place {
    const { kind, port } = action;
    const method = action.kind === 'http' ? action.method : '';
    const place: Place = { kind, port, method, counters: new Map(), onPort };
    const first = this.#last;
    if (first !== undefined) {
      this.#places ??= new Map([[placeKey(first), first]]);
      this.#ports ??= new Map([[first.port, first]]);
      this.#places.set(placeKey(place), place);
      this.#ports.set(port, place);
    }
    this.#last = place;
    return place;
  }
}

function placeKey({ kind, port, method }: Pick<Place, 'kind' | 'port' | 'method'>): string {
  return `${kind} ${port} ${method}`;
}

/** Counts what one caller does to one callee on one port; methods and services are the caller's to invent, too. */
function withinLimit(action: Action, onPort: Place['onPort']): Action {
  if (action.kind === 'tcp' || (action.kind === 'http' && isCollapsed(action.path))) return action;
  const { port } = action;
  const known = onPort.known++;
  if (known < MAX_PATHS) return action;
  if (action.kind === 'grpc') return { kind: 'http', port, method: 'POST', path: COLLAPSED_WHOLLY };
  // Values without a recognisable shape would fill a second table of the same size: past it, only the first word stays.
  if (known < 2 * MAX_PATHS) return { ...action, path: collapsePath(action.path) };
  if (known < 3 * MAX_PATHS) return { ...action, path: collapseHard(action.path) };
  return { kind: 'http', port, method: 'GET', path: COLLAPSED_WHOLLY };
}

/** What tells an action from others of one kind, port and method. */
function restOf(action: Action): string {
  if (action.kind === 'http') return action.path;
  return action.kind === 'grpc' ? `${action.service}/${action.method}` : '';
}
