/** Version of the tables below, kept in SQLite's `user_version`. A newer one is refused, never guessed at. */
export const SCHEMA_VERSION = 3;
/** SQLite's `application_id` of a state file: "IntL" in ASCII. */
export const APPLICATION_ID = 0x496e744c;

/**
 * What version 2 adds: live evidence. Marks say which reports were kept; a sighting is a flip or a plaintext caller
 * by its key, with what tells it apart as JSON; the live recording of a source and day is an ordinary one.
 */
const LIVE_TABLES = `
  CREATE TABLE live_recording (
    source TEXT NOT NULL, day INTEGER NOT NULL, recording INTEGER NOT NULL, PRIMARY KEY (source, day)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE live_mark (
    reporter TEXT NOT NULL, epoch TEXT NOT NULL, sequence INTEGER NOT NULL, at REAL NOT NULL, PRIMARY KEY (reporter, epoch)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE live_sighting (
    key TEXT PRIMARY KEY, kind TEXT NOT NULL, callee TEXT NOT NULL, data TEXT NOT NULL, count INTEGER NOT NULL,
    first_seen REAL NOT NULL, last_seen REAL NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX live_sighting_by_callee ON live_sighting (kind, callee);
`;

/**
 * What version 3 adds: whom a recording names and which hours it covers (NULL of one that was taken in before, and of live
 * ones), and live coverage by workload. `hours` of it is a bit for each hour of the day.
 */
const LIVE_COVERAGE = `
  CREATE TABLE live_coverage (
    workload INTEGER NOT NULL, source TEXT NOT NULL, day INTEGER NOT NULL, hours INTEGER NOT NULL, events INTEGER NOT NULL,
    lost INTEGER NOT NULL, PRIMARY KEY (workload, source, day)
  ) STRICT, WITHOUT ROWID;
`;
/** Live recordings of before are closed: what they hold was not counted by workload, so they concern every one. */
const BY_WORKLOAD = `
  ALTER TABLE recording ADD COLUMN callees BLOB;
  ALTER TABLE recording ADD COLUMN others BLOB;
  ALTER TABLE recording ADD COLUMN hours BLOB;
  DELETE FROM live_recording;
  ${LIVE_COVERAGE}
`;

/** By the version that is left: what makes the next one of it. Each is one transaction together with its number. */
export const MIGRATIONS: ReadonlyMap<number, string> = new Map([
  [1, LIVE_TABLES],
  [2, BY_WORKLOAD],
]);

/**
 * Endpoints, actions and names are interned: an access is four numbers and its counters. The counters of all
 * hours of an access are one packed value (packing.ts) instead of a row for each hour: 100,000 accesses over a
 * day are 100,000 rows instead of 2.4 million. Times are REAL, in milliseconds
 * since 1970 UTC; a time that nothing covers is infinite.
 */
export const SCHEMA = `
  CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE carry (format TEXT PRIMARY KEY, data TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE recording (
    id INTEGER PRIMARY KEY, format TEXT NOT NULL, taken_at REAL NOT NULL, read INTEGER NOT NULL,
    accepted INTEGER NOT NULL, skips TEXT NOT NULL, lost TEXT NOT NULL, first_seen REAL NOT NULL, last_seen REAL NOT NULL
  , callees BLOB, others BLOB, hours BLOB) STRICT;
  CREATE TABLE file (
    digest TEXT PRIMARY KEY, recording INTEGER NOT NULL, position INTEGER NOT NULL, name TEXT NOT NULL, bytes INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE endpoint (id INTEGER PRIMARY KEY, data TEXT NOT NULL UNIQUE) STRICT;
  CREATE TABLE action (id INTEGER PRIMARY KEY, data TEXT NOT NULL UNIQUE) STRICT;
  CREATE TABLE name (id INTEGER PRIMARY KEY, data TEXT NOT NULL UNIQUE) STRICT;
  CREATE TABLE access (
    id INTEGER PRIMARY KEY, caller INTEGER NOT NULL, callee INTEGER NOT NULL, action INTEGER NOT NULL, side TEXT NOT NULL,
    first_seen REAL NOT NULL, last_seen REAL NOT NULL, mutual INTEGER NOT NULL, plaintext INTEGER NOT NULL,
    instances BLOB NOT NULL, sources BLOB NOT NULL, counts BLOB NOT NULL, UNIQUE (action, caller, callee, side)
  ) STRICT;
  CREATE TABLE blind_spot (
    kind TEXT NOT NULL, caller INTEGER NOT NULL, callee INTEGER NOT NULL, what TEXT NOT NULL, action TEXT,
    count INTEGER NOT NULL, first_seen REAL NOT NULL, last_seen REAL NOT NULL, PRIMARY KEY (kind, caller, callee, what)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE fact (key TEXT PRIMARY KEY, data TEXT NOT NULL) STRICT, WITHOUT ROWID;
  ${LIVE_TABLES}
  ${LIVE_COVERAGE}
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${SCHEMA_VERSION};
`;
