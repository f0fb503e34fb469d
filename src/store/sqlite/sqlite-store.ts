import type { DatabaseSync } from 'node:sqlite';
import type { BlindSpot, Fact, RecordedAccess, RecordedCoverage, Tally } from '../../access/index.ts';
import type { LiveBatch, LiveState, ReportMark } from '../live.ts';
import type { NewRecording, Recording, Store } from '../store.ts';
import { damaged, stateFailure } from './failures.ts';
import { loadAccesses, loadBlindSpots, loadCoverage, loadRecordings } from './load.ts';
import { knownMarks, loadLive, writeLive } from './live/rows.ts';
import { rowsOf, valueOf } from './rows.ts';
import { writeRecording } from './write.ts';

/** The store in one SQLite file. Opened by {@link file://./open.ts}. */
export class SqliteStore implements Store {
  readonly #db: DatabaseSync;
  readonly #dir: string;

  constructor(db: DatabaseSync, dir: string) {
    this.#db = db;
    this.#dir = dir;
  }

  addRecording(recording: NewRecording, tally: Tally, carry?: unknown): Promise<boolean> {
    return this.#do((db) =>
      inTransaction(db, () => {
        for (const { digest } of recording.files) {
          if (valueOf(db, 'SELECT 1 FROM file WHERE digest = ?', digest) !== undefined) return false;
        }
        writeRecording(db, recording, tally, carry);
        return true;
      }),
    );
  }

  recordings(): Promise<Recording[]> {
    return this.#read(loadRecordings);
  }

  digests(): Promise<Set<string>> {
    return this.#read(
      (db) => new Set(Array.from(rowsOf(db, 'SELECT digest FROM file'), ([it]) => String(it))),
    );
  }

  coverage(): Promise<RecordedCoverage[]> {
    return this.#read(loadCoverage);
  }

  accesses(): Promise<RecordedAccess[]> {
    return this.#read(loadAccesses);
  }

  blindSpots(): Promise<BlindSpot[]> {
    return this.#read(loadBlindSpots);
  }

  facts(): Promise<Fact[]> {
    // The texts are JSON of facts, written by write.ts.
    return this.#read((db) =>
      Array.from(rowsOf(db, 'SELECT data FROM fact ORDER BY key'), ([it]) => JSON.parse(String(it)) as Fact),
    );
  }

  carry(format: string): Promise<unknown> {
    return this.#read((db) => {
      const data = valueOf(db, 'SELECT data FROM carry WHERE format = ?', format);
      return data === undefined ? undefined : JSON.parse(String(data));
    });
  }

  setting(name: string): Promise<string | undefined> {
    return this.#read((db) => {
      const value = valueOf(db, 'SELECT value FROM setting WHERE name = ?', name);
      return value === undefined ? undefined : String(value);
    });
  }

  setSetting(name: string, value: string): Promise<void> {
    return this.#do((db) => {
      db.prepare('INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)').run(name, value);
    });
  }

  addLive(batch: LiveBatch, tallies: readonly Tally[]): Promise<readonly ReportMark[]> {
    return this.#do((db) =>
      inTransaction(db, () => {
        const known = knownMarks(db, batch.marks);
        if (known.length === 0) writeLive(db, batch, tallies);
        return known;
      }),
    );
  }

  live(): Promise<LiveState> {
    return this.#read(loadLive);
  }

  close(): Promise<void> {
    return this.#do((db) => db.close());
  }

  /** What reads: all its queries see one state, and what they find must be what write.ts wrote. */
  #read<T>(work: (db: DatabaseSync) => T): Promise<T> {
    return this.#do((db) => {
      try {
        return inSnapshot(db, () => work(db));
      } catch (error) {
        throw error instanceof SyntaxError || error instanceof RangeError ? damaged(this.#dir, error) : error;
      }
    });
  }

  /** SQLite works at once; its failures become this program's errors. */
  async #do<T>(work: (db: DatabaseSync) => T): Promise<T> {
    try {
      return work(this.#db);
    } catch (error) {
      throw stateFailure(this.#dir, error);
    }
  }
}

function inTransaction<T>(db: DatabaseSync, work: () => T): T {
  db.exec('BEGIN IMMEDIATE');
  try {
    const done = work();
    db.exec('COMMIT');
    return done;
  } catch (error) {
    // A full disk may have rolled it back already (sqlite.org/lang_transaction.html, section 3).
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}

/** Several queries that see one state, whatever another process commits meanwhile. */
function inSnapshot<T>(db: DatabaseSync, work: () => T): T {
  db.exec('BEGIN');
  try {
    return work();
  } finally {
    if (db.isTransaction) db.exec('COMMIT');
  }
}
