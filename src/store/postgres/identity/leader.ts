import type { Client } from 'pg';
import { type Database, endOf } from '../database.ts';
import { DatabaseFailure } from '../failures.ts';
import type { OnLead } from '../../identity-store.ts';
import { lockOf } from '../migrate.ts';
import type { Session } from '../session.ts';

/** How often who does not lead asks whether nobody does, milliseconds; spread, so that not all ask at once. */
const ASK_MS = 1000;

/**
 * How many heartbeats a leader leads without an answer of the server, and after how many without a question of the leader the
 * server ends its connection, and the lock with it. Both sides count by a monotonic clock, the leader from before it asked: it
 * stops the difference earlier than another one can begin.
 */
const LEASE = 2;
const SERVER_LEASE = 3;
/** Where the server knows such a limit: PostgreSQL from 14 on. Before, its keepalives have to do. */
const LIMIT = `select set_config(name, $1, false) from pg_settings where name = 'idle_session_timeout'`;

/**
 * Lets a store stand for leader by an advisory lock, which a connection of its own holds: the server gives it to the next one when
 * that connection ends, however it ends. That includes one whose network swallows what is sent, of which the server would not
 * hear for hours: it ends a connection on which nothing is asked.
 */
export class Leader {
  readonly #database: Database;
  readonly #told = new Map<object, OnLead>();
  readonly #lock: string;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  #client: Client | undefined;
  #leads = false;
  /** Until when it leads, by the monotonic clock of this process. */
  #until = 0;
  #ending: NodeJS.Timeout | undefined;

  constructor(database: Database) {
    this.#database = database;
    this.#lock = lockOf(database.schema, 'lead');
  }

  /** Tells `onLead` from now on; nobody stands for leader before somebody wants to hear of it. */
  add(onLead: OnLead): () => Promise<void> {
    const key = {};
    this.#told.set(key, onLead);
    if (this.#leads) onLead(true, this.#holds);
    this.#running ??= this.#run();
    return async () => {
      const isLast = this.#told.delete(key) && this.#told.size === 0;
      if (this.#leads) onLead(false, this.#holds);
      if (isLast) await this.stop();
    };
  }

  /** Leads no more, and lets the next one do so. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#tell(false);
    await endOf(this.#client);
    await this.#running;
  }

  /** Each round is one connection. */
  async #run(): Promise<void> {
    while (!this.#isOver()) {
      try {
        await this.#round();
      } catch {
        // The connection is gone, and with it the lock.
      }
      this.#tell(false);
      await endOf(this.#client);
      this.#client = undefined;
      await this.#wait(ASK_MS);
    }
  }

  async #round(): Promise<void> {
    const { client, session } = await this.#database.listener();
    this.#client = client;
    // Who only stands asks less often than a leader.
    const limit = Math.max(this.#database.heartbeat * SERVER_LEASE, 3 * ASK_MS);
    await session.row(LIMIT, String(Math.ceil(limit)));
    const ended = new AbortController();
    client.once('end', () => {
      ended.abort();
      // One that was given up may end long after another one has taken its place.
      if (this.#client === client) this.#tell(false);
    });
    while (!this.#isOver() && !ended.signal.aborted) {
      const asked = performance.now();
      // Asked by the leader, too: an answer is a sign of life, and the lock stays one however often it is taken.
      const holds = this.#leads ? await alive(session) : await this.#take(session);
      if (ended.signal.aborted || this.#isOver()) return;
      if (holds) this.#leadUntil(asked + this.#database.heartbeat * LEASE);
      // The answer came so late that the next one may have the lock by now.
      if (holds && !this.#holds()) throw new DatabaseFailure(new Error('the answer came too late'));
      this.#tell(holds);
      await this.#wait(holds ? this.#database.heartbeat / 2 : ASK_MS, ended.signal);
    }
  }

  async #take(session: Session): Promise<boolean> {
    return (await session.row('select pg_try_advisory_lock($1)', this.#lock))?.[0] === true;
  }

  #isOver(): boolean {
    return this.#stop.signal.aborted || this.#database.isClosed;
  }

  #leadUntil(until: number): void {
    this.#until = until;
    clearTimeout(this.#ending);
    this.#ending = setTimeout(() => this.#tell(false), until - performance.now()).unref();
  }

  /** A process that stood still must not lead for the moment until it finds out. */
  readonly #holds = (): boolean => performance.now() < this.#until;

  #tell(leads: boolean): void {
    if (!leads) clearTimeout(this.#ending);
    if (leads === this.#leads) return;
    this.#leads = leads;
    for (const onLead of this.#told.values()) onLead(leads, this.#holds);
  }

  #wait(ms: number, ended?: AbortSignal): Promise<void> {
    const signals = [this.#stop.signal, ...(ended === undefined ? [] : [ended])];
    return this.#database.pause(ms * (0.75 + Math.random() / 2), AbortSignal.any(signals));
  }
}

/** Whether the connection answers: it throws where it does not, within a heartbeat. */
async function alive(session: Session): Promise<true> {
  await session.row('select 1');
  return true;
}
