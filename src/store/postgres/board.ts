import { randomUUID } from 'node:crypto';
import type { Board, BoardReader, Notice } from '../board.ts';
import type { Json } from '../identity-store.ts';
import type { Database } from './database.ts';
import { databaseError } from './failures.ts';
import { Listening } from './listening.ts';
import type { Session } from './session.ts';
import { JsonValue } from './values.ts';

/** How often a replica renews its lease, and how long the lease lasts by the database's clock; milliseconds. */
const BEAT_MS = 2000;
const LEASE_MS = 6000;
/** Least time between two writes: what is said meanwhile is one write. */
const GAP_MS = 8;
/** Notices of one statement. */
const MOST_AT_ONCE = 5000;
/** Notices taken back that are kept for those who have not heard of it; past it, they read everything anew. */
const MOST_TAKEN_BACK = 2000;
/** What a replica said that has not been heard of for so long is removed, seconds: until then others know what it was. */
const FORGOTTEN_S = 3600;

/** One statement, which may be made twice: who has written later is not overwritten. */
const WRITE = `with beat as (
    insert into replica (id, seq, floor, seen) values ($1, $2, $3, clock_timestamp())
      on conflict (id) do update set seq = greatest(replica.seq, excluded.seq), floor = greatest(replica.floor, excluded.floor), seen = excluded.seen
      returning xmax = 0 as is_new
  ), said as (
    insert into notice (replica, kind, name, seq, data)
      select $1, kind, name, $2, data from unnest($4::text[], $5::text[], $6::json[]) as given (kind, name, data)
      on conflict (replica, kind, name) do update set seq = excluded.seq, data = excluded.data where notice.seq < excluded.seq
      returning 1
  ), gone as (
    delete from replica where seen < clock_timestamp() - interval '${FORGOTTEN_S} seconds' returning id
  ), theirs as (
    delete from notice where replica in (select id from gone)
  )
  select is_new, case when $7 then pg_notify($8, '') end from beat`;
/** Not in the statement above: it may say anew what was taken back. */
const TIDY = 'delete from notice where replica = $1 and data is null and seq <= $2';
const REPLICAS = `select id, seq, floor, (extract(epoch from clock_timestamp() - seen) * 1000)::float8 from replica where id <> $1`;
const NOTICES = 'select kind, name, seq, data from notice where replica = $1 and seq > $2 order by seq';

interface Known {
  seq: number;
  isGone: boolean;
}

