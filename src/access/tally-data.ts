import type { Action } from './action.ts';
import type { Endpoint } from './endpoint.ts';
import { addInstance, type Evidence } from './evidence.ts';
import { type Fact, factKey } from './inventory/facts.ts';
import type { BlindSpot, Skip, Tally } from './tally.ts';
import type { Side } from './tally-access.ts';

/** Actions of one kind and port between two endpoints, and of one HTTP method or one gRPC service. */
interface ActionGroup {
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly side: Side;
  readonly kind: Action['kind'];
  readonly port: number;
  /** The HTTP method or the gRPC service; empty for a connection. */
  readonly name: string;
  /** The HTTP paths or the gRPC methods; one empty text for a connection. */
  readonly texts: string[];
}

/** A tally as plain data, to be sent to another thread (everything in it can be cloned; `numbers` transferred). */
export interface TallyData {
  readonly read: number;
  readonly accepted: number;
  readonly firstSeen: number;
  readonly lastSeen: number;
  readonly groups: readonly ActionGroup[];
  /** Names of instances and sources, each once. */
  readonly names: readonly string[];
  /**
   * The evidence of every text of every group, in their order: first and last seen, mutual, plaintext; how many
   * instances, sources and counts there are; then instances and sources as indexes into `names`, and the counts as
   * key and count by turns, with the keys of `Evidence.counts`.
   */
  readonly numbers: Float64Array<ArrayBuffer>;
  readonly blindSpots: readonly BlindSpot[];
  readonly skips: readonly Skip[];
  readonly facts: readonly Fact[];
  readonly lost: readonly (readonly [string, number])[];
}

/** Numbers of an access before its names and counts. */
const HEAD = 7;

/** Everything that a tally counted. */
export function exportTally(tally: Tally): TallyData {
  const { groups, evidence } = groupsOf(tally);
  const { read, accepted, firstSeen, lastSeen } = tally;
  return {
    read,
    accepted,
    firstSeen,
    lastSeen,
    groups,
    ...packed(evidence),
    blindSpots: [...tally.blindSpots()],
    skips: [...tally.skips()],
    facts: [...tally.facts()],
    lost: [...tally.lost],
  };
}

/** The actions of a tally, and their evidence in the same order. */
function groupsOf(tally: Tally): { groups: ActionGroup[]; evidence: Evidence[] } {
  const groups: ActionGroup[] = [];
  const evidence: Evidence[] = [];
  for (const pair of tally.pairs()) {
    const { from, to, side } = pair;
    for (const counters of pair.counters()) {
      for (const group of Map.groupBy(counters, ({ action }) => nameOf(action)).values()) {
        const action = group[0]?.action;
        if (action === undefined) continue;
        const texts = group.map((counter) => textOf(counter.action));
        groups.push({ from, to, side, kind: action.kind, port: action.port, name: nameOf(action), texts });
        for (const counter of group) evidence.push(counter.evidence);
      }
    }
  }
  return { groups, evidence };
}

function nameOf(action: Action): string {
  if (action.kind === 'http') return action.method;
  return action.kind === 'grpc' ? action.service : '';
}

function textOf(action: Action): string {
  if (action.kind === 'http') return action.path;
  return action.kind === 'grpc' ? action.method : '';
}

function actionOf({ kind, port, name }: ActionGroup, text: string): Action {
  if (kind === 'http') return { kind, port, method: name, path: text };
  return kind === 'grpc' ? { kind, port, service: name, method: text } : { kind, port };
}

function packed(evidence: readonly Evidence[]): Pick<TallyData, 'names' | 'numbers'> {
  let length = 0;
  for (const { instances, sources, counts } of evidence) {
    length += HEAD + instances.size + sources.size + 2 * counts.size;
  }
  const numbers = new Float64Array(length);
  const indexes = new Map<string, number>();
  let at = 0;
  const writeName = (name: string) => {
    let index = indexes.get(name);
    if (index === undefined) {
      index = indexes.size;
      indexes.set(name, index);
    }
    numbers[at++] = index;
  };
  for (const { firstSeen, lastSeen, mutual, plaintext, instances, sources, counts } of evidence) {
    numbers[at++] = firstSeen;
    numbers[at++] = lastSeen;
    numbers[at++] = mutual;
    numbers[at++] = plaintext;
    numbers[at++] = instances.size;
    numbers[at++] = sources.size;
    numbers[at++] = counts.size;
    instances.forEach(writeName);
    sources.forEach(writeName);
    at = counts.copyTo(numbers, at);
  }
  return { names: [...indexes.keys()], numbers };
}

/** Adds what another tally counted to this one: in any order to the same result. */
export function absorbTally(tally: Tally, data: TallyData): void {
  tally.read += data.read;
  tally.accepted += data.accepted;
  // Not cover(): where nothing was accepted, both are infinite and each may only widen its own side.
  tally.firstSeen = Math.min(tally.firstSeen, data.firstSeen);
  tally.lastSeen = Math.max(tally.lastSeen, data.lastSeen);
  let at = 0;
  for (const group of data.groups) {
    const pair = tally.pair(group.from, group.to, group.side);
    for (const text of group.texts) {
      at = absorbEvidence(pair.access(actionOf(group, text)).evidence, data, at);
    }
  }
  for (const { count, firstSeen, lastSeen, ...spot } of data.blindSpots) {
    tally.blindSpot(spot, firstSeen, count);
    tally.blindSpot(spot, lastSeen, 0);
  }
  for (const { reason, count, firstLine, sample } of data.skips) tally.skip(reason, firstLine, sample, count);
  for (const fact of data.facts) tally.fact(factKey(fact), fact);
  for (const [by, n] of data.lost) tally.lose(by, n);
}

/** Adds the evidence that is packed from `start` on; gives the place behind it. */
function absorbEvidence(into: Evidence, { names, numbers }: TallyData, start: number): number {
  // All places below are inside: packed() wrote as many numbers as it announced.
  const head = (i: number) => numbers[start + i] as number;
  into.firstSeen = Math.min(into.firstSeen, head(0));
  into.lastSeen = Math.max(into.lastSeen, head(1));
  into.mutual += head(2);
  into.plaintext += head(3);
  const [instances, sources, counts] = [head(4), head(5), head(6)];
  let at = start + HEAD;
  for (const end = at + instances; at < end; at++) addInstance(into, names[numbers[at] as number] as string);
  for (const end = at + sources; at < end; at++) into.sources.add(names[numbers[at] as number] as string);
  for (const end = at + 2 * counts; at < end; at += 2) {
    into.counts.add(numbers[at] as number, numbers[at + 1] as number);
  }
  return at;
}
