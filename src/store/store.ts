import type { BlindSpot, Fact, RecordedAccess, RecordedCoverage, Skip, Tally } from '../access/index.ts';
import type { LiveBatch, LiveState, ReportMark } from './live.ts';

/** One file of a recording. `digest`, in hex, is that of its decompressed content. */
export interface RecordingFile {
  readonly name: string;
  readonly digest: string;
  /** Decompressed size in bytes. */
  readonly bytes: number;
}

/**
 * What is taken in at once: one file, or the files of one command that only make sense together (spans of one
 * trace in several files). `takenAt` is milliseconds since 1970 UTC.
 */
export interface NewRecording {
  readonly format: string;
  readonly files: readonly RecordingFile[];
  readonly takenAt: number;
}

/** A recording that was taken in, with what its tally counted. */
export interface Recording extends NewRecording {
  readonly read: number;
  readonly accepted: number;
  readonly skips: readonly Skip[];
  /** Events that the recording says were lost, by who lost them. */
  readonly lost: ReadonlyMap<string, number>;
  /** Milliseconds since 1970 UTC; infinite where it covers no time (an inventory). */
  readonly firstSeen: number;
  readonly lastSeen: number;
}

/** What is read of a store at one moment. */
export type StoreMoment = Pick<
  Store,
  'recordings' | 'digests' | 'coverage' | 'accesses' | 'blindSpots' | 'facts' | 'live'
>;

/**
 * Where the evidence lives. Asynchronous so that an embedded and a networked engine can stand behind it; every
 * engine passes the suite in contract.ts. Errors: `state` (damaged, newer, held by another process), `io`
 * (disk full, no permission). After any error the store holds what it held before the call.
 */
export interface Store {
  /**
   * Takes a recording in, whole or not at all: its accesses and blind spots are added to the ones known (as
   * `mergeEvidence` adds), its facts replace those of the same `factKey`, and `carry`, if given, replaces what
   * the format kept for its next recording. False, and nothing changed, if the digest of one of the files is known.
   */
  addRecording(recording: NewRecording, tally: Tally, carry?: unknown): Promise<boolean>;
  /** In the order in which they were taken in. */
  recordings(): Promise<Recording[]>;
  /** The digests of all files that were taken in: the ones that need not be read again. */
  digests(): Promise<Set<string>>;
  /**
   * What each recording covers and lost, for the workloads that it names. What enforcement points reported is one for each
   * workload and source, whoever reported it: a recording of them ({@link addLive}) is not among these.
   */
  coverage(): Promise<RecordedCoverage[]>;
  /** Every recorded access with its evidence rebuilt; endpoint objects and names are shared between them. */
  accesses(): Promise<RecordedAccess[]>;
  /** Blind spots that are still open: those whose counts have added up to nothing are left out. */
  blindSpots(): Promise<BlindSpot[]>;
  facts(): Promise<Fact[]>;
  /** What the format kept for its next recording, as plain JSON data; undefined where nothing is kept. */
  carry(format: string): Promise<unknown>;
  setting(name: string): Promise<string | undefined>;
  setSetting(name: string, value: string): Promise<void>;
  /**
   * Adds what enforcement points reported, whole or not at all: the accesses of the tallies as a recording's, summed up
   * in one recording for each source and day. Gives the marks among `batch.marks` that were kept before: where there are any,
   * nothing was changed. Marks of epochs not seen for 30 days are forgotten.
   */
  addLive(batch: LiveBatch, tallies: readonly Tally[]): Promise<readonly ReportMark[]>;
  live(): Promise<LiveState>;
  /**
   * Reads several things of one moment, whatever others write meanwhile; `seq` is the number of the last batch of live
   * evidence in it. May be called more than once. Absent where nobody else writes live evidence.
   */
  moment?<T>(read: (then: StoreMoment, seq: number) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}
