import {
  type Action,
  actionKey,
  type Principal,
  principalText,
  type SpiffeId,
  type Tally,
} from '../access/index.ts';
import type { Verdict } from '../policy/index.ts';
import type { Json } from './identity-store.ts';

/** Which report of whom: what was kept of the same epoch up to this number is not kept again. */
export interface ReportMark {
  readonly reporter: string;
  readonly epoch: string;
  /** A whole number from 1 on. */
  readonly sequence: number;
}

/**
 * An access at an enforcement point whose verdict under the target set differs from the one under the set in force, or
 * that was refused. Times are milliseconds since 1970 UTC.
 */
export interface SeenFlip {
  readonly from: Principal;
  readonly to: SpiffeId;
  readonly action: Action;
  readonly before: Verdict;
  readonly after: Verdict;
  /** The set in force was enforced and denied it. */
  readonly refused: boolean;
  /** Version of the target set that judged it; absent where the point did not say. */
  readonly targetVersion?: number;
  readonly count: number;
  readonly firstSeen: number;
  readonly lastSeen: number;
}

/** A caller without an identity at a workload that still takes such. */
export interface PlaintextCaller {
  readonly to: SpiffeId;
  readonly port: number;
  /** Its address. */
  readonly from: string;
  /** The workload behind it, where the proxy knew; never proof. */
  readonly workload?: SpiffeId;
  readonly connections: number;
  readonly firstSeen: number;
  readonly lastSeen: number;
}

/** Why a call did not arrive: it was not the workload that made it, somebody else answered, nobody answered. */
export const UNREACHED_REASONS = ['owner', 'untrusted', 'unreachable'] as const;

/** Connections of a workload that never reached their peer, as its proxy reported them. They are no accesses. */
export interface UnreachedCalls {
  /** Who called, or in whose name somebody wanted to; the proxy itself where whoever it was is no workload. */
  readonly from: SpiffeId;
  /** Who was to answer, and where. */
  readonly peer: SpiffeId;
  readonly host: string;
  readonly port: number;
  readonly reason: (typeof UNREACHED_REASONS)[number];
  /** Of the last one, for people. */
  readonly detail: string;
  readonly count: number;
  readonly firstSeen: number;
  readonly lastSeen: number;
}

/** Calls of one caller on connections whose keys were agreed in one group of TLS. */
export interface SeenHandshakes {
  readonly from: Principal;
  readonly to: SpiffeId;
  /** As OpenSSL names it, or "unknown". */
  readonly group: string;
  readonly count: number;
  readonly firstSeen: number;
  readonly lastSeen: number;
}

/** What the points of one workload saw, counted apart: what is said of one workload says nothing of another one. */
export interface WorkloadCoverage {
  readonly workload: SpiffeId;
  /** Kind of the points. */
  readonly source: string;
  /** Hours since 1970 UTC in which they reported a call, or could have: each once, in any order. */
  readonly hours: readonly number[];
  /** Calls taken in, and calls that are known lost. */
  readonly events: number;
  readonly lost: number;
}

/** What enforcement points reported, beside the accesses: taken in together with them, or not at all. */
export interface LiveBatch {
  /** When it is kept: milliseconds since 1970 UTC. */
  readonly at: number;
  /** The reports that it is made of, each once. */
  readonly marks: readonly ReportMark[];
  /** Added to those known by the same {@link flipKey}. */
  readonly flips: readonly SeenFlip[];
  /** Added to those known by the same {@link plaintextKey}. */
  readonly plaintext: readonly PlaintextCaller[];
  /** Added to those known by the same {@link unreachedKey}; none where absent. */
  readonly unreached?: readonly UnreachedCalls[];
  /** Added to those known by the same {@link handshakeKey}; none where absent. */
  readonly handshakes?: readonly SeenHandshakes[];
  /** Added to what is known of the same workload and source. */
  readonly coverage: readonly WorkloadCoverage[];
  /** Workloads whose flips known so far say nothing any more; they go before `flips` are added. */
  readonly settled: readonly SpiffeId[];
  /** Keys of flips, plaintext callers, unreached calls and handshakes that had to make room. */
  readonly forgotten: readonly string[];
  /** The target that the flips of a settled workload may stay of; those of any other one go. None may where it is absent. */
  readonly targets?: ReadonlyMap<SpiffeId, number>;
  /** What the other replicas are told of the batch; kept where there can be any. */
  readonly news?: LiveNews;
}

