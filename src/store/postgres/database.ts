import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { Client, type ClientConfig, Pool, type PoolClient } from 'pg';
import { InterlockError } from '../../access/index.ts';
import type { Address } from './address.ts';
import { DatabaseFailure, databaseError, unknownOutcome } from './failures.ts';
import { all, Session } from './session.ts';
import { SilenceWatch } from './silence.ts';
import { columnTypes } from './values.ts';

/** Times in milliseconds. */
export interface DatabaseOptions {
  /** Most connections of this process; a few more hear of changes. 8 where absent. */
  readonly connections?: number;
  /** How long one statement may take; 30,000 where absent. */
  readonly statementTimeout?: number;
  /** How long a call goes on trying while the database does not answer; 10,000 where absent. */
  readonly patience?: number;
  /** The same of a change; like `patience` where absent. */
  readonly changePatience?: number;
  /** How often the connection that hears of changes is asked for a sign of life, and how long for it; 5,000 where absent. */
  readonly heartbeat?: number;
}

/** Waits between attempts, in milliseconds: doubled from the first to the last. */
const FIRST_PAUSE = 50;
const LAST_PAUSE = 1000;
/** A transaction whose client says nothing for so long is ended by the server, and its locks with it. */
const IDLE_IN_TRANSACTION = 6000;
/** How long a statement waits for a lock: longer than that, so that whoever died with it stops nobody. */
const LOCK_WAIT = 10_000;
const CONNECT_TIMEOUT = 5000;
/** Until the first probe of a connection on which nothing was sent. */
const KEEPALIVE = 5000;
const UNDEFINED_TABLE = '42P01';

/** How long the end of a connection is waited for: of one that is cut off it would never come. */
const END_WAIT = 1000;

/** One who writes: a row of the table `writer`, used by one transaction at a time. */
interface Lane {
  readonly id: string;
  ticket: number;
}

/**
 * The connections of one process to one database. But for the leases of the board, statements never ask its clock: every time in
 * the tables came with the call that wrote it, and waits are measured by each side's own monotonic timers.
 */
export class Database {
  readonly name: string;
  readonly schema: string;
  readonly heartbeat: number;
  readonly #config: ClientConfig;
  readonly #pool: Pool;
  readonly #patience: number;
  readonly #changePatience: number;
  readonly #lanes: Lane[] = [];
  readonly #used = new Set<string>();
  /** Connections of the pool that nobody has lent. */
  readonly #idle = new Set<PoolClient>();
  readonly #silence = new SilenceWatch(
    (pids) => this.#busy(pids),
    () => {
      for (const client of this.#idle) client.connection.stream.destroy();
    },
  );
  readonly #closing = new AbortController();

