import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { InterlockError } from '../../../access/index.ts';
import { chained, type NewAuditEntry } from '../../audit.ts';
import { type Change, type IssuedSvid, notAllowed, versionConflict } from '../../identity-store.ts';

/** Makes changes inside a transaction that the caller opened and ends. */
export class ChangeWriter {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  make(change: Change): void {
    switch (change.change) {
      case 'put':
        this.#expect(change);
        this.#run(
          'INSERT INTO document (kind, name, data) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET data = excluded.data, version = version + 1',
          [change.kind, change.name, JSON.stringify(change.data)],
        );
        break;
      case 'remove':
        this.#expect(change);
        this.#run('DELETE FROM document WHERE kind = ? AND name = ?', [change.kind, change.name]);
        break;
      case 'issue':
        this.#issue(change.svid, change.replaces);
        break;
      case 'drop':
        for (const serial of change.serials) {
          this.#run(
            'UPDATE issued SET dropped_at = ? WHERE serial = ? AND agent = ? AND dropped_at IS NULL',
            [change.at, serial, change.agent],
          );
        }
        break;
      case 'agent': {
        const { id, attestor, attributes, serial, notAfter, attestedAt, banned } = change.agent;
        // What was banned stays so until it is forgotten, also when its renewal was under way.
        this.#run(
          'INSERT INTO agent VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET attestor = excluded.attestor, attributes = excluded.attributes, serial = excluded.serial, not_after = excluded.not_after, attested_at = excluded.attested_at, banned = max(banned, excluded.banned)',
          [id, attestor, JSON.stringify(attributes), serial, notAfter, attestedAt, Number(banned)],
        );
        break;
      }
      case 'forget-agent':
        this.#run('DELETE FROM agent WHERE id = ?', [change.id]);
        break;
      case 'join-token': {
        const { hash, agent, expiresAt, createdAt, attributes } = change.token;
        this.#run('INSERT INTO join_token VALUES (?, ?, ?, ?, ?)', [
          hash,
          agent,
          expiresAt,
          createdAt,
          JSON.stringify(attributes),
        ]);
        break;
      }
      case 'revoke': {
        const { what, value, authority, reason, at, until } = change.revocation;
        this.#run('INSERT OR REPLACE INTO revocation VALUES (?, ?, ?, ?, ?, ?)', [
          what,
          value,
          authority,
          reason,
          at,
          until ?? null,
        ]);
        if (what === 'serial')
          this.#run('UPDATE issued SET revoked_at = ? WHERE serial = ? AND revoked_at IS NULL', [at, value]);
        break;
      }
      case 'allow':
        this.#run('DELETE FROM revocation WHERE what = ? AND value = ?', [change.what, change.value]);
        break;
      case 'require':
        this.#require(change);
        break;
    }
  }

  /** The number of the commit that is being made. */
  nextSeq(): number {
    return Number(this.#prepared('UPDATE commit_head SET seq = seq + 1 RETURNING seq').get()?.['seq']);
  }

  /** Appends to the audit log, chained to its last entry, and gives the entry's number. */
  append(entry: NewAuditEntry): number {
    const row = this.#prepared('SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1').get();
    const last = row === undefined ? undefined : { seq: Number(row['seq']), hash: String(row['hash']) };
    const { seq, at, who, act, what, details, previous, hash } = chained(entry, last);
    this.#run('INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?)', [
      seq,
      at,
      who,
      act,
      what,
      JSON.stringify(details),
      previous,
      hash,
    ]);
    return seq;
  }

  #expect(change: Extract<Change, { change: 'put' | 'remove' }>): void {
    if (change.expect === undefined) return;
    const row = this.#prepared('SELECT version FROM document WHERE kind = ? AND name = ?').get(
      change.kind,
      change.name,
    );
    const version = Number(row?.['version'] ?? 0);
    if (version !== change.expect) throw versionConflict(change, version);
  }

  #require({ spiffeId, agent, mayBeNew = false }: Extract<Change, { change: 'require' }>): void {
    const revoked = "SELECT 1 FROM revocation WHERE what = 'id' AND value = ?";
    if (spiffeId !== undefined && this.#prepared(revoked).get(spiffeId) !== undefined)
      throw notAllowed(spiffeId, 'is revoked');
    if (agent === undefined) return;
    const row = this.#prepared('SELECT banned FROM agent WHERE id = ?').get(agent);
    if (row === undefined && !mayBeNew) throw notAllowed(agent, 'is no agent (any more)');
    if (row?.['banned'] === 1) throw notAllowed(agent, 'was evicted');
  }

  #issue(svid: IssuedSvid, replaces: string | undefined): void {
    const { serial, kind, spiffeId, agent, rule, authority, issuedAt, notAfter } = svid;
    const done = this.#run(
      'INSERT INTO issued (serial, kind, spiffe_id, agent, rule, authority, issued_at, not_after) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
      [serial, kind, spiffeId, agent, rule, authority, issuedAt, notAfter],
    );
    if (done === 0) {
      throw new InterlockError(
        'conflict',
        serial,
        `serial number ${serial} was issued before: it is not issued again`,
      );
    }
    if (replaces === undefined) return;
    this.#run('UPDATE issued SET replaced_by = ? WHERE serial = ? AND agent = ? AND replaced_by IS NULL', [
      serial,
      replaces,
      agent,
    ]);
  }

  #run(sql: string, values: readonly (string | number | null)[]): number {
    return Number(this.#prepared(sql).run(...values).changes);
  }

  #prepared(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) this.#statements.set(sql, (statement = this.#db.prepare(sql)));
    return statement;
  }
}
