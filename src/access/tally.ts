import type { Action } from './action.ts';
import { canonicalEndpoint, type Endpoint, endpointKey } from './endpoint.ts';
import type { Attribution, Fact } from './inventory/facts.ts';
import { type Accesses, type Counter, MAX_STRANGER_ACCESSES, Pair, type Side } from './tally-access.ts';

/** Kinds of what a recording shows to be missing from it. */
export const BLIND_SPOTS = {
  /** A client span whose server side never showed up: the callee is not instrumented, or not recorded. */
  'client-only': 'called, but the callee left no record of it',
  /** A server span or log line whose caller left no record and has no identity. */
  'unknown-caller': 'called by someone outside the recorded set',
  /** Two services linked through a message broker: the connections go to the broker, which is not recorded. */
  messaging: 'exchanges messages through a broker that is not in the recording',
  /** A span whose parent never showed up. */
  'missing-parent': 'a span whose parent is not in the recording',
  /** Connections recorded without the requests inside them. */
  'l4-only': 'connections recorded without the requests inside them',
  /** An address that more than one workload may have held at that time, or that none is known to have held. */
  'unattributed-address': 'an address that cannot be attributed to one workload',
  /** A Service that selects several workloads: which of them was called is not known. */
  'ambiguous-callee': 'a Service that selects several workloads',
  /** Sampled traces: rare paths are the first to be lost. */
  sampled: 'a sampled recording: rare calls are the first to be lost',
} as const;
export type BlindSpotKind = keyof typeof BLIND_SPOTS;

/** Something that happened and was not fully seen. Counts add up; a late match may add a negative count. */
export interface BlindSpot {
  readonly kind: BlindSpotKind;
  readonly from: Endpoint;
  readonly to: Endpoint;
  /** What was called, as far as it is known: an operation, a destination, an address. */
  readonly what: string;
  /** The action, where the record states one. */
  readonly action?: Action;
  count: number;
  firstSeen: number;
  lastSeen: number;
}

/** Why input was left out. Each reason is counted, and its first line shown. */
export interface Skip {
  readonly reason: string;
  count: number;
  /** Line number (from 1) of the first one, 0 where the format has no lines. */
  readonly firstLine: number;
  /** The first one, clipped to {@link SAMPLE_LENGTH} characters. */
  readonly sample: string;
}

/** How much of a skipped line is kept to be shown. */
export const SAMPLE_LENGTH = 160;

/**
 * What one recording said, added up while it is read. A source writes into it; nothing else does. It knows
 * nothing of files and does no I/O.
 */
export class Tally {
  readonly source: string;
  /** Records (lines, spans, objects) read, and how many of them were taken in. */
  read = 0;
  accepted = 0;
  /** Time span of what was accepted, milliseconds since 1970 UTC. */
  firstSeen = Number.POSITIVE_INFINITY;
  lastSeen = Number.NEGATIVE_INFINITY;
  readonly #attribution: Attribution;
  readonly #pairs = new Map<string, Pair>();
  readonly #accesses: Accesses = { all: [], strangers: 0 };
  readonly #blindSpots = new Map<string, BlindSpot>();
  readonly #skips = new Map<string, Skip>();
  readonly #facts = new Map<string, Fact>();
  /** Events that the recording itself says were lost, by who lost them. */
  readonly lost = new Map<string, number>();

  constructor(source: string, attribution: Attribution = { attribute: () => undefined }) {
    this.source = source;
    this.#attribution = attribution;
  }

  /**
   * The counter of one access; the same endpoints, action and side give the same counter. Past
   * {@link MAX_PATHS} actions of one caller on one port of one callee, further ones are collapsed; past
   * {@link MAX_STRANGER_ACCESSES}, further addresses and host names are one.
   */
  access(from: Endpoint, to: Endpoint, action: Action, side: Side): Counter {
    return this.pair(from, to, side).access(action);
  }

