import { existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { InterlockError, isInterlockError } from '../access/index.ts';
import {
  type Board,
  IDENTITY_FILE,
  type IdentityStore,
  type LiveStore,
  lookAtPostgres,
  noteDatabase,
  openIdentityStore,
  openLiveStore,
  openPostgresStores,
  openSqliteStore,
  type Store,
} from '../store/index.ts';
import { STORE_WAIT_MS } from './in-time.ts';
import { FileVault } from './keys/file-vault.ts';
import { KeyRing } from './keys/key-ring.ts';
import type { KeyVault } from './keys/key-vault.ts';
import { SealedVault } from './keys/sealed-vault.ts';

/** Where a control plane keeps its state: in its directory alone, or in a database that it shares with others. */
export interface Place {
  /** The state directory: what is of this process alone, such as its socket, is here in any case. */
  readonly dir: string;
  /** For people: without a password. */
  readonly name: string;
  /** Other control planes may have the same state open. */
  readonly isShared: boolean;
  /** Opens it; whoever does closes it again. `create`: where there is none yet one is made. */
  openIdentity(options?: { readonly create?: boolean }): Promise<IdentityStore>;
  openEvidence(): Store;
  openLive(options: { readonly trustDomain: string }): Promise<LiveStore>;
  /** The keys that belong to an open state. Throws `untrusted` where they are sealed under another key file. */
  vault(store: IdentityStore): Promise<KeyVault>;
  /** Where those that have the same state open tell each other what they do; absent where there can be no others. */
  readonly board?: Board;
  /** Does something while no other control plane of the same state does. */
  exclusively<T>(work: () => Promise<T>): Promise<T>;
}

/** A database as a place, until it is closed. */
export interface SharedPlace extends Place {
  readonly isShared: true;
  /** The database's clock: milliseconds since 1970 UTC, and how long the answer took. */
  now(): Promise<{ readonly now: number; readonly tookMs: number }>;
  close(): Promise<void>;
}

/** Either, where a path alone is a state directory. */
export const placeOf = (place: string | Place): Place =>
  typeof place === 'string' ? directoryPlace(place) : place;

function directoryPlace(dir: string): Place {
  return {
    dir,
    name: dir,
    isShared: false,
    openIdentity: (options) => openIdentityStore(dir, options),
    openEvidence: () => openSqliteStore(dir),
    openLive: (options) => openLiveStore(dir, options),
    vault: async () => new FileVault(dir),
    // The state is held by one process at a time.
    exclusively: (work) => work(),
  };
}

/** Less than who asks for a change waits: they are told what became of it. Milliseconds. */
const CHANGE_PATIENCE = STORE_WAIT_MS - 1000;

export interface DatabaseOptions {
  /** For the socket, and what proxies have released by hand. */
  readonly dir: string;
  /** postgres://... */
  readonly url: string;
  /** Holds the key that the authorities' keys are sealed with. */
  readonly keyFile: string | undefined;
}

/**
 * Opens a state in PostgreSQL. Throws `usage` without a key file, `untrusted` for another one than that of the state,
 * `state` where the directory is another process's or has a state of its own, `unavailable`.
 */
export async function openDatabasePlace({ dir, url, keyFile }: DatabaseOptions): Promise<SharedPlace> {
  const ring = new KeyRing(neededKeyFile(keyFile));
  refuseOwnState(dir);
  const stores = await openPostgresStores(url, { changePatience: CHANGE_PATIENCE });
  let release = () => {};
  try {
    await SealedVault.check(stores.identity, ring, false);
    release = holdDirectory(dir);
    noteDatabase(dir, stores.name);
  } catch (error) {
    release();
    await stores.close();
    throw ioFailure(dir, error);
  }
  return {
    dir,
    name: stores.name,
    isShared: true,
    // One for all: it is closed with the place.
    openIdentity: async () => keptOpen(stores.identity),
    openEvidence: () => stores.evidence,
    openLive: (options) => stores.live(options),
    vault: (store) => SealedVault.open(store, ring),
    exclusively: (work) => stores.exclusively(work),
    now: () => stores.now(),
    get board() {
      return stores.board;
    },
    async close() {
      await stores.close();
      release();
    },
  };
}

/** What a database holds, as it was found. */
export interface FoundDatabase<T> {
  readonly name: string;
  /** `older`: it is migrated at the next start. */
  readonly tables: 'none' | 'older' | 'current';
  /** What `look` found; undefined where the tables are not current. */
  readonly found: T | undefined;
  /** What is to be done about the keys of the key file, in a sentence. */
  readonly keys?: string;
}

/** Looks whether the place could be opened, and changes nothing. Throws as {@link openDatabasePlace} does. */
export async function checkDatabase<T>(
  { dir, url, keyFile }: DatabaseOptions,
  look: (place: Place) => Promise<T>,
): Promise<FoundDatabase<T>> {
  const ring = new KeyRing(neededKeyFile(keyFile));
  refuseOwnState(dir);
  const { name, version, newest } = await lookAtPostgres(url);
  if (version !== newest) return { name, tables: version === 0 ? 'none' : 'older', found: undefined };
  const stores = await openPostgresStores(url);
  try {
    await SealedVault.check(stores.identity, ring, false);
    const openIdentity = async () => keptOpen(stores.identity);
    const place: Place = { ...directoryPlace(dir), name, isShared: true, openIdentity };
    const keys = await keysIn(stores.identity, ring);
    return { name, tables: 'current', found: await look(place), ...(keys === undefined ? {} : { keys }) };
  } finally {
    await stores.close();
  }
}

/** What `up --check` says where keys are not sealed with the first key of the file, or it holds others beside. */
async function keysIn(store: IdentityStore, ring: KeyRing): Promise<string | undefined> {
  const { sealing, sealed } = await SealedVault.look(store, ring);
  const [first] = ring.ids;
  const old = [...sealed.keys()].filter((id) => id !== first);
  if (sealing === undefined || (sealing === first && old.length === 0 && ring.ids.length === 1))
    return undefined;
  return sealing === first && old.length === 0
    ? `keys are sealed with ${first}, the first of ${ring.ids.length} in ${ring.file}: the others can be removed`
    : `keys are still sealed with ${[...new Set([sealing, ...old])].filter((id) => id !== first).join(', ')}, and ${first} is the first in ${ring.file}: "interlock authority reseal" once every control plane has that`;
}

function neededKeyFile(keyFile: string | undefined): string {
  if (keyFile !== undefined) return keyFile;
  throw new InterlockError(
    'usage',
    '--key-file',
    'with --database the keys of the authorities are sealed in it: give --key-file, the same file at every control plane ("interlock authority key-file FILE" makes one)',
  );
}

/** A directory that has a state of its own would be left behind without a word. */
function refuseOwnState(dir: string): void {
  if (!existsSync(join(dir, IDENTITY_FILE))) return;
  throw new InterlockError(
    'conflict',
    dir,
    `${dir} holds a state of its own, which --database would leave behind: choose another --state directory`,
  );
}

/** Keeps a directory to this process until the function that it gives back is called, or the process ends. */
function holdDirectory(dir: string): () => void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  if ((statSync(dir).mode & 0o077) !== 0)
    throw new InterlockError('state', dir, `others may enter ${dir}: chmod 0700 ${dir}`);
  const db = new DatabaseSync(join(dir, 'in-use'), { timeout: 0 });
  try {
    // The lock is the operating system's: it ends with the process, however that ends.
    db.exec('BEGIN EXCLUSIVE');
  } catch {
    db.close();
    throw new InterlockError(
      'state',
      dir,
      `${dir} is in use by another control plane: give each its own --state directory`,
    );
  }
  return () => db.close();
}

function ioFailure(dir: string, error: unknown): unknown {
  if (isInterlockError(error) || !(error instanceof Error) || !('code' in error)) return error;
  return new InterlockError('io', dir, `${dir} could not be used (${String(error.code)})`, { cause: error });
}

/** The store without its end: who opened it last does not close it for the others. */
function keptOpen(store: IdentityStore): IdentityStore {
  return {
    commit: (...args) => store.commit(...args),
    documents: (...args) => store.documents(...args),
    takeJoinToken: (...args) => store.takeJoinToken(...args),
    joinTokens: () => store.joinTokens(),
    useToken: (...args) => store.useToken(...args),
    agents: (...args) => store.agents(...args),
    issued: (...args) => store.issued(...args),
    liveCounts: (...args) => store.liveCounts(...args),
    revocations: () => store.revocations(),
    audit: (...args) => store.audit(...args),
    verifyAudit: (...args) => store.verifyAudit(...args),
    prune: (...args) => store.prune(...args),
    watch: (onCommit) => store.watch(onCommit),
    lead: (onLead) => store.lead(onLead),
    close: async () => {},
  };
}
