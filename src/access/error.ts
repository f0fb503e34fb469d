/**
 * Every error this program raises on purpose. A row gives what each front end answers: the exit code of the command
 * line, the gRPC status (google.rpc.Code) and the HTTP status (RFC 9110).
 */
export const ERROR_CODES = {
  /** The command line was misused: unknown flag, missing argument, value out of range. */
  usage: { exit: 2, grpc: 3, http: 400 },
  /** A SPIFFE ID or trust domain that the standard does not allow. */
  invalid_identity: { exit: 1, grpc: 3, http: 400 },
  /** A document (policy, manifest, rule, option file) that is not what its kind says. */
  invalid_document: { exit: 1, grpc: 3, http: 422 },
  /** A certificate, request for one, CRL or key that is malformed or that its standard does not allow. */
  invalid_certificate: { exit: 1, grpc: 3, http: 400 },
  /** A JWT that is malformed or that the standard does not allow. */
  invalid_token: { exit: 1, grpc: 3, http: 400 },
  /** Well-formed credentials that prove nothing here: wrong chain, area, time or key, or revoked. */
  untrusted: { exit: 1, grpc: 16, http: 401 },
  /** A caller that is known, and may not do this. */
  forbidden: { exit: 1, grpc: 7, http: 403 },
  /** The state does not allow it now: it exists already, was used up, or is in another stage. */
  conflict: { exit: 1, grpc: 9, http: 409 },
  /** Somebody needed for it does not answer: the control plane, a store, a peer. */
  unavailable: { exit: 1, grpc: 14, http: 503 },
  /** A rendering or a document would allow more than is written. */
  wider: { exit: 1, grpc: 9, http: 422 },
  /** A recording that cannot be read as the format it was said or found to be. */
  invalid_recording: { exit: 1, grpc: 3, http: 422 },
  /** Outside input beyond a limit of ours (size, depth, count). */
  limit: { exit: 1, grpc: 8, http: 413 },
  /** Something named is not there: a file, a workload, a policy. */
  not_found: { exit: 1, grpc: 5, http: 404 },
  /** The operating system refused to read or write. */
  io: { exit: 1, grpc: 13, http: 500 },
  /** The state directory is held by another process, damaged, or from a newer version. */
  state: { exit: 1, grpc: 9, http: 500 },
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/** Where in an input something was found, for messages that a person can act on. `line` counts from 1. */
export interface Place {
  file?: string | undefined;
  line?: number | undefined;
}

/**
 * The one error class: a closed `code`, `subject` (the name of what it is about), a message that says what is
 * wrong and what to do, and where. The cause stays private to logs and is never printed to a caller.
 */
export class InterlockError extends Error {
  readonly code: ErrorCode;
  readonly subject: string;
  readonly place: Place | undefined;
  /** For programs: plain data beside the message, which a problem document carries as further fields (RFC 9457, 3.2). */
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(
    code: ErrorCode,
    subject: string,
    message: string,
    options: { cause?: unknown; place?: Place; details?: Readonly<Record<string, unknown>> | undefined } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'InterlockError';
    this.code = code;
    this.subject = subject;
    this.place = options.place;
    this.details = options.details;
  }
}

/** True for errors that this program raised on purpose. */
export function isInterlockError(error: unknown): error is InterlockError {
  return error instanceof InterlockError;
}
