import type { Client } from 'pg';
import { type Committed, type OnCommit, type Touched, Watchers } from '../../commits.ts';
import { type Database, endOf } from '../database.ts';
import { DatabaseFailure, databaseError } from '../failures.ts';
import type { Session } from '../session.ts';

/** Commits that are read at once. */
const PAGE = 500;
const FIRST_PAUSE = 50;
const LAST_PAUSE = 2000;

/**
 * Follows the commits of all replicas: a notification says that there is something new, the table `commit_log` says what.
 * So a notification that is lost, made up or repeated changes nothing, and a connection that comes back catches up.
 */
export class Follower {
  readonly #database: Database;
  readonly #store: string;
  readonly #channel: string;
  readonly #watchers = new Watchers();
  #client: Client | undefined;
  #session: Session | undefined;
  /** The last commit that was told, and whose it was; undefined until the first connection. */
  #last: { readonly seq: number; readonly store: string | null } | undefined;
  /** Reads one after the other. */
  #reading: Promise<unknown> = Promise.resolve();
  #asked = false;
  #connecting: Promise<void> | undefined;
  #heartbeat: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(database: Database, store: string, channel: string) {
    this.#database = database;
    this.#store = store;
    this.#channel = channel;
  }

  async watch(onCommit: OnCommit, patience: number): Promise<() => void> {
    const end = performance.now() + patience;
    for (let wait = FIRST_PAUSE; ; wait = Math.min(2 * wait, LAST_PAUSE)) {
      try {
        await this.#connected();
        return await this.#read(() => this.#watchers.add(onCommit));
      } catch (error) {
        const goesOn = error instanceof DatabaseFailure && error.kind === 'connection' && !this.#closed;
        if (!goesOn || performance.now() + wait > end) throw databaseError(this.#database.name, error);
      }
      await this.#database.pause(wait);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#connecting?.catch(() => {});
    await this.#drop();
  }

  #connected(): Promise<void> {
    if (this.#session !== undefined) return Promise.resolve();
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  async #connect(): Promise<void> {
    const { client, session } = await this.#database.listener();
    try {
      await session.command(`listen ${this.#channel}`);
      // After LISTEN took effect: what is committed from now on is notified.
      await this.#comeBack(session);
      if (this.#closed) throw new DatabaseFailure(new Error('the store is closed'));
    } catch (error) {
      await endOf(client);
      throw error;
    }
    [this.#client, this.#session] = [client, session];
    client.on('notification', () => this.#ask());
    client.once('end', () => {
      if (this.#client === client) void this.#reconnect();
    });
    // A sign of life, and with it what a notification may have failed to tell.
    this.#heartbeat = setInterval(() => this.#ask(), this.#database.heartbeat).unref();
    // What was committed while nobody listened.
    this.#ask();
  }

  /**
   * Where to go on. A database that came back without the last commits (a standby that was behind, a copy from before)
   * has given their numbers to others, or will: that is told, too.
   */
  async #comeBack(session: Session): Promise<void> {
    const last = this.#last;
    const sql = 'select seq, (select store from commit_log where seq = coalesce($1, head.seq)) from head';
    const row = await session.row(sql, last?.seq ?? null);
    // Columns of the schema; the second is null where the commit is not remembered.
    const [seq, store] = (row ?? [0, null]) as [number, string | null];
    if (last === undefined) this.#last = { seq, store };
    else if (seq < last.seq || (store !== null && last.store !== null && store !== last.store)) {
      this.#last = { seq, store: null };
      this.#watchers.tell({ seq, touched: [], own: false, missed: true });
    }
  }

  /** Reads soon; many notifications are one reading. */
  #ask(): void {
    if (this.#asked) return;
    this.#asked = true;
    this.#read(() => {}).catch(() => this.#reconnect());
  }

  /** Reads what is new, tells it, and then calls `then`, before anything else is read. */
  #read<T>(then: () => T): Promise<T> {
    const read = this.#reading.then(async () => {
      this.#asked = false;
      await this.#catchUp();
      return then();
    });
    this.#reading = Promise.allSettled([read]);
    return read;
  }

  async #catchUp(): Promise<void> {
    for (;;) {
      if (this.#session === undefined) throw new DatabaseFailure(new Error('not connected'));
      const rows = await this.#session.rows(
        `select seq, store, touched from commit_log where seq > $1 order by seq limit ${PAGE}`,
        this.#last?.seq ?? 0,
      );
      for (const row of rows) {
        // Columns of the schema: bigint, uuid, and the JSON that the committer wrote.
        const [seq, store, touched] = row as [number, string, Touched[]];
        const missed: Pick<Committed, 'missed'> = seq > (this.#last?.seq ?? 0) + 1 ? { missed: true } : {};
        this.#last = { seq, store };
        this.#watchers.tell({ seq, touched, own: store === this.#store, ...missed });
      }
      if (rows.length < PAGE) return;
    }
  }

  /** Goes on for as long as it takes. */
  async #reconnect(): Promise<void> {
    await this.#drop();
    for (let wait = FIRST_PAUSE; !this.#closed && this.#session === undefined; ) {
      try {
        await this.#connected();
        return;
      } catch {
        await this.#database.pause(wait * (0.5 + Math.random() / 2));
        wait = Math.min(2 * wait, LAST_PAUSE);
      }
    }
  }

  async #drop(): Promise<void> {
    clearInterval(this.#heartbeat);
    const client = this.#client;
    [this.#client, this.#session] = [undefined, undefined];
    await endOf(client);
  }
}
