import { closeSync, existsSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { InterlockError, isInterlockError } from '../../../access/index.ts';
import { assertHere } from '../../elsewhere.ts';
import { stateFailure } from '../failures.ts';
import { IDENTITY_APPLICATION_ID, IDENTITY_MIGRATIONS, IDENTITY_SCHEMA_VERSION } from './schema.ts';

/** Name of the identity database inside the state directory. */
export const IDENTITY_FILE = 'identity.db';

export interface IdentityStoreOptions {
  /** Without it, a directory that holds no identity database is `not_found` instead of being made. */
  readonly create?: boolean;
  /** Milliseconds to wait for another process; 1,000 where absent. */
  readonly lockWait?: number;
  /** Largest size of the database in pages of 4 KiB: how tests fill the disk. */
  readonly maxPages?: number;
}

/**
 * Opens the database and keeps it to this process until it is closed or the process ends, however it ends (the
 * lock is the operating system's). Errors: `not_found`, `io`, `state` (damaged, newer, held by another process).
 */
export function openIdentityDatabase(dir: string, options: IdentityStoreOptions): DatabaseSync {
  const file = join(dir, IDENTITY_FILE);
  let db: DatabaseSync | undefined;
  try {
    assertHere(dir);
    if (options.create) createFile(dir, file);
    else if (!existsSync(file)) {
      throw new InterlockError(
        'not_found',
        dir,
        `there is no authority in ${dir}: make one with "interlock authority init", or name its directory with --state`,
      );
    }
    db = new DatabaseSync(file, { timeout: options.lockWait ?? 1000 });
    prepare(db, dir, options);
    return db;
  } catch (error) {
    if (db?.isOpen) db.close();
    throw identityFailure(dir, error);
  }
}

function createFile(dir: string, file: string): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  if (!existsSync(file)) closeSync(openSync(file, 'a', 0o600));
}

function prepare(db: DatabaseSync, dir: string, options: IdentityStoreOptions): void {
  // In exclusive mode the first write takes a lock that is held until the end (sqlite.org/pragma.html#pragma_locking_mode).
  db.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
  if (options.maxPages !== undefined) db.exec(`PRAGMA max_page_count = ${options.maxPages}`);
  db.exec('BEGIN IMMEDIATE');
  const isEmpty = db.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.['n'] === 0;
  if (isEmpty) db.exec(`${IDENTITY_MIGRATIONS.get(0)} PRAGMA user_version = 1`);
  db.exec('COMMIT');
  const application = db.prepare('PRAGMA application_id').get()?.['application_id'];
  if (application !== IDENTITY_APPLICATION_ID) throw damagedIdentity(dir);
  migrate(db, dir);
}

/** This process alone has the database: a step that was interrupted before its commit is made anew. */
function migrate(db: DatabaseSync, dir: string): void {
  let version = Number(db.prepare('PRAGMA user_version').get()?.['user_version']);
  if (version > IDENTITY_SCHEMA_VERSION) {
    throw new InterlockError(
      'state',
      dir,
      `${file(dir)} was written by a newer interlock (its version ${version}, this program's ${IDENTITY_SCHEMA_VERSION}): use that one`,
    );
  }
  for (; version < IDENTITY_SCHEMA_VERSION; version++) {
    const step = version === 0 ? undefined : IDENTITY_MIGRATIONS.get(version);
    if (step === undefined) throw damagedIdentity(dir);
    db.exec('BEGIN IMMEDIATE');
    try {
      db.exec(`${step} PRAGMA user_version = ${version + 1}; COMMIT`);
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK');
      throw error;
    }
  }
}

const file = (dir: string) => join(dir, IDENTITY_FILE);

/** Any failure of the database as an error that says what is wrong and what to do. */
export function identityFailure(dir: string, cause: unknown): Error {
  const error = stateFailure(dir, cause);
  if (!isInterlockError(error) || isInterlockError(cause)) return error;
  const code =
    cause instanceof Error && 'errcode' in cause && typeof cause.errcode === 'number'
      ? cause.errcode & 0xff
      : 0;
  if (code === BUSY) {
    return new InterlockError(
      'state',
      dir,
      `${file(dir)} is held by another process: a control plane of this directory is running ("interlock up" or "interlock authority serve"), talk to that one`,
      { cause },
    );
  }
  if (code === CORRUPT || code === NOTADB) return damagedIdentity(dir, cause);
  if (code === FULL) {
    return new InterlockError(
      'io',
      dir,
      `no space is left for ${file(dir)}: nothing was recorded, so nothing was issued; make room and try again`,
      { cause },
    );
  }
  return error;
}

// SQLite's primary result codes (sqlite.org/rescode.html).
const BUSY = 5;
const CORRUPT = 11;
const FULL = 13;
const NOTADB = 26;

/** The database is not what this program wrote. */
export function damagedIdentity(dir: string, cause?: unknown): InterlockError {
  return new InterlockError(
    'state',
    dir,
    `${file(dir)} is damaged or was not written by interlock: put back a copy from before`,
    { cause },
  );
}
