import { closeSync, existsSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { assertHere } from '../elsewhere.ts';
import { InterlockError } from '../../access/index.ts';
import type { Store } from '../store.ts';
import { damaged, stateFailure } from './failures.ts';
import { APPLICATION_ID, MIGRATIONS, SCHEMA, SCHEMA_VERSION } from './schema.ts';
import { SqliteStore } from './sqlite-store.ts';

/** Name of the database inside the state directory. */
export const STATE_FILE = 'interlock.db';
/** How long another process may hold the state before this one gives up, in milliseconds. */
const LOCK_WAIT_MS = 5000;

export interface SqliteOptions {
  /** Without it, a directory that holds no state is `not_found` instead of being made. */
  readonly create?: boolean;
  /** Milliseconds to wait for another process; 5,000 where absent. */
  readonly lockWait?: number;
  /** Largest size of the database in pages of 4 KiB: how tests fill the disk. */
  readonly maxPages?: number;
}

/**
 * Opens the state in `dir`, and makes it (directory 0700, file 0600) where `create` is set. Errors: `not_found`,
 * `io` (permissions, disk), `state` (damaged, not ours, from a newer version, held by another process).
 */
export function openSqliteStore(dir: string, options: SqliteOptions = {}): Store {
  const file = join(dir, STATE_FILE);
  let db: DatabaseSync | undefined;
  try {
    assertHere(dir);
    if (options.create) createFile(dir, file);
    else if (!existsSync(file)) {
      throw new InterlockError(
        'not_found',
        dir,
        `there is no state in ${dir}: read recordings into it first (interlock observe FILE...), or name another with --state`,
      );
    }
    db = new DatabaseSync(file, { timeout: options.lockWait ?? LOCK_WAIT_MS });
    prepare(db, dir, options);
    return new SqliteStore(db, dir);
  } catch (error) {
    db?.close();
    throw stateFailure(dir, error);
  }
}

/** SQLite gives its journal the permissions of the database, so these are set before it first opens it. */
function createFile(dir: string, file: string): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  if (!existsSync(file)) closeSync(openSync(file, 'a', 0o600));
}

function prepare(db: DatabaseSync, dir: string, options: SqliteOptions): void {
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -16384');
  if (options.maxPages !== undefined) db.exec(`PRAGMA max_page_count = ${options.maxPages}`);
  if (isEmpty(db)) createTables(db);
  const version = versionOf(db);
  if (version === undefined) throw damaged(dir);
  if (version > SCHEMA_VERSION) {
    throw new InterlockError(
      'state',
      dir,
      `the state in ${dir} was written by a newer interlock (its version ${version}, this program's ${SCHEMA_VERSION}): use that one, or another directory with --state`,
    );
  }
  if (version < SCHEMA_VERSION) migrate(db, dir);
}

/** The version of our tables, or undefined where they are not ours. */
function versionOf(db: DatabaseSync): number | undefined {
  const { application_id: application, user_version: version } = {
    ...db.prepare('PRAGMA application_id').get(),
    ...db.prepare('PRAGMA user_version').get(),
  };
  return application === APPLICATION_ID && typeof version === 'number' ? version : undefined;
}

/**
 * Brings an older state up to this program's version, a version at a time. Each step is one transaction with its number
 * (SQLite keeps `user_version` in the database's first page), so one that was interrupted is made anew. Two processes may
 * begin at once: the version is looked at again under the lock.
 */
function migrate(db: DatabaseSync, dir: string): void {
  for (;;) {
    db.exec('BEGIN IMMEDIATE');
    try {
      const version = versionOf(db) ?? SCHEMA_VERSION;
      if (version < SCHEMA_VERSION) {
        const step = MIGRATIONS.get(version);
        if (step === undefined) throw damaged(dir);
        db.exec(`${step} PRAGMA user_version = ${version + 1}`);
      }
      db.exec('COMMIT');
      if (version >= SCHEMA_VERSION) return;
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK');
      throw error;
    }
  }
}

/** Two processes may find it empty at once: the second one looks again once it holds the lock. */
function createTables(db: DatabaseSync): void {
  db.exec('BEGIN IMMEDIATE');
  if (isEmpty(db)) db.exec(SCHEMA);
  db.exec('COMMIT');
}

function isEmpty(db: DatabaseSync): boolean {
  return db.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.['n'] === 0;
}
