import type { Action } from '../action.ts';
import type { Evidence } from '../evidence.ts';
import type { ContainerPort, WorkloadKind } from '../inventory/facts.ts';
import type { Principal } from '../principal.ts';
import type { SpiffeId } from '../spiffe-id.ts';
import type { BlindSpotKind } from '../tally.ts';
import type { Covered } from './coverage.ts';

/** The four views of access. */
export const VIEWS = ['possible', 'declared', 'observed', 'authorized'] as const;
export type View = (typeof VIEWS)[number];

/** An access: principal, action, and the workload acted on, with what it rests on. */
export interface Access {
  readonly from: Principal;
  readonly to: Principal;
  readonly action: Action;
  readonly views: readonly View[];
  /** Empty evidence for an access that is only declared. */
  readonly evidence: Evidence;
  /** Where it is declared, as a person finds it; empty where it is not. */
  readonly declared: readonly string[];
  /** The recorded paths behind it were collapsed past the stored limit: replaying it is approximate. */
  readonly collapsed: boolean;
}

/** What is known of a workload beside its accesses. */
export interface Workload {
  readonly id: SpiffeId;
  readonly namespace: string;
  readonly name: string;
  /** What its identity rests on, strongest first. */
  readonly identifiedBy: 'spiffe' | 'service-account' | 'workload-name';
  readonly kind?: WorkloadKind;
  /** The service account it runs under today, where known. */
  readonly serviceAccount?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ports: readonly ContainerPort[];
  readonly hostNetwork: boolean;
  readonly marks: Readonly<Record<string, string>>;
  readonly schedule?: string;
  readonly timeZone?: string;
  /** When its newest image was first seen running, milliseconds since 1970 UTC; absent where unknown. */
  readonly deployedAt?: number;
  /** Whether it was in an inventory, and whether it wrote any record itself (its own spans or logs). */
  readonly inventoried: boolean;
  readonly recorded: boolean;
}

/** Several workloads under one service account: they cannot be told apart by identity until that is mended. */
export interface SharedAccount {
  readonly namespace: string;
  readonly serviceAccount: string;
  /** Workload names, sorted. */
  readonly workloads: readonly string[];
}

/** A blind spot between resolved ends. */
export interface KnownBlindSpot {
  readonly kind: BlindSpotKind;
  readonly from: Principal;
  readonly to: Principal;
  readonly what: string;
  readonly action?: Action;
  readonly count: number;
  readonly firstSeen: number;
  readonly lastSeen: number;
}

/** How much of the time the recordings cover, and what they are known to have lost. */
export interface Coverage {
  /** Milliseconds since 1970 UTC; infinite where nothing was recorded. */
  readonly firstSeen: number;
  readonly lastSeen: number;
  /** Hours since 1970 UTC in which anything at all was recorded, ascending. */
  readonly hours: readonly number[];
  /** The same for each source; absent where it is not known which source recorded when. */
  readonly bySource?: ReadonlyMap<string, readonly number[]>;
  /**
   * By workload, what the recordings that concern it cover and lost: the rest of the estate says nothing of it. Absent
   * where that is not known; a workload that none names has no entry.
   */
  readonly byWorkload?: ReadonlyMap<SpiffeId, Covered>;
  readonly events: number;
  readonly lost: number;
}

/** The estate as it is known: the accesses of all views over its workloads. */
export interface AccessGraph {
  readonly trustDomain: string;
  readonly workloads: ReadonlyMap<SpiffeId, Workload>;
  readonly accesses: readonly Access[];
  readonly blindSpots: readonly KnownBlindSpot[];
  readonly sharedAccounts: readonly SharedAccount[];
  readonly coverage: Coverage;
}
