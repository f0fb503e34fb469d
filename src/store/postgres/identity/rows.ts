import type { AuditEntry } from '../../audit.ts';
import {
  type AgentRecord,
  ISSUED_KINDS,
  type IssuedFilter,
  type IssuedSvid,
  type Json,
  type Revocation,
  type StoredDocument,
  type StoredJoinToken,
} from '../../identity-store.ts';
import type { Row } from '../session.ts';
import type { Value } from '../values.ts';

// The casts in this file: columns are NOT NULL and of the type that the schema gives them, but where a row says otherwise.

export function documentOf(row: Row): StoredDocument {
  const [name, version, data] = row as [string, number, Json];
  return { name, version, data };
}

export const ISSUED_COLUMNS =
  'serial, kind, spiffe_id, agent, rule, authority, issued_at, not_after, replaced_by, dropped_at, revoked_at';

/** A row of {@link ISSUED_COLUMNS}. */
export function issuedOf(row: Row): IssuedSvid {
  const [serial, kindText, spiffeId, agent, rule, authority, issuedAt, notAfter] = row as [
    ...[string, string, string, string, string, string],
    ...[number, number],
  ];
  const [replacedBy, droppedAt, revokedAt] = row.slice(8) as [string | null, number | null, number | null];
  const kind = ISSUED_KINDS.find((each) => each === kindText);
  if (kind === undefined) throw new RangeError(`no kind of credential is called ${kindText}`);
  return {
    serial,
    kind,
    spiffeId,
    agent,
    rule,
    authority,
    issuedAt,
    notAfter,
    ...(replacedBy === null ? {} : { replacedBy }),
    ...(droppedAt === null ? {} : { droppedAt }),
    ...(revokedAt === null ? {} : { revokedAt }),
  };
}

export const AGENT_COLUMNS = 'id, attestor, attributes, serial, not_after, attested_at, banned';

/** A row of {@link AGENT_COLUMNS}. */
export function agentOf(row: Row): AgentRecord {
  const [id, attestor, attributes, serial, notAfter, attestedAt, banned] = row as [
    ...[string, string, Json, string],
    ...[number, number, boolean],
  ];
  return { id, attestor, attributes, serial, notAfter, attestedAt, banned };
}

export const TOKEN_COLUMNS = 'hash, agent, expires_at, created_at, attributes';

/** A row of {@link TOKEN_COLUMNS}. */
export function joinTokenOf(row: Row): StoredJoinToken {
  const [hash, agent, expiresAt, createdAt, attributes] = row as [string, string, number, number, Json];
  return { hash, agent, expiresAt, createdAt, attributes };
}

export const REVOCATION_COLUMNS = 'what, value, authority, reason, at, until';

/** A row of {@link REVOCATION_COLUMNS}. */
export function revocationOf(row: Row): Revocation {
  const [what, value, authority, reason, at, until] = row as [
    ...['id' | 'serial', string, string, string],
    ...[number, number | null],
  ];
  return { what, value, authority, reason, at, ...(until === null ? {} : { until }) };
}

export const AUDIT_COLUMNS = 'seq, at, who, act, what, details, previous, hash';

/** A row of {@link AUDIT_COLUMNS}. */
export function auditOf(row: Row): AuditEntry {
  const [seq, at, who, act, what, details, previous, hash] = row as [
    ...[number, number, string, string, string],
    ...[Json, string, string],
  ];
  return { seq, at, who, act, what, details, previous, hash };
}

/** Held and valid at a time. */
const LIVE = 'replaced_by is null and dropped_at is null and revoked_at is null and not_after >';
export const LIVE_COUNTS = `select authority, kind, count(*) from issued where ${LIVE} $1 group by authority, kind order by authority, kind`;

/** The SQL conditions of a filter with their values. */
export function whereOf(filter: IssuedFilter): { sql: string; values: Value[] } {
  const parts: string[] = ['true'];
  const values: Value[] = [];
  const add = (sql: string, value: Value | undefined) => {
    if (value !== undefined) parts.push(`${sql} $${values.push(value)}`);
  };
  add(LIVE, filter.liveAt);
  add('revoked_at is null and not_after >', filter.validAt);
  add('serial =', filter.serial);
  add('authority =', filter.authority);
  add('agent =', filter.agent);
  add('rule =', filter.rule);
  add('kind =', filter.kind);
  if (filter.order === 'ends' && filter.after !== undefined) {
    const [end, serial] = [values.push(filter.afterEnd ?? 0), values.push(filter.after)];
    parts.push(`(not_after, serial) > ($${end}, $${serial})`);
  } else add('serial >', filter.after);
  if (filter.spiffeId?.endsWith('*')) {
    const start = filter.spiffeId.slice(0, -1);
    add('spiffe_id >=', start);
    // IDs are ASCII, so every one that begins with `start` is below `start` and DEL.
    add('spiffe_id <', `${start}\u007f`);
  } else add('spiffe_id =', filter.spiffeId);
  return { sql: parts.join(' and '), values };
}
