import { InterlockError, isInterlockError } from '../../access/index.ts';

/** What went wrong while the database was asked something: a cause that only this folder sees. */
export class DatabaseFailure extends Error {
  readonly kind: FailureKind;
  /** SQLSTATE, or the code of a socket's or TLS's error. */
  readonly state: string;

  constructor(cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.state = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    this.kind = kindOf(this.state, cause);
  }
}

/**
 * `connection`: the connection is gone, and whether what was asked has happened is not known. `again`: nothing has
 * happened, and the same may succeed at once. `slow`: nothing has happened; it took too long. The others are definite.
 */
export type FailureKind =
  | 'connection'
  | 'again'
  | 'slow'
  | 'full'
  | 'disk'
  | 'refused'
  | 'untrusted'
  | 'broken';

/** SQLSTATEs (PostgreSQL's manual, appendix A), by their beginnings; the first that fits. */
const KINDS: readonly (readonly [RegExp, FailureKind])[] = [
  [/^(08|57P0[1235]|25P0[34]|53300|25006)/, 'connection'],
  // Errors of the socket: EPIPE has the length of an SQLSTATE, and no class of those begins with E.
  [/^E[A-Z]+$/, 'connection'],
  [/^(40001|40P01)/, 'again'],
  [/^(57014|55P03)/, 'slow'],
  [/^(53100|53200)/, 'full'],
  [/^(53|58)/, 'disk'],
  [/^(28|3D|42501|0A000|0P)/, 'refused'],
  [/^[0-9A-Z]{5}$/, 'broken'],
  [/CERT|_TLS_|SELF_SIGNED|UNABLE_TO_|ERR_SSL|ALTNAME/, 'untrusted'],
];

function kindOf(state: string, cause: unknown): FailureKind {
  if (isInterlockError(cause)) return 'refused';
  // The driver's own errors have no code.
  if (cause instanceof Error && /does not support SSL/.test(cause.message)) return 'untrusted';
  if (cause instanceof Error && /password must be a string|Server SASL|SCRAM/i.test(cause.message))
    return 'refused';
  if (state === 'EACCES' || state === 'EPERM') return 'refused';
  return KINDS.find(([pattern]) => pattern.test(state))?.[1] ?? 'connection';
}

/** A failure as an error that says what is wrong with which database and what to do. */
export function databaseError(name: string, error: unknown): Error {
  if (!(error instanceof DatabaseFailure)) return error instanceof Error ? error : new Error(String(error));
  if (isInterlockError(error.cause)) return error.cause;
  const { code, text } = SAID[error.kind](name, error);
  return new InterlockError(code, name, text, { cause: error.cause });
}

type Said = (
  name: string,
  error: DatabaseFailure,
) => { code: 'unavailable' | 'io' | 'state' | 'untrusted'; text: string };

const SAID: Readonly<Record<FailureKind, Said>> = {
  connection: (name, { message }) => ({
    code: 'unavailable',
    text: `the database ${name} does not answer (${message}): nothing was changed`,
  }),
  again: (name) => ({
    code: 'unavailable',
    text: `the database ${name} is too busy with the same records: nothing was changed, try again`,
  }),
  slow: (name) => ({
    code: 'unavailable',
    text: `the database ${name} took too long: nothing was changed, try again`,
  }),
  full: (name) => ({
    code: 'io',
    text: `no space or memory is left for the database ${name}: nothing was changed; make room and try again`,
  }),
  disk: (name, { message }) => ({
    code: 'io',
    text: `the database ${name} failed to read or write (${message}): nothing was changed`,
  }),
  refused: (name, { message }) => ({
    code: 'state',
    text: `the database ${name} does not let this program in: ${message}`,
  }),
  untrusted: (name, { message }) => ({
    code: 'untrusted',
    text: `the database ${name} did not prove who it is: ${message}`,
  }),
  broken: (name, { message, state }) => ({
    code: 'state',
    text: `the database ${name} failed (${state}): ${message}`,
  }),
};

/** A transaction whose end was not seen, and could not be found out. */
export function unknownOutcome(name: string, cause: unknown): InterlockError {
  return new InterlockError(
    'unavailable',
    name,
    `the database ${name} went away while a change was made, and does not come back: whether it was made is not known`,
    { cause },
  );
}

/** The tables are not what this program wrote. */
export function damagedDatabase(name: string, cause?: unknown): InterlockError {
  return new InterlockError(
    'state',
    name,
    `the database ${name} is damaged or its tables were not written by interlock: put back a copy from before, or name another one`,
    { cause },
  );
}
