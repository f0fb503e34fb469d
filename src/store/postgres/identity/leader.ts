import type { Client } from 'pg';
import { type Database, endOf } from '../database.ts';
import type { OnLead } from '../../identity-store.ts';
import { lockOf } from '../migrate.ts';
import type { Session } from '../session.ts';

/** How often who does not lead asks whether nobody does, milliseconds; spread, so that not all ask at once. */
const ASK_MS = 1000;

/**
 * Lets a store stand for leader by an advisory lock, which a connection of its own holds: the server gives it to the next one when
 * that connection ends, however it ends. A leader that is cut off stops within two heartbeats, sooner than the server
 * misses it (its keepalive, which the connection sets, takes four).
 */
export class Leader {
  readonly #database: Database;
  readonly #told = new Map<object, OnLead>();
  readonly #lock: string;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  #client: Client | undefined;
  #leads = false;

  constructor(database: Database) {
    this.#database = database;
    this.#lock = lockOf(database.schema, 'lead');
  }

  /** Tells `onLead` from now on; nobody stands for leader before somebody wants to hear of it. */
  add(onLead: OnLead): () => Promise<void> {
    const key = {};
    this.#told.set(key, onLead);
    if (this.#leads) onLead(true);
    this.#running ??= this.#run();
    return async () => {
      const isLast = this.#told.delete(key) && this.#told.size === 0;
      if (this.#leads) onLead(false);
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
    const ended = new AbortController();
    client.once('end', () => {
      ended.abort();
      // One that was given up may end long after another one has taken its place.
      if (this.#client === client) this.#tell(false);
    });
    while (!this.#isOver() && !ended.signal.aborted) {
      // Asked by the leader, too: an answer is a sign of life, and the lock stays one however often it is taken.
      const holds = this.#leads ? await alive(session) : await this.#take(session);
      if (ended.signal.aborted || this.#isOver()) return;
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

  #tell(leads: boolean): void {
    if (leads === this.#leads) return;
    this.#leads = leads;
    for (const onLead of this.#told.values()) onLead(leads);
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
