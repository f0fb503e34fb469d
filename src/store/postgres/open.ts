import type { Board } from '../board.ts';
import type { LiveStore } from '../live.ts';
import type { IdentityStore } from '../identity-store.ts';
import { seenAccesses } from '../seen.ts';
import type { Store } from '../store.ts';
import { parseAddress } from './address.ts';
import { PostgresBoard } from './board.ts';
import { Database, type DatabaseOptions, endOf } from './database.ts';
import { PostgresEvidenceStore } from './evidence/evidence-store.ts';
import { openPostgresLive } from './evidence/live-store.ts';
import { PostgresIdentityStore } from './identity/identity-store.ts';
import { databaseError } from './failures.ts';
import { lockOf, migrate, tablesOf } from './migrate.ts';

export type PostgresOptions = DatabaseOptions;

/** How often who waits for its turn asks, milliseconds. */
const TURN_MS = 200;

/** The stores of one replica in one database. Each is closed by itself; the connections end with the last one. */
export interface PostgresStores {
  /** Where it is, for people: without a password. */
  readonly name: string;
  readonly evidence: Store;
  readonly identity: IdentityStore;
  /** Where replicas tell each other what they do. */
  readonly board: Board;
  /** Opens the live evidence, as `openLiveStore` does that of a directory. */
  live(options: { readonly trustDomain: string }): Promise<LiveStore>;
  /** Does something that no other replica does at the same time: it waits for its turn as long as that takes. */
  exclusively<T>(work: () => Promise<T>): Promise<T>;
  /** The database's clock: milliseconds since 1970 UTC, as of the moment between question and answer. */
  now(): Promise<{ readonly now: number; readonly tookMs: number }>;
  /** Closes all of them. */
  close(): Promise<void>;
}

/**
 * Opens the stores in PostgreSQL, and makes or migrates the tables. `url` is as {@link parseAddress} says. Any number of
 * replicas may have the same ones open. Needs a connection of its own for what it hears: a pooler in front must keep
 * sessions (PgBouncer's session mode). Errors: `usage` (the URL), `unavailable`, `untrusted` (TLS), `state` (newer, not
 * ours, no right to it), `io`.
 */
export async function openPostgresStores(
  url: string,
  options: PostgresOptions = {},
): Promise<PostgresStores> {
  const database = new Database(parseAddress(url), options);
  try {
    await migrate(database);
  } catch (error) {
    await database.close();
    throw error;
  }
  return new Stores(database, options);
}

/** Looks at the tables in PostgreSQL and changes nothing. Errors as of {@link openPostgresStores}. */
export async function lookAtPostgres(
  url: string,
  options: PostgresOptions = {},
): Promise<{ readonly name: string; readonly version: number; readonly newest: number }> {
  const database = new Database(parseAddress(url), options);
  try {
    return { name: database.name, ...(await tablesOf(database)) };
  } finally {
    await database.close();
  }
}

class Stores implements PostgresStores {
  readonly name: string;
  readonly evidence: Store;
  readonly identity: IdentityStore;
  readonly #database: Database;
  readonly #open = new Set<{ close(): Promise<void> }>();
  #board: Board | undefined;

  constructor(database: Database, { patience = 10_000 }: PostgresOptions) {
    this.name = database.name;
    this.#database = database;
    const evidence = new PostgresEvidenceStore(database, () => this.#ended(evidence));
    const identity = new PostgresIdentityStore(database, patience, () => this.#ended(identity));
    this.#open.add(evidence).add(identity);
    this.evidence = evidence;
    this.identity = identity;
  }

  /** Opened by who asks for it first. */
  get board(): Board {
    if (this.#board !== undefined) return this.#board;
    const board = new PostgresBoard(this.#database, () => this.#ended(board));
    this.#open.add(board);
    this.#board = board;
    return board;
  }

  async live({ trustDomain }: { readonly trustDomain: string }): Promise<LiveStore> {
    const store = new PostgresEvidenceStore(this.#database, () => Promise.resolve());
    const readMoment = () =>
      store.moment(async (then, seq) => ({
        seq,
        state: { kept: await then.live(), seen: await seenAccesses(then, trustDomain) },
      }));
    const live = await openPostgresLive(store, this.#database, trustDomain, readMoment, () =>
      this.#ended(live),
    );
    this.#open.add(live);
    return live;
  }

  async exclusively<T>(work: () => Promise<T>): Promise<T> {
    const { client, session } = await this.#database.listener().catch((error: unknown) => {
      throw databaseError(this.name, error);
    });
    try {
      const lock = lockOf(this.#database.schema, 'set-up');
      const take = async () => (await session.row('select pg_try_advisory_lock($1)', lock))?.[0] === true;
      while (!(await take())) await this.#database.pause(TURN_MS);
      return await work();
    } catch (error) {
      throw databaseError(this.name, error);
    } finally {
      // With the connection ends the lock.
      await endOf(client);
    }
  }

  async now(): Promise<{ now: number; tookMs: number }> {
    return this.#database.read(async (session) => {
      const asked = performance.now();
      const row = await session.row('select extract(epoch from clock_timestamp())::float8 * 1000');
      return { now: Number(row?.[0]), tookMs: performance.now() - asked };
    });
  }

  async close(): Promise<void> {
    for (const store of this.#open) await store.close();
  }

  async #ended(store: { close(): Promise<void> }): Promise<void> {
    this.#open.delete(store);
    if (this.#open.size === 0) await this.#database.close();
  }
}
