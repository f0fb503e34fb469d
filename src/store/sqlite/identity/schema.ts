/** Version of the tables below, kept in SQLite's `user_version`. */
export const IDENTITY_SCHEMA_VERSION = 2;
/** SQLite's `application_id` of an identity database: "IntI" in ASCII. */
export const IDENTITY_APPLICATION_ID = 0x496e7449;

/**
 * Times are INTEGER milliseconds since 1970 UTC. The audit log is append-only to every statement: its triggers
 * refuse others, and AUTOINCREMENT remembers the highest number, so that a cut-off end is found.
 */
const VERSION_1 = `
  CREATE TABLE document (
    kind TEXT NOT NULL, name TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (kind, name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE join_token (
    hash TEXT PRIMARY KEY, agent TEXT NOT NULL, expires_at INTEGER NOT NULL, created_at INTEGER NOT NULL, attributes TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE used_token (hash TEXT PRIMARY KEY, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE agent (
    id TEXT PRIMARY KEY, attestor TEXT NOT NULL, attributes TEXT NOT NULL, serial TEXT NOT NULL,
    not_after INTEGER NOT NULL, attested_at INTEGER NOT NULL, banned INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE issued (
    serial TEXT PRIMARY KEY, kind TEXT NOT NULL, spiffe_id TEXT NOT NULL, agent TEXT NOT NULL, rule TEXT NOT NULL,
    authority TEXT NOT NULL, issued_at INTEGER NOT NULL, not_after INTEGER NOT NULL,
    replaced_by TEXT, dropped_at INTEGER, revoked_at INTEGER
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX issued_by_authority ON issued (authority, not_after);
  CREATE INDEX issued_by_id ON issued (spiffe_id);
  CREATE INDEX issued_by_agent ON issued (agent);
  CREATE INDEX issued_by_end ON issued (not_after);
  CREATE TABLE revocation (
    what TEXT NOT NULL, value TEXT NOT NULL, authority TEXT NOT NULL, reason TEXT NOT NULL, at INTEGER NOT NULL,
    until INTEGER, PRIMARY KEY (what, value)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, who TEXT NOT NULL, act TEXT NOT NULL,
    what TEXT NOT NULL, details TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL
  ) STRICT;
  CREATE TRIGGER audit_unchanged BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
  CREATE TRIGGER audit_undeleted BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
  PRAGMA application_id = ${IDENTITY_APPLICATION_ID};
`;

/** What version 2 adds: versions of documents, the number of the last commit, and an index for the one filter without. */
const VERSION_2 = `
  ALTER TABLE document ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
  CREATE TABLE commit_head (only_row INTEGER PRIMARY KEY CHECK (only_row = 1), seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  INSERT INTO commit_head VALUES (1, 0);
  CREATE INDEX issued_by_rule ON issued (rule);
`;

/**
 * By the version that is left: what makes the next one of it. A new database takes every step, so that it is the same as
 * one that grew. Each step is one transaction together with its number (SQLite keeps `user_version` in its first page).
 */
export const IDENTITY_MIGRATIONS: ReadonlyMap<number, string> = new Map([
  [0, VERSION_1],
  [1, VERSION_2],
]);
