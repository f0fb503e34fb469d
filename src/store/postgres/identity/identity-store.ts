import { randomUUID } from 'node:crypto';
import { InterlockError } from '../../../access/index.ts';
import type { AuditEntry, AuditFault, NewAuditEntry } from '../../audit.ts';
import type { OnCommit } from '../../commits.ts';
import {
  type AgentRecord,
  type Change,
  type DocumentKind,
  type IdentityStore,
  type IssuedFilter,
  type IssuedSvid,
  type LiveCount,
  ISSUED_KINDS,
  type OnLead,
  type Revocation,
  type StoredDocument,
  type StoredJoinToken,
} from '../../identity-store.ts';
import type { Database } from '../database.ts';
import { all, type Session } from '../session.ts';
import { auditFault } from './audit-chain.ts';
import { Committer } from './committer.ts';
import { Follower } from './follower.ts';
import { Leader } from './leader.ts';
import {
  AGENT_COLUMNS,
  AUDIT_COLUMNS,
  agentOf,
  auditOf,
  documentOf,
  ISSUED_COLUMNS,
  issuedOf,
  joinTokenOf,
  LIVE_COUNTS,
  REVOCATION_COLUMNS,
  revocationOf,
  TOKEN_COLUMNS,
  whereOf,
} from './rows.ts';

/** Largest number of rows that one answer holds. */
const MAX_ROWS = 10_000;
/** Rows that are forgotten in one transaction: commits wait for no longer. */
const PRUNE_ROWS = 5000;
const PRUNED = [
  'delete from issued where serial in (select serial from issued where not_after < $1 limit $2)',
  'delete from used_token where hash in (select hash from used_token where until < $1 limit $2)',
  'delete from join_token where hash in (select hash from join_token where expires_at < $1 limit $2)',
  'delete from revocation where (what, value) in (select what, value from revocation where until < $1 limit $2)',
];

/** The identity store in PostgreSQL. Opened by {@link file://../open.ts}. */
export class PostgresIdentityStore implements IdentityStore {
  readonly #database: Database;
  readonly #patience: number;
  readonly #committer: Committer;
  readonly #follower: Follower;
  readonly #onClose: () => Promise<void>;
  #leader: Leader | undefined;
  #closed = false;

  constructor(database: Database, patience: number, onClose: () => Promise<void>) {
    this.#database = database;
    this.#patience = patience;
    this.#onClose = onClose;
    const id = randomUUID();
    // Channels are the database's, not the schema's.
    const channel = `${database.schema}_commit`;
    this.#committer = new Committer(database, id, channel);
    this.#follower = new Follower(database, id, channel);
  }

  async commit(changes: readonly Change[], entry?: NewAuditEntry): Promise<void> {
    this.#checkOpen();
    if (changes.length > 0 || entry !== undefined) await this.#committer.commit(changes, entry);
  }

  async documents(kind: DocumentKind, names?: readonly string[]): Promise<StoredDocument[]> {
    const some = names === undefined ? '' : 'and name = any($2::text[])';
    const sql = `select name, version, data from document where kind = $1 ${some} order by name`;
    const values = names === undefined ? [kind] : [kind, names];
    return (await this.#read((session) => session.rows(sql, ...values))).map(documentOf);
  }

  async takeJoinToken(hash: string): Promise<StoredJoinToken | undefined> {
    // One statement: of two callers at once, one gets the row and the other waits, and gets none.
    const sql = `delete from join_token where hash = $1 returning ${TOKEN_COLUMNS}`;
    const row = await this.#write((session) => session.row(sql, hash));
    return row === undefined ? undefined : joinTokenOf(row);
  }

  async joinTokens(): Promise<StoredJoinToken[]> {
    const sql = `select ${TOKEN_COLUMNS} from join_token order by created_at, hash`;
    return (await this.#read((session) => session.rows(sql))).map(joinTokenOf);
  }

  /**
   * A row whose time is over for the caller is taken anew; it is not removed by this call: for a replica whose clock is
   * behind, the token may still be valid, and must still be known.
   */
  async useToken(hash: string, until: number, now: number): Promise<boolean> {
    const sql = `insert into used_token (hash, until) values ($1, $2) on conflict (hash) do update set until = excluded.until
      where used_token.until <= $3`;
    return (await this.#write((session) => session.changes(sql, hash, until, now))) === 1;
  }

  async agents(ids?: readonly string[]): Promise<AgentRecord[]> {
    const some = ids === undefined ? '' : 'where id = any($1::text[])';
    const sql = `select ${AGENT_COLUMNS} from agent ${some} order by id`;
    const values = ids === undefined ? [] : [ids];
    return (await this.#read((session) => session.rows(sql, ...values))).map(agentOf);
  }

  async issued(filter: IssuedFilter): Promise<IssuedSvid[]> {
    const { sql, values } = whereOf(filter);
    const limit = Math.min(filter.limit ?? 1000, MAX_ROWS);
    const order = filter.order === 'ends' ? 'not_after, serial' : 'serial';
    const text = `select ${ISSUED_COLUMNS} from issued where ${sql} order by ${order} limit $${values.length + 1}`;
    return (await this.#read((session) => session.rows(text, ...values, limit))).map(issuedOf);
  }

  async liveCounts(now: number): Promise<LiveCount[]> {
    const rows = await this.#read((session) => session.rows(LIVE_COUNTS, now));
    return rows.flatMap(([authority, kindText, count]) => {
      const kind = ISSUED_KINDS.find((each) => each === kindText);
      return kind === undefined ? [] : [{ authority: String(authority), kind, count: Number(count) }];
    });
  }

  async revocations(): Promise<Revocation[]> {
    const sql = `select ${REVOCATION_COLUMNS} from revocation order by at, value`;
    return (await this.#read((session) => session.rows(sql))).map(revocationOf);
  }

  async audit(from: number, limit: number): Promise<AuditEntry[]> {
    const sql = `select ${AUDIT_COLUMNS} from audit where seq >= $1 order by seq limit $2`;
    return (await this.#read((session) => session.rows(sql, from, Math.min(limit, MAX_ROWS)))).map(auditOf);
  }

  async verifyAudit(from = 1): Promise<AuditFault | undefined> {
    this.#checkOpen();
    return this.#database.snapshot((session) => auditFault(session, from));
  }

  async prune(before: number): Promise<number> {
    this.#checkOpen();
    let gone = 0;
    for (const sql of PRUNED) {
      for (let part = PRUNE_ROWS; part === PRUNE_ROWS; gone += part)
        part = await this.#committer.exclusive((session) => session.changes(sql, before, PRUNE_ROWS));
    }
    return gone;
  }

  async watch(onCommit: OnCommit): Promise<() => void> {
    this.#checkOpen();
    return this.#follower.watch(onCommit, this.#patience);
  }

  async lead(onLead: OnLead): Promise<() => Promise<void>> {
    this.#checkOpen();
    this.#leader ??= new Leader(this.#database);
    return this.#leader.add(onLead);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#leader?.stop();
    await all([this.#committer.idle(), this.#follower.close()]);
    await this.#onClose();
  }

  #read<T>(work: (session: Session) => Promise<T>): Promise<T> {
    this.#checkOpen();
    return this.#database.read(work);
  }

  #write<T>(work: (session: Session) => Promise<T>): Promise<T> {
    this.#checkOpen();
    return this.#database.transaction(work);
  }

  #checkOpen(): void {
    if (this.#closed)
      throw new InterlockError('state', this.#database.name, `the database ${this.#database.name} is closed`);
  }
}
