import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parseAddress } from './address.ts';
import { Database } from './database.ts';
import { migrate } from './migrate.ts';
import { databaseOf } from './raw.test-helper.ts';
import { POSTGRES_MIGRATIONS, POSTGRES_SCHEMA_VERSION } from './schema.ts';
import { hasPostgres, newPostgresUrl } from './server.test-helper.ts';
import { closeAfterEach, openStores } from './stores.test-helper.ts';

closeAfterEach();

const module = (name: string) => JSON.stringify(fileURLToPath(new URL(name, import.meta.url)));
/** Begins the first migration, says so when all tables are made, and waits for ever in front of the commit. */
const DIES_WHILE_MIGRATING = `
  import { writeSync } from 'node:fs';
  import { parseAddress } from ${module('./address.ts')};
  import { Database } from ${module('./database.ts')};
  import { migrate } from ${module('./migrate.ts')};
  import { POSTGRES_MIGRATIONS } from ${module('./schema.ts')};
  const sql = "set application_name = " + process.argv[2] + ";" + POSTGRES_MIGRATIONS.get(0) + "; select pg_sleep(600)";
  await migrate(new Database(parseAddress(process.argv[1])), new Map([[0, sql]]));
`;

const NEXT = POSTGRES_SCHEMA_VERSION + 1;
/** A step that would fail if it were made twice. */
const NEXT_STEP = `create table of_the_next_version (n integer); insert into of_the_next_version values (1); select pg_sleep(0.05)`;

describe.skipIf(!hasPostgres)('the tables in PostgreSQL', () => {
  test('are made once, where many replicas start at once', async () => {
    const url = await newPostgresUrl();
    const replicas = await Promise.all(Array.from({ length: 6 }, () => openStores(url)));
    await Promise.all(
      replicas.map(({ identity }, i) =>
        identity.commit([{ change: 'put', kind: 'rule', name: String(i), data: i }]),
      ),
    );
    expect(await replicas[0]?.identity.documents('rule')).toHaveLength(6);
  });

  test('are migrated once, with what they hold, by replicas that start at once', async () => {
    const url = await newPostgresUrl();
    const { identity } = await openStores(url);
    await identity.commit([{ change: 'put', kind: 'rule', name: 'a', data: 1 }]);
    const steps = new Map([...POSTGRES_MIGRATIONS, [POSTGRES_SCHEMA_VERSION, NEXT_STEP]]);
    const databases = Array.from({ length: 4 }, () => new Database(parseAddress(url)));
    await Promise.all(databases.map((database) => migrate(database, steps, NEXT)));
    await Promise.all(databases.map((database) => database.close()));
    const db = await databaseOf(url);
    const { rows } = await db.query('select n, version from of_the_next_version, interlock_schema');
    await db.end();
    expect(rows).toEqual([{ n: 1, version: NEXT }]);
    expect(await identity.documents('rule')).toHaveLength(1);
    // The program of this version, started beside it, refuses to guess.
    await expect(openStores(url)).rejects.toMatchObject({
      code: 'state',
      message: expect.stringContaining('newer interlock'),
    });
  });

  test('are made anew by the next one, where the process was killed while it made them', async () => {
    const url = await newPostgresUrl();
    const db = await databaseOf(url);
    const schema = new URL(url).searchParams.get('schema') ?? '';
    const args = ['--input-type=module', '-e', DIES_WHILE_MIGRATING, url, schema];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] });
    const closed = once(child, 'close');
    const sleeping = `select pid from pg_stat_activity where application_name = $1 and wait_event = 'PgSleep'`;
    let found: { pid: number }[] = [];
    // The migration sleeps once all its tables are made.
    while (found.length === 0) found = (await db.query(sleeping, [schema])).rows;
    child.kill('SIGKILL');
    await closed;
    // The server hears of it at its next word to the client: as if its keepalive had found nobody.
    await db.query('select pg_terminate_backend(pid, 10000) from pg_stat_activity where pid = $1', [
      found[0]?.pid,
    ]);
    const none = await db.query('select from pg_namespace where nspname = $1', [schema]);
    expect(none.rowCount).toBe(0);
    await db.end();
    const { identity } = await openStores(url);
    await identity.commit([], { at: 1, who: 'x', act: 'x', what: 'x', details: null });
    expect(await identity.audit(1, 9)).toHaveLength(1);
  });

  test('that are not ours are not touched', async () => {
    const url = await newPostgresUrl();
    const db = await databaseOf(url);
    const schema = new URL(url).searchParams.get('schema');
    await db.query(`create schema ${schema}; create table ${schema}.theirs (n integer)`);
    await expect(openStores(url)).rejects.toMatchObject({
      code: 'state',
      message: expect.stringContaining('not written by interlock'),
    });
    const { rows } = await db.query('select tablename from pg_tables where schemaname = $1', [schema]);
    await db.end();
    expect(rows).toEqual([{ tablename: 'theirs' }]);
  });

  test('may stand in a schema that was made ready for a user without the right to make one', async () => {
    const url = await newPostgresUrl();
    const db = await databaseOf(url);
    const schema = new URL(url).searchParams.get('schema');
    await db.query(`create role ${schema}_user login; create schema ${schema} authorization ${schema}_user`);
    await db.end();
    const { identity } = await openStores(url.replace('//postgres@', `//${schema}_user@`));
    await identity.commit([{ change: 'put', kind: 'rule', name: 'a', data: 1 }]);
    expect(await identity.documents('rule')).toHaveLength(1);
  });
});
