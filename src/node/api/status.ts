import { status } from '@grpc/grpc-js';
import { ERROR_CODES, isInterlockError } from '../../access/index.ts';
import type { Missing } from '../workloads/workload-book.ts';

/** An error as grpc-js sends it. */
export interface GrpcFault extends Error {
  /** A google.rpc.Code. */
  readonly code: number;
  readonly details: string;
}

/** A fault of the given status; its text goes to the caller. */
export function fault(code: number, details: string): GrpcFault {
  return Object.assign(new Error(details), { code, details });
}

/** Our own errors have a code in words, and may have details of another kind. */
function isMeantFault(error: unknown): error is GrpcFault {
  return error instanceof Error && 'details' in error && 'code' in error && typeof error.code === 'number';
}

/** The fault to answer with: our own errors by their code's row, all else as INTERNAL without its text. */
export function faultOf(error: unknown): GrpcFault {
  if (isMeantFault(error)) return error;
  if (isInterlockError(error)) return fault(ERROR_CODES[error.code].grpc, error.message);
  return fault(status.INTERNAL, 'the agent failed; its log says why');
}

/** What a log line says of a call that failed. An answer that was meant says all in its text; a fault of ours needs its trace. */
export function failureFields(
  method: string,
  peer: string,
  error: unknown,
): Readonly<Record<string, unknown>> {
  const { code } = faultOf(error);
  return isMeantFault(error) ? { method, peer, status: code } : { method, peer, status: code, error };
}

/** A workload that no rule gives an identity: the standard's answer, after which clients ask again. */
export function noIdentity(): GrpcFault {
  return fault(status.PERMISSION_DENIED, 'no identity issued');
}

/** A workload whose identities are not signed yet. */
function notYet(): GrpcFault {
  return fault(status.UNAVAILABLE, 'the identity is not signed yet: the control plane was not reached');
}

/** What a workload without SVIDs is told. */
export function withoutSvids(missing: Missing): GrpcFault {
  if (missing === 'waiting') return notYet();
  if (missing !== 'limit') return noIdentity();
  return fault(
    status.RESOURCE_EXHAUSTED,
    'too many identities of this kind on this node: the log of the agent says more',
  );
}

/** Audiences in one request for a JWT-SVID, and the length of each. */
const MAX_AUDIENCES = 32;
const MAX_AUDIENCE_LENGTH = 2048;

/** Refuses a request for a token without audience, or for one that is too much. */
export function assertAudience(audience: readonly string[]): void {
  if (audience.length === 0 || audience.includes('')) {
    throw fault(status.INVALID_ARGUMENT, 'audience must be specified');
  }
  if (audience.length > MAX_AUDIENCES || audience.some((name) => name.length > MAX_AUDIENCE_LENGTH)) {
    throw fault(status.INVALID_ARGUMENT, 'too many audiences, or one that is too long');
  }
}
