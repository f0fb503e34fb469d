import { isInterlockError } from '../../../access/index.ts';
import { type AuditEntry, chained, type NewAuditEntry } from '../../audit.ts';
import { type Touched, touchedBy } from '../../commits.ts';
import type { Change } from '../../identity-store.ts';
import type { Database } from '../database.ts';
import { damagedDatabase } from '../failures.ts';
import { lockOf } from '../migrate.ts';
import { all, type Row, type Session } from '../session.ts';
import { JsonValue } from '../values.ts';
import { sendChange } from './changes.ts';

/** Commits, and changes in them, that are made in one transaction at most. */
const MAX_COMMITS = 500;
const MAX_CHANGES = 5000;
/** Commits that are remembered for replicas that were away. */
export const REMEMBERED_COMMITS = 20_000;
/** How often the older ones are forgotten, in commits. */
const PRUNE_EVERY = 256;

interface Waiting {
  readonly changes: readonly Change[];
  readonly entry: NewAuditEntry | undefined;
  readonly done: PromiseWithResolvers<void>;
}

/** What the last commit was, and the last entry of the audit log. */
interface Head {
  readonly seq: number;
  readonly audit: { readonly seq: number; readonly hash: string } | undefined;
}

/**
 * Makes commits, one batch at a time, in the order in which they were asked for: those that come while a batch is under
 * way are one transaction, and one flush to the disk. Replicas take turns by one lock, which is why numbers and hashes
 * follow each other without a gap, and why two commits never wait for each other's rows.
 */
export class Committer {
  readonly #database: Database;
  readonly #store: string;
  readonly #channel: string;
  readonly #lock: string;
  readonly #waiting: Waiting[] = [];
  #running: Promise<void> | undefined;

  /** `store` is this store's own UUID; `channel` is told of every batch. */
  constructor(database: Database, store: string, channel: string) {
    this.#database = database;
    this.#store = store;
    this.#channel = channel;
    this.#lock = lockOf(database.schema, 'commit');
  }

  commit(changes: readonly Change[], entry: NewAuditEntry | undefined): Promise<void> {
    const done = Promise.withResolvers<void>();
    this.#waiting.push({ changes, entry, done });
    this.#running ??= this.#run();
    return done.promise;
  }

  /** Resolves when what was asked before is done. */
  async idle(): Promise<void> {
    await this.#running;
  }

  /** Runs `work` in its turn among the commits of all replicas. */
  exclusive<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#database.transaction(async (session) => {
      const [, result] = await all<unknown>([this.#turn(session), work(session)]);
      return result as T; // The second of two, which `work` gave.
    });
  }

  #turn(session: Session): Promise<Row[]> {
    return session.rows('select pg_advisory_xact_lock($1)', this.#lock);
  }

  async #run(): Promise<void> {
    // Those that are asked for in the same turn of the program come into one batch.
    await Promise.resolve();
    while (this.#waiting.length > 0) await this.#make(this.#take());
    // In the same step as the last look: who asks next finds nobody at work.
    this.#running = undefined;
  }

  #take(): Waiting[] {
    let changes = 0;
    const end = this.#waiting.findIndex((each) => (changes += each.changes.length) > MAX_CHANGES);
    return this.#waiting.splice(0, Math.min(Math.max(1, end === -1 ? MAX_COMMITS : end), MAX_COMMITS));
  }

  /** Makes all of them, or where one cannot be made, each by itself: one that conflicts fails without the others. */
  async #make(batch: readonly Waiting[]): Promise<void> {
    try {
      await this.#database.transaction((session) => this.#write(session, batch));
      for (const { done } of batch) done.resolve();
    } catch (error) {
      if (batch.length > 1 && !(isInterlockError(error) && error.code === 'unavailable')) {
        for (const each of batch) await this.#make([each]);
      } else for (const { done } of batch) done.reject(error);
    }
  }

  async #write(session: Session, batch: readonly Waiting[]): Promise<void> {
    const [, head] = await all<unknown>([
      this.#turn(session),
      session.row('select seq, audit_seq, audit_hash from head'),
    ]);
    let { seq, audit } = this.#headOf(head);
    const sent: Promise<unknown>[] = [];
    const told: { readonly seq: number; readonly touched: readonly Touched[] }[] = [];
    const entries: AuditEntry[] = [];
    for (const { changes, entry } of batch) {
      for (const change of changes) {
        try {
          sent.push(...sendChange(session, change));
        } catch (error) {
          // Data that is no JSON: what was sent before it is answered before all of it is undone.
          await Promise.allSettled(sent);
          throw error;
        }
      }
      if (entry !== undefined) entries.push((audit = chained(entry, audit)));
      const touched = touchedBy(changes, entry === undefined ? undefined : audit?.seq);
      if (touched.length > 0) told.push({ seq: ++seq, touched });
    }
    if (entries.length > 0) sent.push(append(session, entries));
    if (told.length > 0) sent.push(...this.#tell(session, told));
    sent.push(
      session.changes(
        'update head set seq = $1, audit_seq = $2, audit_hash = $3',
        seq,
        audit?.seq ?? 0,
        audit?.hash ?? null,
      ),
    );
    await all(sent);
  }

  #headOf(row: unknown): Head {
    // The one row of `head`: the migration made it.
    const [seq, auditSeq, hash] = (row ?? []) as [number?, number?, (string | null)?];
    if (seq === undefined || auditSeq === undefined) throw damagedDatabase(this.#database.name);
    return { seq, audit: typeof hash === 'string' ? { seq: auditSeq, hash } : undefined };
  }

  #tell(session: Session, told: readonly { readonly seq: number; readonly touched: readonly Touched[] }[]) {
    const last = told.at(-1)?.seq ?? 0;
    const first = told[0]?.seq ?? last;
    const prune = Math.floor(last / PRUNE_EVERY) !== Math.floor((first - 1) / PRUNE_EVERY);
    return [
      session.changes(
        'insert into commit_log (seq, store, touched) select seq, $1, touched from unnest($2::bigint[], $3::json[]) as told (seq, touched)',
        this.#store,
        told.map((each) => each.seq),
        told.map((each) => new JsonValue(each.touched)),
      ),
      // By number and not by time: nobody's clock can make them disappear too early.
      ...(prune
        ? [session.changes('delete from commit_log where seq <= $1', last - REMEMBERED_COMMITS)]
        : []),
      // Says nothing but that there is something: what it is, is read from the table.
      session.rows(`select pg_notify($1, '')`, this.#channel),
    ];
  }
}

function append(session: Session, entries: readonly AuditEntry[]): Promise<number> {
  return session.changes(
    `insert into audit (seq, at, who, act, what, details, previous, hash) select * from unnest($1::bigint[], $2::bigint[],
       $3::text[], $4::text[], $5::text[], $6::json[], $7::text[], $8::text[])`,
    entries.map(({ seq }) => seq),
    entries.map(({ at }) => at),
    entries.map(({ who }) => who),
    entries.map(({ act }) => act),
    entries.map(({ what }) => what),
    entries.map(({ details }) => new JsonValue(details)),
    entries.map(({ previous }) => previous),
    entries.map(({ hash }) => hash),
  );
}
