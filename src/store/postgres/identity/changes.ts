import { InterlockError } from '../../../access/index.ts';
import { type Change, type IssuedSvid, notAllowed, versionConflict } from '../../identity-store.ts';
import type { Session } from '../session.ts';
import { JsonValue } from '../values.ts';

/** A statement that was sent; a change that cannot be made throws `conflict`. */
type Sent = Promise<unknown>;

const PUT = `insert into document (kind, name, version, data) values ($1, $2, 1, $3)
  on conflict (kind, name) do update set data = excluded.data, version = document.version + 1`;
const VERSION = 'select version from document where kind = $1 and name = $2';
// What was banned stays so until it is forgotten, also when its renewal was under way.
const AGENT = `insert into agent (id, attestor, attributes, serial, not_after, attested_at, banned)
  values ($1, $2, $3, $4, $5, $6, $7) on conflict (id) do update set attestor = excluded.attestor,
    attributes = excluded.attributes, serial = excluded.serial, not_after = excluded.not_after,
    attested_at = excluded.attested_at, banned = agent.banned or excluded.banned`;
const TOKEN =
  'insert into join_token (hash, agent, expires_at, created_at, attributes) values ($1, $2, $3, $4, $5) on conflict do nothing';
const ISSUE = `insert into issued (serial, kind, spiffe_id, agent, rule, authority, issued_at, not_after)
  values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing`;
const REPLACE = 'update issued set replaced_by = $1 where serial = $2 and agent = $3 and replaced_by is null';
const DROP =
  'update issued set dropped_at = $1 where serial = any($2::text[]) and agent = $3 and dropped_at is null';
const REVOKE = `insert into revocation (what, value, authority, reason, at, until) values ($1, $2, $3, $4, $5, $6)
  on conflict (what, value) do update set authority = excluded.authority, reason = excluded.reason, at = excluded.at,
    until = excluded.until`;
const REVOKE_SERIAL = 'update issued set revoked_at = $1 where serial = $2 and revoked_at is null';

/**
 * Sends the statements of one change, inside a transaction that holds the commit lock: nobody else changes these tables.
 * None is waited for: they are answered in their order.
 */
export function sendChange(session: Session, change: Change): Sent[] {
  switch (change.change) {
    case 'put':
      return [
        ...expected(session, change),
        session.changes(PUT, change.kind, change.name, new JsonValue(change.data)),
      ];
    case 'remove':
      return [
        ...expected(session, change),
        session.changes('delete from document where kind = $1 and name = $2', change.kind, change.name),
      ];
    case 'issue':
      return issue(session, change.svid, change.replaces);
    case 'drop':
      return [session.changes(DROP, change.at, change.serials, change.agent)];
    case 'agent': {
      const { id, attestor, attributes, serial, notAfter, attestedAt, banned } = change.agent;
      const data = new JsonValue(attributes);
      return [session.changes(AGENT, id, attestor, data, serial, notAfter, attestedAt, banned)];
    }
    case 'forget-agent':
      return [session.changes('delete from agent where id = $1', change.id)];
    case 'join-token': {
      const { hash, agent, expiresAt, createdAt, attributes } = change.token;
      const added = session.changes(TOKEN, hash, agent, expiresAt, createdAt, new JsonValue(attributes));
      return [oneOf(added, agent, `this join token of ${agent} exists already`)];
    }
    case 'revoke': {
      const { what, value, authority, reason, at, until } = change.revocation;
      return [
        session.changes(REVOKE, what, value, authority, reason, at, until ?? null),
        ...(what === 'serial' ? [session.changes(REVOKE_SERIAL, at, value)] : []),
      ];
    }
    case 'allow':
      return [
        session.changes('delete from revocation where what = $1 and value = $2', change.what, change.value),
      ];
    case 'require':
      return [required(session, change)];
  }
}

function expected(session: Session, change: Extract<Change, { change: 'put' | 'remove' }>): Sent[] {
  const { expect, kind, name } = change;
  if (expect === undefined) return [];
  const check = async () => {
    const version = Number((await session.row(VERSION, kind, name))?.[0] ?? 0);
    if (version !== expect) throw versionConflict(change, version);
  };
  return [check()];
}

const REQUIRED = `select exists (select from revocation where what = 'id' and value = $1), banned
  from (values (1)) as one (n) left join agent on agent.id = $2`;

async function required(
  session: Session,
  { spiffeId, agent, mayBeNew = false }: Extract<Change, { change: 'require' }>,
): Promise<void> {
  const [revoked, banned] = (await session.row(REQUIRED, spiffeId ?? null, agent ?? null)) ?? [];
  if (spiffeId !== undefined && revoked === true) throw notAllowed(spiffeId, 'is revoked');
  if (agent === undefined) return;
  if (banned === null && !mayBeNew) throw notAllowed(agent, 'is no agent (any more)');
  if (banned === true) throw notAllowed(agent, 'was evicted');
}

/** `conflict` where a statement did not add its one row. */
async function oneOf(added: Promise<number>, subject: string, text: string): Promise<void> {
  if ((await added) !== 1) throw new InterlockError('conflict', subject, text);
}

function issue(session: Session, svid: IssuedSvid, replaces: string | undefined): Sent[] {
  const { serial, kind, spiffeId, agent, rule, authority, issuedAt, notAfter } = svid;
  const added = session.changes(ISSUE, serial, kind, spiffeId, agent, rule, authority, issuedAt, notAfter);
  const inserted = oneOf(added, serial, `serial number ${serial} was issued before: it is not issued again`);
  if (replaces === undefined) return [inserted];
  return [inserted, session.changes(REPLACE, serial, replaces, agent)];
}
