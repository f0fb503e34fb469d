import type { Fact } from '../inventory/facts.ts';
import type { BlindSpot } from '../tally.ts';
import type { RecordedAccess } from '../tally-access.ts';
import type { RecordedCoverage } from './coverage.ts';

/** Everything that was recorded, as the store gives it back. */
export interface Recorded {
  readonly trustDomain: string;
  readonly accesses: readonly RecordedAccess[];
  readonly blindSpots: readonly BlindSpot[];
  readonly facts: readonly Fact[];
  /** Events taken in, and events that the recordings say were lost. */
  readonly events: number;
  readonly lost: number;
  /** The same by recording, so that each concerns only the workloads that it names. */
  readonly coverage?: readonly RecordedCoverage[];
}
