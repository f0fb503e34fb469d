import { createHash } from 'node:crypto';
import { InterlockError } from '../../access/index.ts';
import type { Database } from './database.ts';
import { damagedDatabase } from './failures.ts';
import { POSTGRES_MIGRATIONS, POSTGRES_SCHEMA_VERSION } from './schema.ts';
import type { Session } from './session.ts';

/** How long a step may wait for its turn and take, in milliseconds: half an hour. */
const STEP_LIMIT = 1_800_000;
const STEP_LIMITS = `set local lock_timeout = ${STEP_LIMIT}; set local statement_timeout = ${STEP_LIMIT}`;

/** The number of one of our locks: the same in every replica, another one in every schema. */
export function lockOf(schema: string, purpose: string): string {
  return createHash('sha256').update(`interlock ${schema} ${purpose}`).digest().readBigInt64BE().toString();
}

/**
 * Brings the tables up to this program's version, a version at a time: each step is one transaction together with its
 * number, under a lock, so that of replicas that start at once one makes it, and one that was interrupted is made anew.
 * `migrations` is ours but in tests. Errors: `state` where the tables are newer or not ours.
 */
export async function migrate(
  database: Database,
  migrations: ReadonlyMap<number, string> = POSTGRES_MIGRATIONS,
  newest = POSTGRES_SCHEMA_VERSION,
): Promise<void> {
  // Once all is as it should be, no lock is taken: a replica starts while another one is busy.
  let version = await database.read((session) => versionOf(session, database));
  while (version !== newest) {
    if (version !== undefined && version > newest) throw newer(database.name, version, newest);
    version = await database.transaction((session) => step(session, database, migrations, newest));
  }
}

/** How old the tables are: `newest` where they are this program's, 0 where there are none. Changes nothing. Errors as of {@link migrate}. */
export async function tablesOf(database: Database): Promise<{ version: number; newest: number }> {
  const version = (await database.read((session) => versionOf(session, database))) ?? 0;
  if (version > POSTGRES_SCHEMA_VERSION) throw newer(database.name, version, POSTGRES_SCHEMA_VERSION);
  return { version, newest: POSTGRES_SCHEMA_VERSION };
}

async function step(
  session: Session,
  database: Database,
  migrations: ReadonlyMap<number, string>,
  newest: number,
): Promise<number> {
  const { schema, name } = database;
  await session.command(STEP_LIMITS);
  await session.command(`select pg_advisory_xact_lock(${lockOf(schema, 'migrate')})`, 2 * STEP_LIMIT);
  let version = await versionOf(session, database);
  if (version === undefined) {
    await createSchema(session, schema);
    version = 0;
  }
  if (version >= newest) return version;
  const sql = migrations.get(version);
  if (sql === undefined) throw damagedDatabase(name);
  await session.command(sql, 2 * STEP_LIMIT);
  await session.changes('update interlock_schema set version = $1', version + 1);
  return version + 1;
}

/** The version of our tables, or undefined where the schema is missing or empty. */
async function versionOf(session: Session, { schema, name }: Database): Promise<number | undefined> {
  const found = await session.row(
    `select exists (select from pg_tables where schemaname = $1 and tablename = 'interlock_schema'),
       exists (select from pg_tables where schemaname = $1)`,
    schema,
  );
  const [ours, any] = found ?? [];
  if (ours === true) {
    // Not prepared for later: the table comes into being between two calls.
    const row = await session.row('select version from interlock_schema');
    if (typeof row?.[0] !== 'number') throw damagedDatabase(name);
    return row[0];
  }
  if (any === true) throw damagedDatabase(name);
  return undefined;
}

/** `if not exists` would ask for the right to create one, which who uses a ready-made schema need not have. */
async function createSchema(session: Session, schema: string): Promise<void> {
  const there = await session.row('select from pg_namespace where nspname = $1', schema);
  if (there === undefined) await session.command(`create schema ${schema}`);
  await session.command(
    'create table interlock_schema (only_row boolean primary key default true check (only_row), version integer not null)',
  );
  await session.command('insert into interlock_schema (version) values (0)');
}

function newer(name: string, version: number, newest: number): InterlockError {
  return new InterlockError(
    'state',
    name,
    `the database ${name} was written by a newer interlock (its version ${version}, this program's ${newest}): use that one`,
  );
}