  /** The two ends of accesses. Keep it for the next one of them: finding it costs more than finding an action. */
  pair(from: Endpoint, to: Endpoint, side: Side): Pair {
    const key = `${endpointKey(from)}\n${endpointKey(to)}\n${side}`;
    const known = this.#pairs.get(key);
    if (known !== undefined) return known;
    const stranger = isStranger(from) || isStranger(to);
    if (stranger && this.#accesses.strangers >= MAX_STRANGER_ACCESSES) {
      return this.pair(withoutStranger(from), withoutStranger(to), side);
    }
    const others = () => this.pair(withoutStranger(from), withoutStranger(to), side);
    const pair = new Pair(from, to, side, this.source, this.#accesses, stranger ? others : undefined);
    this.#pairs.set(key, pair);
    return pair;
  }

  /** Who held `ip` at `at`, as far as the inventory knows without doubt; else the bare address. */
  endpointOfIp(ip: string, at: number): Endpoint {
    return this.#attribution.attribute(ip, at, at) ?? { ip };
  }

  /** Widens the time that the recording covers. Call it for every accepted record. */
  cover(at: number): void {
    if (at < this.firstSeen) this.firstSeen = at;
    if (at > this.lastSeen) this.lastSeen = at;
  }

  /** Notes something that happened and was not fully seen. */
  blindSpot(spot: Omit<BlindSpot, 'count' | 'firstSeen' | 'lastSeen'>, at: number, n = 1): void {
    const key = `${spot.kind}\n${endpointKey(spot.from)}\n${endpointKey(spot.to)}\n${spot.what}`;
    const known = this.#blindSpots.get(key);
    if (known === undefined) {
      this.#blindSpots.set(key, {
        ...spot,
        from: canonicalEndpoint(spot.from),
        to: canonicalEndpoint(spot.to),
        count: n,
        firstSeen: at,
        lastSeen: at,
      });
      return;
    }
    known.count += n;
    if (at < known.firstSeen) known.firstSeen = at;
    if (at > known.lastSeen) known.lastSeen = at;
  }

  /**
   * Counts input that was left out, by reason. `line` counts from 1; `sample` is the input itself. The one that
   * is shown is that of the lowest line, so that the parts of a recording can be added up in any order.
   */
  skip(reason: string, line: number, sample: string, n = 1): void {
    const known = this.#skips.get(reason);
    if (known !== undefined && known.firstLine <= line) {
      known.count += n;
      return;
    }
    const count = n + (known?.count ?? 0);
    this.#skips.set(reason, { reason, count, firstLine: line, sample: sample.slice(0, SAMPLE_LENGTH) });
  }

  /** Counts events that the recording says were lost. `by` names who lost them (a node, a ring buffer). */
  lose(by: string, n: number): void {
    this.lost.set(by, (this.lost.get(by) ?? 0) + n);
  }

  /** Adds what an inventory says of one object. */
  fact(key: string, fact: Fact): void {
    this.#facts.set(key, fact);
  }

  pairs(): Iterable<Pair> {
    return this.#pairs.values();
  }

  accesses(): Iterable<Counter> {
    return this.#accesses.all;
  }

  get accessCount(): number {
    return this.#accesses.all.length;
  }

  blindSpots(): Iterable<BlindSpot> {
    return this.#blindSpots.values();
  }

  skips(): Iterable<Skip> {
    return this.#skips.values();
  }

  facts(): Iterable<Fact> {
    return this.#facts.values();
  }
}

/** Whether an end is known by an address or a host name alone. */
function isStranger(end: Endpoint): boolean {
  const { spiffeId, serviceAccount, workload, pod, host, ip } = end;
  return (spiffeId ?? serviceAccount ?? workload ?? pod) === undefined && (host ?? ip) !== undefined;
}

function withoutStranger(end: Endpoint): Endpoint {
  return isStranger(end) ? { entity: 'unknown' } : end;
}
