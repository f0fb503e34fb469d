import type { LiveStore } from '../live.ts';
import type { IdentityStore } from '../identity-store.ts';
import type { Store } from '../store.ts';
import { parseAddress } from './address.ts';
import { Database, type DatabaseOptions } from './database.ts';
import { PostgresEvidenceStore } from './evidence/evidence-store.ts';
import { openPostgresLive } from './evidence/live-store.ts';
import { PostgresIdentityStore } from './identity/identity-store.ts';
import { migrate } from './migrate.ts';

export type PostgresOptions = DatabaseOptions;

/** The stores of one replica in one database. Each is closed by itself; the connections end with the last one. */
export interface PostgresStores {
  /** Where it is, for people: without a password. */
  readonly name: string;
  readonly evidence: Store;
  readonly identity: IdentityStore;
  /** Opens the live evidence, as `openLiveStore` does that of a directory. */
  live(options: { readonly trustDomain: string }): Promise<LiveStore>;
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

class Stores implements PostgresStores {
  readonly name: string;
  readonly evidence: Store;
  readonly identity: IdentityStore;
  readonly #database: Database;
  readonly #open = new Set<{ close(): Promise<void> }>();

  constructor(database: Database, { patience = 10_000 }: PostgresOptions) {
    this.name = database.name;
    this.#database = database;
    const evidence = new PostgresEvidenceStore(database, () => this.#ended(evidence));
    const identity = new PostgresIdentityStore(database, patience, () => this.#ended(identity));
    this.#open.add(evidence).add(identity);
    this.evidence = evidence;
    this.identity = identity;
  }

  async live({ trustDomain }: { readonly trustDomain: string }): Promise<LiveStore> {
    const store = new PostgresEvidenceStore(this.#database, () => Promise.resolve());
    const live = await openPostgresLive(store, this.name, trustDomain, () => this.#ended(live));
    this.#open.add(live);
    return live;
  }

  async close(): Promise<void> {
    for (const store of this.#open) await store.close();
  }

  async #ended(store: { close(): Promise<void> }): Promise<void> {
    this.#open.delete(store);
    if (this.#open.size === 0) await this.#database.close();
  }
}
