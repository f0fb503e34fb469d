import { status } from '@grpc/grpc-js';
import { type ErrorCode, InterlockError } from '../access/index.ts';

/** Longest part of another program's words that is kept. */
const KEPT_OF_DETAILS = 300;

interface Meaning {
  readonly code: ErrorCode;
  readonly what: string;
  /** Asking again is useless until the caller or the agent's configuration changes. */
  readonly final?: true;
}

/**
 * What the statuses of a Workload API mean (SPIFFE_Workload_Endpoint.md section 6 and SPIFFE_Workload_API.md
 * sections 5.2.1 and 6.2): only InvalidArgument must not be tried again.
 */
const MEANINGS: ReadonlyMap<number, Meaning> = new Map<number, Meaning>([
  [status.INVALID_ARGUMENT, { code: 'usage', what: 'it refused the request as malformed', final: true }],
  [status.PERMISSION_DENIED, { code: 'forbidden', what: 'no identity is registered for this process' }],
  [status.UNIMPLEMENTED, { code: 'not_found', what: 'it does not offer this kind of identity' }],
  [status.RESOURCE_EXHAUSTED, { code: 'limit', what: 'the answer or the request is too large' }],
  [status.UNAVAILABLE, { code: 'unavailable', what: 'it does not answer' }],
  [status.DEADLINE_EXCEEDED, { code: 'unavailable', what: 'it did not answer in time' }],
]);

const OTHER: Meaning = { code: 'unavailable', what: 'it failed' };

/** What a Workload API answered instead of an identity. */
export class WorkloadApiError extends InterlockError {
  /** The gRPC status (google.rpc.Code). */
  readonly status: number;
  /** True where asking again is useless: the standard's InvalidArgument. */
  readonly final: boolean;

  constructor(endpoint: string, grpcStatus: number, details: string, cause?: unknown) {
    const { code, what, final } = MEANINGS.get(grpcStatus) ?? OTHER;
    // grpc-js ends what it says of a connection with an empty remark.
    const text = details.replace(/ ?Resolution note: ?$/, '');
    const clipped = text.length > KEPT_OF_DETAILS ? `${text.slice(0, KEPT_OF_DETAILS)}...` : text;
    const said = clipped === '' ? '' : ` (${status[grpcStatus] ?? grpcStatus}: ${clipped})`;
    super(code, endpoint, `the Workload API at ${endpoint}: ${what}${said}`, { cause });
    this.name = 'WorkloadApiError';
    this.status = grpcStatus;
    this.final = final === true;
  }
}

/** The error of a call as one of ours. */
export function apiErrorOf(endpoint: string, error: unknown): WorkloadApiError {
  if (error instanceof WorkloadApiError) return error;
  const grpc = error as { code?: unknown; details?: unknown };
  const code = typeof grpc.code === 'number' ? grpc.code : status.UNKNOWN;
  const details = typeof grpc.details === 'string' ? grpc.details : String(error);
  return new WorkloadApiError(endpoint, code, details, error);
}

/** Any error as one of ours: what was thrown on purpose stays, all else is `unavailable`. */
export function interlockErrorOf(subject: string, error: unknown): InterlockError {
  if (error instanceof InterlockError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new InterlockError('unavailable', subject, `${subject}: ${text}`, { cause: error });
}
