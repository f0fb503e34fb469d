/**
 * Every error this program raises on purpose. A row gives the exit code of the command line; the rows that
 * other front ends need (HTTP, gRPC) join it here when those front ends exist.
 */
export const ERROR_CODES = {
  /** The command line was misused: unknown flag, missing argument, value out of range. */
  usage: { exit: 2 },
  /** A SPIFFE ID or trust domain that the standard does not allow. */
  invalid_identity: { exit: 1 },
  /** A document (policy, manifest, option file) that is not what its kind says. */
  invalid_document: { exit: 1 },
  /** A rendering or a document would allow more than is written. */
  wider: { exit: 1 },
  /** A recording that cannot be read as the format it was said or found to be. */
  invalid_recording: { exit: 1 },
  /** Outside input beyond a limit of ours (size, depth, count). */
  limit: { exit: 1 },
  /** Something named is not there: a file, a workload, a policy. */
  not_found: { exit: 1 },
  /** The operating system refused to read or write. */
  io: { exit: 1 },
  /** The state directory is held by another process, damaged, or from a newer version. */
  state: { exit: 1 },
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

  constructor(
    code: ErrorCode,
    subject: string,
    message: string,
    options: { cause?: unknown; place?: Place } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'InterlockError';
    this.code = code;
    this.subject = subject;
    this.place = options.place;
  }
}

/** True for errors that this program raised on purpose. */
export function isInterlockError(error: unknown): error is InterlockError {
  return error instanceof InterlockError;
}
