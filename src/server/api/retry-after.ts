import { InterlockError } from '../../access/index.ts';

/** The cause of an error that is over by itself: in so many seconds the caller may try again. */
export class RetryAfter extends Error {
  readonly seconds: number;

  constructor(seconds: number) {
    super(`in ${seconds} seconds`);
    this.seconds = seconds;
  }
}

/** Too much has failed: answered with 429 and "Retry-After" (RFC 6585, 4). */
export function tooMany(subject: string, message: string, seconds: number): InterlockError {
  return new InterlockError('limit', subject, `${message}: wait ${seconds} seconds`, {
    cause: new RetryAfter(seconds),
  });
}

/** After how many seconds a caller may try again; undefined where time mends nothing. */
export function retryAfterOf(error: unknown): number | undefined {
  return error instanceof InterlockError && error.cause instanceof RetryAfter
    ? error.cause.seconds
    : undefined;
}

/** Nobody knows when what is away comes back: soon enough to be worth asking. Seconds. */
const AWAY_SECONDS = 2;

/** What "Retry-After" says of an error (RFC 9110, section 10.2.3); undefined where it says nothing. */
export function retryAfterHeader(error: unknown): string | undefined {
  const isAway = error instanceof InterlockError && error.code === 'unavailable';
  const seconds = retryAfterOf(error) ?? (isAway ? AWAY_SECONDS : undefined);
  return seconds?.toString();
}
