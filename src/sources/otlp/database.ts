import type { Said } from './said.ts';

/** Values of `db.system` and `db.system.name` that are asked in SQL (OpenTelemetry's database conventions). */
const SQL = new Set([
  'mysql',
  'mariadb',
  'postgresql',
  'mssql',
  'microsoft.sql_server',
  'oracle',
  'oracle.db',
  'other_sql',
  'sqlite',
  'h2',
  'h2database',
  'hsqldb',
  'derby',
  'db2',
  'ibm.db2',
  'cockroachdb',
  'clickhouse',
  'firebird',
  'firebirdsql',
  'hive',
  'redshift',
  'aws.redshift',
  'snowflake',
  'teradata',
  'trino',
  'vertica',
  'spanner',
  'gcp.spanner',
  'tidb',
]);
/** Databases inside the process: nobody is called. */
const EMBEDDED = new Set(['sqlite', 'h2', 'h2database', 'hsqldb', 'derby']);
/** Span names of the conventions' form `OPERATION database.table`, as JDBC instrumentation writes them. */
const SQL_NAME = /^(?:SELECT|INSERT|UPDATE|DELETE|MERGE|REPLACE|CALL|UPSERT) ([\w$-]+)\.[\w$.-]+$/;
/** Span names of Go's database/sql instrumentations for the calls that reach the database. */
const GO_SQL_NAME =
  /^sql[.:](?:conn|stmt|connector)[._]?(?:query|exec|ping|connect|prepare|begin_tx)(?:_context)?$/;

/** What a database call did (`SQL on shop`, `redis GET`): never the statement itself, which may hold data. */
export function databaseCall(said: Said): string | undefined {
  if (said.dbSystem !== undefined) {
    if (SQL.has(said.dbSystem)) return said.dbName === undefined ? 'SQL' : `SQL on ${said.dbName}`;
    const word = /^[\w.-]{1,32}/.exec(said.dbOperation ?? '')?.[0];
    return word === undefined ? said.dbSystem : `${said.dbSystem} ${word}`;
  }
  const database = SQL_NAME.exec(said.name)?.[1];
  if (database !== undefined) return `SQL on ${database}`;
  return GO_SQL_NAME.test(said.name) ? 'SQL' : undefined;
}

/** Whether the call stays inside the process. */
export function isEmbedded(said: Said): boolean {
  return said.dbSystem !== undefined && EMBEDDED.has(said.dbSystem) && said.host === undefined;
}
