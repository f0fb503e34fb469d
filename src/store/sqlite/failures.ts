import { InterlockError, isInterlockError } from '../../access/index.ts';

/** SQLite's primary result codes (sqlite.org/rescode.html) that a person can do something about. */
const PERM = 3;
const BUSY = 5;
const READONLY = 8;
const IOERR = 10;
const CORRUPT = 11;
const FULL = 13;
const CANTOPEN = 14;
const NOTADB = 26;

/** Any failure of the state as an error that says what is wrong with which directory and what to do. */
export function stateFailure(dir: string, cause: unknown): Error {
  if (isInterlockError(cause)) return cause;
  if (!(cause instanceof Error))
    return new InterlockError('io', dir, `the state in ${dir} failed`, { cause });
  if ('errcode' in cause && typeof cause.errcode === 'number') {
    return sqliteFailure(dir, cause.errcode & 0xff, cause);
  }
  if ('syscall' in cause && 'code' in cause) {
    return new InterlockError(
      'io',
      dir,
      `the state in ${dir} cannot be opened (${String(cause.code)}): choose another directory with --state, or mend its permissions`,
      { cause },
    );
  }
  return cause;
}

function sqliteFailure(dir: string, code: number, cause: Error): InterlockError {
  switch (code) {
    case BUSY:
      return new InterlockError(
        'state',
        dir,
        `the state in ${dir} is held by another process: look for another interlock command that is writing to it (fuser -v names it), wait until it is done, and run this one again`,
        { cause },
      );
    case CORRUPT:
    case NOTADB:
      return damaged(dir, cause);
    case FULL:
      return new InterlockError(
        'io',
        dir,
        `no space is left for the state in ${dir}: nothing of this was taken in; make room and run the command again`,
        { cause },
      );
    case PERM:
    case READONLY:
    case CANTOPEN:
      return new InterlockError(
        'io',
        dir,
        `the state in ${dir} cannot be written: mend the permissions of the directory and the file in it, or choose another directory with --state`,
        { cause },
      );
    case IOERR:
      return new InterlockError(
        'io',
        dir,
        `the disk that holds the state in ${dir} failed to read or write`,
        {
          cause,
        },
      );
    default:
      return new InterlockError('state', dir, `the state in ${dir} failed: ${cause.message}`, { cause });
  }
}

/** The state file is not what this program wrote. */
export function damaged(dir: string, cause?: unknown): InterlockError {
  return new InterlockError(
    'state',
    dir,
    `the state in ${dir} is damaged or was not written by interlock: move it away and observe the recordings again`,
    { cause },
  );
}