/** Replicas tell each other what they do through two tables that are not logged: fast, and gone with a crash of the server. */
export class PostgresBoard implements Board {
  readonly replica = randomUUID();
  readonly #database: Database;
  readonly #channel: string;
  readonly #onClose: () => Promise<void>;
  readonly #listening: Listening;
  /** All that this replica says, and what of it was not written yet. */
  readonly #said = new Map<string, Notice>();
  readonly #unsaid = new Map<string, Notice>();
  #takenBack: { readonly seq: number }[] = [];
  #seq = 0;
  #floor = 0;
  #writing: Promise<void> | undefined;
  #wake: (() => void) | undefined;
  #reader: BoardReader | undefined;
  readonly #known = new Map<string, Known>();
  /** Since when the others could be heard without a break, and when that was last so; by this process's monotonic clock. */
  #heardSince: number | undefined = Number.NEGATIVE_INFINITY;
  #heardAt = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(database: Database, onClose: () => Promise<void>) {
    this.#database = database;
    this.#channel = `${database.schema}_board`;
    this.#onClose = onClose;
    this.#listening = new Listening({
      database,
      channel: this.#channel,
      read: (session) => this.#read(session),
      every: BEAT_MS,
      onLost: () => this.#lost(),
      onFault: (error) => this.#reader?.fault(error),
    });
  }

  say(notices: readonly Notice[]): void {
    for (const notice of notices) {
      const key = `${notice.kind}\n${notice.name}`;
      if (notice.data !== undefined) this.#said.set(key, notice);
      // Of what was never said there is nothing to take back.
      else if (!this.#said.delete(key)) continue;
      this.#unsaid.delete(key);
      this.#unsaid.set(key, notice);
    }
    if (this.#unsaid.size > 0) this.#wake?.();
  }

  async follow(reader: BoardReader): Promise<void> {
    this.#reader = reader;
    this.#writing ??= this.#run();
    try {
      await this.#listening.start();
    } catch (error) {
      throw databaseError(this.#database.name, error);
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#wake?.();
    await this.#writing;
    await this.#listening.close();
    if (this.#writing !== undefined) {
      const end = (session: Session) =>
        session.rows(
          `with a as (delete from notice where replica = $1), b as (delete from replica where id = $1) select pg_notify($2, '')`,
          this.replica,
          this.#channel,
        );
      // Where this is not heard, the lease ends by itself.
      await this.#database.read(end).catch(() => {});
    }
    await this.#onClose();
  }

  /** Writes what there is to say, and the lease, one after the other. */
  async #run(): Promise<void> {
    while (!this.#closed && !this.#database.isClosed) {
      const batch = [...this.#unsaid].slice(0, MOST_AT_ONCE);
      for (const [key] of batch) this.#unsaid.delete(key);
      try {
        await this.#write(batch.map(([, notice]) => notice));
      } catch {
        // Said again, unless something newer is to be said by now.
        for (const [key, notice] of batch) if (!this.#unsaid.has(key)) this.#unsaid.set(key, notice);
        await this.#rest(BEAT_MS / 4);
        continue;
      }
      await this.#database.pause(GAP_MS);
      if (this.#unsaid.size === 0) await this.#rest(BEAT_MS);
    }
  }

  /** A pause that something to say ends. */
  async #rest(ms: number): Promise<void> {
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    if (!this.#closed) await this.#database.pause(ms, woken.signal);
    this.#wake = undefined;
  }

  async #write(notices: readonly Notice[]): Promise<void> {
    // A beat alone says nothing new.
    const seq = notices.length > 0 ? this.#seq + 1 : this.#seq;
    this.#seq = seq;
    this.#takenBack.push(...notices.flatMap(({ data }) => (data === undefined ? [{ seq }] : [])));
    const excess = this.#takenBack.length - MOST_TAKEN_BACK;
    if (excess > 0) this.#floor = this.#takenBack.splice(0, excess).at(-1)?.seq ?? this.#floor;
    const row = await this.#database.read((session) =>
      session.row(
        WRITE,
        this.replica,
        seq,
        this.#floor,
        notices.map(({ kind }) => kind),
        notices.map(({ name }) => name),
        notices.map(({ data }) => (data === undefined ? null : new JsonValue(data))),
        notices.length > 0,
        this.#channel,
      ),
    );
    if (excess > 0) await this.#database.read((session) => session.changes(TIDY, this.replica, this.#floor));
    // The row is new at the start, and where the server has lost the tables' content.
    if (row?.[0] !== true) return;
    for (const [key, notice] of this.#said) if (!this.#unsaid.has(key)) this.#unsaid.set(key, notice);
  }

  async #read(session: Session): Promise<void> {
    const rows = await session.rows(REPLICAS, this.replica);
    const at = performance.now();
    this.#heardSince ??= at;
    this.#heardAt = at;
    const there = new Set<string>();
    for (const row of rows) {
      // Columns of the schema.
      const [id, seq, floor, age] = row as [string, number, number, number];
      there.add(id);
      await this.#hear(session, { id, seq, floor, age });
    }
    for (const id of this.#known.keys()) {
      // A server that has crashed has lost all rows: those who are there write theirs again.
      if (there.has(id) || !this.#couldHear()) continue;
      this.#known.delete(id);
      this.#reader?.left(id, 'ended');
    }
  }

  async #hear(
    session: Session,
    { id, seq, floor, age }: { id: string; seq: number; floor: number; age: number },
  ): Promise<void> {
    const known = this.#known.get(id);
    const isGone = age > LEASE_MS && this.#couldHear();
    if (known === undefined || seq > known.seq || (known.isGone && !isGone)) {
      const isWhole = known === undefined || known.isGone || known.seq < floor || seq < known.seq;
      const rows = await session.rows(NOTICES, id, isWhole ? 0 : known.seq);
      const last = Math.max(seq, ...rows.map((row) => Number(row[2])));
      const notices = rows.flatMap((row) => noticeOf(row, isWhole));
      this.#known.set(id, { seq: last, isGone: false });
      this.#reader?.said(id, notices, isWhole);
    }
    const now = this.#known.get(id);
    if (now === undefined || now.isGone || !isGone) return;
    now.isGone = true;
    this.#reader?.left(id, 'silent');
  }

  /** Whoever could not be heard, because the database was away, is given the time of a lease to renew it. */
  #couldHear(): boolean {
    return this.#heardSince !== undefined && performance.now() - this.#heardSince > LEASE_MS;
  }

  /** Nothing can be heard: after the time of a lease nobody knows what the others do. */
  #lost(): void {
    this.#heardSince = undefined;
    if (performance.now() - this.#heardAt < LEASE_MS) return;
    for (const [id, known] of this.#known) {
      if (known.isGone) continue;
      known.isGone = true;
      this.#reader?.left(id, 'silent');
    }
  }
}

function noticeOf(row: readonly unknown[], isWhole: boolean): Notice[] {
  // Columns of the schema; the last is null where it was taken back.
  const [kind, name, , data] = row as [string, string, number, Json | null];
  if (data !== null) return [{ kind, name, data }];
  return isWhole ? [] : [{ kind, name }];
}
