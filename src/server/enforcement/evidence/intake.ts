import type { Action, InterlockError, Outcome, Principal, SpiffeId, Tally } from '../../../access/index.ts';
import type { Report } from '../../../proto/proxy/index.ts';
import type { PlaintextCaller, SeenFlip, SeenHandshakes, UnreachedCalls } from '../../../store/index.ts';
import type { Point } from '../points.ts';

export type { PlaintextCaller, SeenFlip, UnreachedCalls } from '../../../store/index.ts';

/** Who reports: a point, as far as evidence needs it. */
export type Reporter = Pick<Point, 'key' | 'kind' | 'identity' | 'instance' | 'workloads'>;

/** Calls of one access in one hour, as a point reported them. */
export interface ReportedAccess {
  readonly from: Principal;
  readonly to: SpiffeId;
  readonly action: Action;
  readonly outcomes: Readonly<Record<Outcome, number>>;
  /** Of these, on connections that both ends authenticated, and in plain text. */
  readonly mutual: number;
  readonly plaintext: number;
  /** Milliseconds since 1970 UTC, both in one hour. */
  readonly firstSeen: number;
  readonly lastSeen: number;
  /** Names the caller's instance; empty where it is not known. */
  readonly instance: string;
  /** The group of the TLS handshake, where the point said. */
  readonly group?: string;
}

/** What a point reported, checked and in our own shape. */
export interface Reported {
  /** Absent of reports that nobody sends again. */
  readonly mark?: { readonly epoch: string; readonly sequence: number };
  readonly accesses: readonly ReportedAccess[];
  readonly flips: readonly SeenFlip[];
  readonly plaintext: readonly PlaintextCaller[];
  /** Calls that never arrived; none where absent. */
  readonly unreached?: readonly UnreachedCalls[];
  /** Accesses that happened and are in no report, or in none that could be believed. */
  readonly lost: number;
  /** What was left out, by reason, with one of each. */
  readonly skips: ReadonlyMap<string, { readonly count: number; readonly sample: string }>;
}

/** What the points of one workload saw in a span of time. */
export interface Seen {
  readonly requests: number;
  readonly lost: number;
}

/** Takes what enforcement points report, keeps it, and answers what rollouts ask of it. */
export interface EvidenceIntake {
  /**
   * Resolves when the report is kept for good; one that is known already changes nothing. While the store fails, it waits.
   * Throws `unavailable` at once where too much waits already, `usage` for a report without a number; rejects with `unavailable`
   * when it is closed. What was not resolved may be sent again.
   */
  take(reporter: Reporter, report: Report): Promise<void>;
  /** Takes what nobody would send again: where there is no room for it, it is counted as lost. */
  add(reporter: Reporter, reported: Reported): void;
  /** Requests that one point has judged for a workload since a time, as far as it has reported: never too many. */
  seen(key: string, workload: SpiffeId, since: number): Seen;
  /** All flips of a workload (of all where absent) that today's target set judged, seen since a time, the newest first. */
  flips(filter: { readonly to?: SpiffeId; readonly since?: number }): readonly SeenFlip[];
  /** Whether the access went well before (outcome `ok`): exactly it, or its like by the paths that were learned. */
  isKnownGood(from: Principal, to: SpiffeId, action: Action): boolean;
  plaintextCallers(to: SpiffeId, since: number): readonly PlaintextCaller[];
  /** Calls that never arrived (those of one workload where it is named) seen since a time, the newest first. */
  unreached(filter: { readonly from?: SpiffeId; readonly since?: number }): readonly UnreachedCalls[];
  /** In which groups the keys of connections were agreed, by pair. */
  readonly handshakes: Iterable<SeenHandshakes>;
  /** Calls `listener` with what each report adds (counts are of the report), until the function given back is called. */
  onFlip(listener: (flip: SeenFlip, reporter: Reporter) => void): () => void;
  /**
   * Calls `listener` with the accesses that were kept for good, until the function given back is called. `seq` is the number of
   * the batch where another control plane has kept it: who has read the store up to a later one has them already.
   */
  onKept(listener: (tallies: readonly Tally[], seq?: number) => void): () => void;
  /** Calls `listener` where batches of others were missed: the store has to be read anew. */
  onMissed?(listener: () => void): () => void;
  /** Does something while nothing is being kept: what it reads of the store is all that `onKept` has told. */
  betweenWrites<T>(work: () => Promise<T>): Promise<T>;
  /** Notes that points of these workloads could have reported in this hour: an hour without a call was watched as well. */
  watched(reporters: Iterable<Pick<Reporter, 'kind' | 'workloads'>>): void;
  /**
   * Forgets the flips of a workload up to now: it has another target, so they say nothing any more; `target` is its version.
   * Whoever gave it that target takes them out of the store as well: nobody else, who may be late.
   */
  settle(to: SpiffeId, by?: { readonly isOwn: boolean; readonly target?: number | undefined }): void;
  /** Why nothing is being kept now; undefined where all is well. */
  readonly fault: InterlockError | undefined;
  /** Entries that wait to be kept. */
  readonly waiting: number;
  close(): Promise<void>;
}
