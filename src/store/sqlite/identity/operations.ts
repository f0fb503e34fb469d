import type { DatabaseSync } from 'node:sqlite';
import { type AuditFault, FIRST_PREVIOUS, hashOf, type NewAuditEntry } from '../../audit.ts';
import {
  type Change,
  type DocumentKind,
  type IdentityStore,
  ISSUED_KINDS,
  type IssuedFilter,
  type LiveCount,
} from '../../identity-store.ts';
import { type Committed, touchedBy } from '../../commits.ts';
import { ChangeWriter } from './changes.ts';
import { agentOf, auditOf, issuedOf, joinTokenOf, jsonOf, LIVE, revocationOf, whereOf } from './rows.ts';

/** Every method of the store that asks the database something, as a call that can be sent to the thread that holds the database. */
export type Operation = Exclude<keyof IdentityStore, 'watch' | 'lead' | 'close'>;
export interface Call<Name extends Operation = Operation> {
  readonly operation: Name;
  readonly args: Parameters<IdentityStore[Name]>;
}

type Operations = {
  readonly [Name in Operation]: (
    ...args: Parameters<IdentityStore[Name]>
  ) => Awaited<ReturnType<IdentityStore[Name]>>;
};

/** A commit as the thread knows it: all of them are made through this store. */
export type NewCommit = Omit<Committed, 'own'>;

/** Largest number of rows that one answer holds. */
const MAX_ROWS = 10_000;
/** Entries that the check of the audit log reads at once. */
const AUDIT_PAGE = 1000;

/** What each call does, inside a transaction that the caller opened. */
export function operationsOn(db: DatabaseSync): Operations {
  const writer = new ChangeWriter(db);
  return {
    /** Gives what those who watch are told, which the other thread takes out of the answer. */
    commit(changes: readonly Change[], entry?: NewAuditEntry): NewCommit | undefined {
      for (const change of changes) writer.make(change);
      const audit = entry === undefined ? undefined : writer.append(entry);
      const touched = touchedBy(changes, audit);
      return touched.length === 0 ? undefined : { seq: writer.nextSeq(), touched };
    },
    documents: (kind: DocumentKind, names?: readonly string[]) =>
      db
        .prepare(
          `SELECT name, version, data FROM document WHERE kind = ? ${among('name', names)} ORDER BY name`,
        )
        .all(kind, ...listed(names))
        .map((row) => ({
          name: String(row['name']),
          version: Number(row['version']),
          data: jsonOf(row['data']),
        })),
    takeJoinToken(hash: string) {
      // One statement: of two callers at once, one gets the row and the other gets none.
      const row = db.prepare('DELETE FROM join_token WHERE hash = ? RETURNING *').get(hash);
      return row === undefined ? undefined : joinTokenOf(row);
    },
    joinTokens: () => db.prepare('SELECT * FROM join_token ORDER BY created_at').all().map(joinTokenOf),
    useToken(hash: string, until: number, now: number) {
      db.prepare('DELETE FROM used_token WHERE until <= ?').run(now);
      const done = db
        .prepare('INSERT INTO used_token (hash, until) VALUES (?, ?) ON CONFLICT DO NOTHING')
        .run(hash, until);
      return done.changes === 1;
    },
    agents: (ids?: readonly string[]) =>
      db
        .prepare(`SELECT * FROM agent WHERE true ${among('id', ids)} ORDER BY id`)
        .all(...listed(ids))
        .map(agentOf),
    issued(filter: IssuedFilter) {
      const { sql, values } = whereOf(filter);
      const limit = Math.min(filter.limit ?? 1000, MAX_ROWS);
      const order = filter.order === 'ends' ? 'not_after, serial' : 'serial';
      return db
        .prepare(`SELECT * FROM issued WHERE ${sql} ORDER BY ${order} LIMIT ?`)
        .all(...values, limit)
        .map(issuedOf);
    },
    liveCounts: (now: number) => liveCounts(db, now),
    revocations: () => db.prepare('SELECT * FROM revocation ORDER BY at, value').all().map(revocationOf),
    audit: (from: number, limit: number) =>
      db
        .prepare('SELECT * FROM audit WHERE seq >= ? ORDER BY seq LIMIT ?')
        .all(from, Math.min(limit, MAX_ROWS))
        .map(auditOf),
    verifyAudit: (from = 1) => auditFault(db, from),
    prune(before: number) {
      let gone = 0;
      for (const sql of [
        'DELETE FROM issued WHERE not_after < ?',
        'DELETE FROM used_token WHERE until < ?',
        'DELETE FROM join_token WHERE expires_at < ?',
        'DELETE FROM revocation WHERE until < ?',
      ]) {
        gone += Number(db.prepare(sql).run(before).changes);
      }
      return gone;
    },
  };
}

/** One value however many there are: the same statement for all of them. */
const among = (column: string, values: readonly string[] | undefined) =>
  values === undefined ? '' : `AND ${column} IN (SELECT value FROM json_each(?))`;
const listed = (values: readonly string[] | undefined) =>
  values === undefined ? [] : [JSON.stringify(values)];

function liveCounts(db: DatabaseSync, now: number): LiveCount[] {
  const sql = `SELECT authority, kind, count(*) AS n FROM issued WHERE ${LIVE} GROUP BY authority, kind ORDER BY authority, kind`;
  return db
    .prepare(sql)
    .all(now)
    .flatMap((row) => {
      const kind = ISSUED_KINDS.find((each) => each === row['kind']);
      return kind === undefined
        ? []
        : [{ authority: String(row['authority']), kind, count: Number(row['n']) }];
    });
}

function auditFault(db: DatabaseSync, from: number): AuditFault | undefined {
  let seq = Math.max(1, from);
  let previous = FIRST_PREVIOUS;
  if (seq > 1) {
    const before = db.prepare('SELECT hash FROM audit WHERE seq = ?').get(seq - 1);
    if (before === undefined) return { seq: seq - 1, reason: 'missing' };
    previous = String(before['hash']);
  }
  const page = db.prepare('SELECT * FROM audit WHERE seq >= ? ORDER BY seq LIMIT ?');
  for (;;) {
    const rows = page.all(seq, AUDIT_PAGE);
    for (const row of rows) {
      if (Number(row['seq']) !== seq) return { seq, reason: 'missing' };
      let entry: ReturnType<typeof auditOf>;
      try {
        entry = auditOf(row);
      } catch {
        return { seq, reason: 'unreadable' };
      }
      if (entry.previous !== previous || hashOf(entry) !== entry.hash) return { seq, reason: 'changed' };
      previous = entry.hash;
      seq++;
    }
    if (rows.length < AUDIT_PAGE) break;
  }
  const written = db.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'audit'").get()?.['seq'];
  return Number(written ?? 0) >= seq ? { seq, reason: 'missing' } : undefined;
}
