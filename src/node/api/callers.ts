import type { Metadata } from '@grpc/grpc-js';
import type { WorkloadAttributes } from '../../identity/index.ts';

/** What the services need to know of a gRPC call. */
export interface Call {
  readonly metadata: Metadata;
  getPeer(): string;
}

/** Who calls, as the kernel and the node's sources know it. */
export interface Callers {
  /** Attests the process at the other end. Rejects with `untrusted` when it is gone, and counts what failed. */
  attributesOf(call: Call): Promise<WorkloadAttributes>;
  /**
   * Throws `unavailable` where the process that was attested has ended: a child may hold its socket, and is somebody
   * else. Asked before anything more is sent to it.
   */
  assertAlive(call: Call): void;
  /** The process at the other end, for the log. */
  pidOf(call: Call): number | undefined;
}

/** Hears of processes that get no identity. */
export type OnNoIdentity = (pid: number | undefined, attributes: WorkloadAttributes) => void;

/** What the services write about calls: who, what, and how it ended. */
export interface ApiLog {
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
}