  constructor(address: Address, options: DatabaseOptions = {}) {
    this.name = address.name;
    this.schema = address.schema;
    this.heartbeat = options.heartbeat ?? 5000;
    this.#patience = options.patience ?? 10_000;
    this.#changePatience = options.changePatience ?? this.#patience;
    const statement = options.statementTimeout ?? 30_000;
    this.#config = {
      host: address.host,
      port: address.port,
      database: address.database,
      user: address.user,
      password: address.password,
      ssl: address.ssl,
      application_name: 'interlock',
      options: `-c search_path=${address.schema} -c client_min_messages=warning -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3`,
      statement_timeout: statement,
      lock_timeout: LOCK_WAIT,
      idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION,
      // The server's own limit comes first, where there still is a server.
      query_timeout: Math.ceil(statement * 1.25),
      connectionTimeoutMillis: CONNECT_TIMEOUT,
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEPALIVE,
      pipeline: true,
      types: columnTypes,
    };
    this.#pool = new Pool({ ...this.#config, max: options.connections ?? 8, onConnect: makeDurable });
    // An idle connection that breaks leaves the pool by itself; whoever asks next gets another one.
    this.#pool.on('error', () => {});
    this.#pool.on('acquire', (client) => this.#idle.delete(client));
    this.#pool.on('release', (_, client) => this.#idle.add(client));
    this.#pool.on('remove', (client) => this.#idle.delete(client));
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Several statements that see one state, whatever others commit meanwhile. Tried again while nothing answers. */
  snapshot<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#persist((session) =>
      inTransaction(session, 'begin isolation level repeatable read, read only', work, () => ending(session)),
    );
  }

  /** One statement or more outside a transaction, which may be repeated without harm. */
  read<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#persist(work);
  }

  /**
   * Makes changes, whole or not at all, and once: `work` may run several times, but takes effect once. Resolves when the
   * change is durable. Where the connection is lost at the commit, it finds out what became of it.
   */
  async transaction<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const lane = this.#lanes.pop() ?? { id: randomUUID(), ticket: 0 };
    try {
      return await this.#patiently(async (left) => {
        const ticket = ++lane.ticket;
        let done: { readonly result: T } | undefined;
        try {
          return await this.#withSession((session) =>
            inTransaction(session, 'begin', work, (result) => {
              done = { result };
              return ending(session, sign(session, lane.id, ticket));
            }),
          );
        } catch (error) {
          if (done === undefined || !(error instanceof DatabaseFailure) || error.kind !== 'connection')
            throw error;
          const made = await this.#wasMade(lane, ticket, left, error);
          if (made) return done.result;
          throw error;
        }
      }, this.#changePatience);
    } finally {
      this.#used.add(lane.id);
      this.#lanes.push(lane);
    }
  }

  /** A connection for one who listens, outside the pool. The caller ends it. */
  async listener(): Promise<{ client: Client; session: Session }> {
    const client = new Client({ ...this.#config, query_timeout: this.heartbeat });
    // Whoever waits for an answer hears of it there, and the end of the connection is an event of its own.
    client.on('error', () => {});
    try {
      await client.connect();
    } catch (cause) {
      void endOf(client);
      throw new DatabaseFailure(cause);
    }
    return { client, session: new Session(client) };
  }

  /** A pause of at most `ms` milliseconds, or until the database is closed or `sooner` says so. */
  async pause(ms: number, sooner?: AbortSignal): Promise<void> {
    const closing = this.#closing.signal;
    const signal = sooner === undefined ? closing : AbortSignal.any([closing, sooner]);
    await pause(ms, undefined, { signal }).catch(() => {});
  }

  /** Ends the connections once what is under way is done. */
  async close(): Promise<void> {
    if (this.isClosed) return;
    const used = [...this.#used];
    if (used.length > 0) {
      // Tidy, not needed: a row that stays says only which ticket somebody who is gone had last.
      const forget = (session: Session) =>
        session.changes('delete from writer where id = any($1::uuid[])', used);
      await this.#withSession(forget).catch(() => {});
    }
    this.#closing.abort();
    await this.#pool.end();
    this.#silence.close();
  }

  #persist<T>(work: (session: Session) => Promise<T>): Promise<T> {
    return this.#patiently(() => this.#withSession(work));
  }

  /** Tries until it succeeds, fails for good, or there is no patience left. */
  async #patiently<T>(attempt: (left: () => number) => Promise<T>, patience = this.#patience): Promise<T> {
    const end = performance.now() + patience;
    const left = () => end - performance.now();
    for (let wait = FIRST_PAUSE; ; wait = Math.min(2 * wait, LAST_PAUSE)) {
      if (this.isClosed) throw new InterlockError('state', this.name, `the database ${this.name} is closed`);
      try {
        return await attempt(left);
      } catch (error) {
        const goesOn =
          error instanceof DatabaseFailure && (error.kind === 'connection' || error.kind === 'again');
        if (!goesOn || left() < wait) throw databaseError(this.name, error);
      }
      // Spread, so that replicas that lost it together do not come back together.
      await this.pause(wait * (0.5 + Math.random() / 2));
    }
  }

  async #withSession<T>(work: (session: Session) => Promise<T>): Promise<T> {
    let client: PoolClient;
    try {
      client = await this.#pool.connect();
    } catch (cause) {
      throw new DatabaseFailure(cause);
    }
    // While it is lent, its owner hears of a broken connection; a statement under way fails with it.
    const ignore = () => {};
    client.on('error', ignore);
    let broken = true;
    const session = new Session(client);
    const unwatch = this.#silence.watch(client, session);
    try {
      const result = await work(session);
      broken = false;
      return result;
    } catch (error) {
      broken = !(error instanceof DatabaseFailure) || error.kind === 'connection';
      throw error;
    } finally {
      unwatch();
      client.removeListener('error', ignore);
      client.release(broken || client.getTransactionStatus() !== 'I');
    }
  }

  /** Which of these processes of the server work on something, as it says on a new connection. */
  async #busy(pids: readonly number[]): Promise<ReadonlySet<number>> {
    const { client, session } = await this.listener();
    try {
      const rows = await session.rows(
        `select pid from pg_stat_activity where pid = any($1::int[]) and state = 'active'`,
        pids,
      );
      return new Set(rows.map(([pid]) => Number(pid)));
    } finally {
      void endOf(client);
    }
  }

  /** Whether a transaction whose commit was not answered was made; if not, it can never be made any more. */
  async #wasMade(lane: Lane, ticket: number, left: () => number, cause: unknown): Promise<boolean> {
    for (let wait = FIRST_PAUSE; ; wait = Math.min(2 * wait, LAST_PAUSE)) {
      try {
        const made = await this.#withSession((session) => fence(session, lane.id, ticket));
        lane.ticket = ticket + 1;
        return made;
      } catch (error) {
        if (!(error instanceof DatabaseFailure)) throw error;
        // The transaction was the one that makes the tables.
        if (error.state === UNDEFINED_TABLE) return false;
        if (this.isClosed || left() < wait) throw unknownOutcome(this.name, cause);
      }
      await this.pause(wait);
    }
  }
}

