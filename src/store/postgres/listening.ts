import type { Client } from 'pg';
import { type Database, endOf } from './database.ts';
import { DatabaseFailure, databaseError } from './failures.ts';
import type { Session } from './session.ts';

const FIRST_PAUSE = 50;
const LAST_PAUSE = 2000;

export interface ListeningOptions {
  readonly database: Database;
  readonly channel: string;
  /** Reads what is new: when it is connected, after each notification, and every so often. */
  readonly read: (session: Session) => Promise<void>;
  /** Milliseconds between reads where nothing is notified: a sign of life, and what a notification failed to tell. */
  readonly every: number;
  /** Told each time that the connection is lost, or cannot be made. */
  readonly onLost?: () => void;
  /** `read` has failed at what it read, not at the connection: it is asked again later. Told once until it succeeds. */
  readonly onFault: (error: unknown) => void;
}

/**
 * A connection that listens on a channel, made again for as long as it takes. A notification says only that there is something
 * new: one that is lost, made up or repeated changes nothing. Reads are never at the same time.
 */
export class Listening {
  readonly #options: ListeningOptions;
  #client: Client | undefined;
  #reading: Promise<void> = Promise.resolve();
  #asked = false;
  #connecting: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #session: Session | undefined;
  #isFaulty = false;
  #closed = false;

  constructor(options: ListeningOptions) {
    this.#options = options;
  }

  /** Resolves after the first read; rejects where there is no connection. It goes on trying either way. */
  async start(): Promise<void> {
    try {
      await this.#connected();
      await this.#ask();
    } catch (error) {
      void this.#reconnect();
      throw error;
    }
  }

  /** Reads soon; many calls are one reading. */
  ask(): void {
    this.#ask().catch(() => this.#reconnect());
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#connecting?.catch(() => {});
    await this.#drop();
    await this.#reading;
  }

  #ask(): Promise<void> {
    if (this.#asked) return this.#reading;
    this.#asked = true;
    const read = this.#reading.then(() => this.#readNow());
    this.#reading = read.catch(() => {});
    return read;
  }

  async #readNow(): Promise<void> {
    this.#asked = false;
    if (this.#session === undefined) throw new DatabaseFailure(new Error('not connected'));
    try {
      await this.#options.read(this.#session);
      this.#isFaulty = false;
    } catch (error) {
      if (error instanceof DatabaseFailure && error.kind === 'connection') throw error;
      if (!this.#isFaulty) this.#options.onFault(databaseError(this.#options.database.name, error));
      this.#isFaulty = true;
    }
  }

  #connected(): Promise<void> {
    if (this.#session !== undefined) return Promise.resolve();
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  async #connect(): Promise<void> {
    const { database, channel, every } = this.#options;
    const { client, session } = await database.listener();
    try {
      await session.command(`listen ${channel}`);
      if (this.#closed) throw new DatabaseFailure(new Error('closed'));
    } catch (error) {
      await endOf(client);
      throw error;
    }
    [this.#client, this.#session] = [client, session];
    client.on('notification', () => this.ask());
    client.once('end', () => {
      if (this.#client === client) void this.#reconnect();
    });
    this.#timer = setInterval(() => this.ask(), every).unref();
  }

  async #reconnect(): Promise<void> {
    if (this.#closed || this.#connecting !== undefined) return;
    await this.#drop();
    for (let wait = FIRST_PAUSE; !this.#closed && this.#session === undefined; ) {
      this.#options.onLost?.();
      try {
        await this.#connected();
        this.ask();
        return;
      } catch {
        await this.#options.database.pause(wait * (0.5 + Math.random() / 2));
        if (this.#options.database.isClosed) return;
        wait = Math.min(2 * wait, LAST_PAUSE);
      }
    }
  }

  async #drop(): Promise<void> {
    clearInterval(this.#timer);
    const client = this.#client;
    [this.#client, this.#session] = [undefined, undefined];
    await endOf(client);
  }
}