/** A batch as the one that kept it tells it: `id` is unique among all, `data` is between those who write and read it. */
export interface LiveNews {
  readonly id: string;
  readonly data: Json;
}

/** What was kept up to a moment. */
export interface KeptEvidence {
  readonly kept: LiveState;
  readonly seen: readonly SeenAccesses[];
}

/** Follows what all replicas keep, this one as well: one call after the other, each awaited. */
export interface LiveReader {
  /** `seq` is 1, 2, 3, ... without a gap, in the order in which the batches were kept. */
  batch(seq: number, news: LiveNews): Promise<void>;
  /** Batches are not known any more: this is what was kept up to `seq`. */
  missed(seq: number, state: KeptEvidence): Promise<void>;
  /** What is kept cannot be read; told once until it can. A database that is away is no fault here. */
  fault(error: unknown): void;
}

/** What was kept of live evidence beside the accesses; the least recently seen first. */
export interface LiveState {
  readonly marks: readonly ReportMark[];
  readonly flips: readonly SeenFlip[];
  readonly plaintext: readonly PlaintextCaller[];
  /** Absent where there are none. */
  readonly unreached?: readonly UnreachedCalls[];
  readonly handshakes?: readonly SeenHandshakes[];
}

/** Marks of epochs that were not seen for so long are forgotten: nobody sends such a report again. Milliseconds. */
export const MARK_MS = 30 * 86_400_000;

/** One text for one flip: equal texts are added up. */
export function flipKey({ from, to, action, before, after, refused, targetVersion }: SeenFlip): string {
  const of = targetVersion === undefined ? '' : ` ${targetVersion}`;
  const verdicts = `${verdictKey(before)}\n${verdictKey(after)}\n${refused}${of}`;
  return `flip\n${principalText(from)}\n${to}\n${actionKey(action)}\n${verdicts}`;
}

/** One text for one plaintext caller of a port. */
export function plaintextKey({ to, port, from, workload }: PlaintextCaller): string {
  return `plaintext\n${from}\n${to}\n${port}\n${workload ?? ''}`;
}

/** One text for one kind of call that does not arrive. */
export function unreachedKey({ from, peer, host, port, reason }: UnreachedCalls): string {
  return `unreached\n${from}\n${peer}\n${host}\n${port}\n${reason}`;
}

/** One text for one group of one pair. */
export function handshakeKey({ from, to, group }: SeenHandshakes): string {
  return `handshake\n${principalText(from)}\n${to}\n${group}`;
}

function verdictKey({ allowed, decidedBy, policy = '', rule = '' }: Verdict): string {
  return `${allowed} ${decidedBy} ${policy}/${rule}`;
}

/** Accesses of one caller to one workload, as identities and action keys: what the program has seen before. */
export interface SeenAccesses {
  readonly to: SpiffeId;
  /** The caller's text form. */
  readonly from: string;
  /** Keys of actions that went well at least once (outcome `ok`), and of those that never did. */
  readonly good: readonly string[];
  readonly others: readonly string[];
}

/** The live evidence of a state directory, kept by a thread of its own: a slow disk stops nobody else. */
export interface LiveStore extends KeptEvidence {
  /** As {@link file://./store.ts} says. `unavailable` where the thread has ended; the next call starts another one. */
  addLive(batch: LiveBatch, tallies: readonly Tally[]): Promise<readonly ReportMark[]>;
  /** Tells everything that is kept after what {@link kept} is. Absent where one process alone keeps evidence. */
  follow?(reader: LiveReader): void;
  /** Ends after what was asked before, or after `ms` milliseconds at the latest. */
  close(): Promise<void>;
}