/** Ends a connection of {@link Database.listener}. */
export async function endOf(client: Client | undefined): Promise<void> {
  if (client === undefined) return;
  const ended = client.end().catch(() => {});
  await Promise.race([ended, pause(END_WAIT, undefined, { ref: false })]);
  // Where the end was not heard, nothing on it ever will be.
  client.connection.stream.destroy();
}

/** Weaker settings than the default are put right: what a promise stands for survives a power cut. Stronger ones stay. */
async function makeDurable(client: { query(text: string): Promise<unknown> }): Promise<void> {
  await client.query(
    `select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') in ('off', 'local')`,
  );
}

async function inTransaction<T>(
  session: Session,
  begin: string,
  work: (session: Session) => Promise<T>,
  end: (result: T) => Promise<void>,
): Promise<T> {
  // Not waited for: what follows is behind it on the same connection.
  const begun = session.command(begin);
  let result: T;
  try {
    // The second of two, and `work` gives a T.
    result = (await all<unknown>([begun, work(session)]))[1] as T;
  } catch (error) {
    await session.command('rollback').catch(() => {});
    throw error;
  }
  await end(result);
  return result;
}

/** Sends the last statement and the commit behind it. */
async function ending(session: Session, last?: Promise<unknown>): Promise<void> {
  const committed = session.command('commit');
  await all<unknown>([...(last === undefined ? [] : [last]), committed]);
  // A transaction in which something failed answers COMMIT with ROLLBACK, and no error.
  if ((await committed) !== 'COMMIT') throw new DatabaseFailure(new Error('the transaction was rolled back'));
}

/**
 * Notes in the transaction that this ticket was used; it fails (NULL in a column that takes none) where the ticket was
 * fenced off: a commit that hangs in the network and comes late changes nothing.
 */
function sign(session: Session, lane: string, ticket: number): Promise<number> {
  return session.changes(
    `insert into writer (id, ticket) values ($1, $2) on conflict (id) do update
       set ticket = case when writer.ticket < excluded.ticket then excluded.ticket end`,
    lane,
    ticket,
  );
}

/** True where the ticket was used. Waits for a transaction with it that is still being ended, and else fences it off. */
function fence(session: Session, lane: string, ticket: number): Promise<boolean> {
  const look = async () => {
    const [, row] = await all<unknown>([
      session.changes('insert into writer (id, ticket) values ($1, 0) on conflict do nothing', lane),
      session.row('select ticket from writer where id = $1 for update', lane),
      session.changes(
        'update writer set ticket = $2 where id = $1 and ticket < $3',
        lane,
        ticket + 1,
        ticket,
      ),
    ]);
    // The second answer is a row of one number.
    return (row as [number])[0] === ticket;
  };
  return inTransaction(session, 'begin', look, () => ending(session));
}
