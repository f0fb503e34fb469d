import type { SQLInputValue, SQLOutputValue } from 'node:sqlite';
import type { AuditEntry } from '../../audit.ts';
import {
  type AgentRecord,
  ISSUED_KINDS,
  type IssuedFilter,
  type IssuedKind,
  type IssuedSvid,
  type Json,
  type Revocation,
  type StoredJoinToken,
} from '../../identity-store.ts';

type Row = Record<string, SQLOutputValue>;

const text = (value: SQLOutputValue | undefined) => String(value);
const optional = <T>(value: SQLOutputValue | undefined, read: (value: SQLOutputValue) => T) =>
  value === null || value === undefined ? undefined : read(value);

/** Reads a column of JSON; a SyntaxError means a damaged database. */
export function jsonOf(value: SQLOutputValue | undefined): Json {
  // JSON.parse gives exactly the values that Json describes.
  return JSON.parse(text(value)) as Json;
}

function kindOf(value: SQLOutputValue | undefined): IssuedKind {
  const kind = ISSUED_KINDS.find((each) => each === value);
  if (kind === undefined) throw new RangeError(`no kind of credential is called ${text(value)}`);
  return kind;
}

/** A row of `issued`. */
export function issuedOf(row: Row): IssuedSvid {
  const replacedBy = optional(row['replaced_by'], String);
  const droppedAt = optional(row['dropped_at'], Number);
  const revokedAt = optional(row['revoked_at'], Number);
  return {
    serial: text(row['serial']),
    kind: kindOf(row['kind']),
    spiffeId: text(row['spiffe_id']),
    agent: text(row['agent']),
    rule: text(row['rule']),
    authority: text(row['authority']),
    issuedAt: Number(row['issued_at']),
    notAfter: Number(row['not_after']),
    ...(replacedBy === undefined ? {} : { replacedBy }),
    ...(droppedAt === undefined ? {} : { droppedAt }),
    ...(revokedAt === undefined ? {} : { revokedAt }),
  };
}

/** A row of `agent`. */
export function agentOf(row: Row): AgentRecord {
  return {
    id: text(row['id']),
    attestor: text(row['attestor']),
    attributes: jsonOf(row['attributes']),
    serial: text(row['serial']),
    notAfter: Number(row['not_after']),
    attestedAt: Number(row['attested_at']),
    banned: row['banned'] === 1,
  };
}

/** A row of `join_token`. */
export function joinTokenOf(row: Row): StoredJoinToken {
  return {
    hash: text(row['hash']),
    agent: text(row['agent']),
    expiresAt: Number(row['expires_at']),
    createdAt: Number(row['created_at']),
    attributes: jsonOf(row['attributes']),
  };
}

/** A row of `revocation`. */
export function revocationOf(row: Row): Revocation {
  const until = optional(row['until'], Number);
  return {
    what: row['what'] === 'id' ? 'id' : 'serial',
    value: text(row['value']),
    authority: text(row['authority']),
    reason: text(row['reason']),
    at: Number(row['at']),
    ...(until === undefined ? {} : { until }),
  };
}

/** A row of `audit`. */
export function auditOf(row: Row): AuditEntry {
  return {
    seq: Number(row['seq']),
    at: Number(row['at']),
    who: text(row['who']),
    act: text(row['act']),
    what: text(row['what']),
    details: jsonOf(row['details']),
    previous: text(row['previous']),
    hash: text(row['hash']),
  };
}

/** The SQL conditions of a filter with their values. */
export function whereOf(filter: IssuedFilter): { sql: string; values: SQLInputValue[] } {
  const parts: string[] = ['1'];
  const values: SQLInputValue[] = [];
  const add = (sql: string, value: SQLInputValue | undefined) => {
    if (value === undefined) return;
    parts.push(sql);
    values.push(value);
  };
  add(LIVE, filter.liveAt);
  add('revoked_at IS NULL AND not_after > ?', filter.validAt);
  add('serial = ?', filter.serial);
  add('authority = ?', filter.authority);
  add('agent = ?', filter.agent);
  add('rule = ?', filter.rule);
  add('kind = ?', filter.kind);
  if (filter.order === 'ends' && filter.after !== undefined) {
    parts.push('(not_after, serial) > (?, ?)');
    values.push(filter.afterEnd ?? 0, filter.after);
  } else add('serial > ?', filter.after);
  if (filter.spiffeId?.endsWith('*')) {
    const start = filter.spiffeId.slice(0, -1);
    add('spiffe_id >= ?', start);
    // IDs are ASCII, so every one that begins with `start` is below `start` and DEL.
    add('spiffe_id < ?', `${start}\u007f`);
  } else add('spiffe_id = ?', filter.spiffeId);
  return { sql: parts.join(' AND '), values };
}

/** Held and valid at a time (its one parameter). */
export const LIVE = 'not_after > ? AND replaced_by IS NULL AND dropped_at IS NULL AND revoked_at IS NULL';
