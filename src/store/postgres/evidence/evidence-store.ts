import {
  type BlindSpot,
  type Fact,
  InterlockError,
  type RecordedAccess,
  type RecordedCoverage,
  type Tally,
} from '../../../access/index.ts';
import type { LiveBatch, LiveState, ReportMark } from '../../live.ts';
import type { NewRecording, Recording, Store, StoreMoment } from '../../store.ts';
import type { Database } from '../database.ts';
import { damagedDatabase } from '../failures.ts';
import { lockOf } from '../migrate.ts';
import type { Session } from '../session.ts';
import { Content } from './content.ts';
import { Interner } from './interner.ts';
import { KnownMarks, writeLive } from './live.ts';
import { loadAccesses, loadBlindSpots, loadCoverage, loadLive, loadRecordings } from './load.ts';
import { writeCarry, writeCoverage, writeRecording } from './recordings.ts';

/** Undoes a recording of which a file is known. */
class KnownFile extends Error {}

/** The evidence in PostgreSQL. Opened by {@link file://../open.ts}. */
export class PostgresEvidenceStore implements Store {
  readonly #database: Database;
  readonly #onClose: () => Promise<void>;
  readonly #interner = new Interner();
  #closed = false;

  constructor(database: Database, onClose: () => Promise<void>) {
    this.#database = database;
    this.#onClose = onClose;
  }

  async addRecording(recording: NewRecording, tally: Tally, carry?: unknown): Promise<boolean> {
    this.#checkOpen();
    try {
      // Before the transaction: adding up a large recording takes time, in which no lock is held.
      const content = new Content([tally]);
      const ids = await this.#database.transaction(async (session) => {
        const id = await writeRecording(session, recording, tally);
        if (id === undefined) throw new KnownFile();
        const written = await content.write(session, this.#interner);
        await writeCoverage(session, id, tally, written.endpoints);
        if (carry !== undefined) await writeCarry(session, recording.format, carry);
        return written;
      });
      this.#interner.keep(ids.endpoints);
      this.#interner.keep(ids.actions);
      return true;
    } catch (error) {
      if (error instanceof KnownFile) return false;
      throw error;
    }
  }

  recordings(): Promise<Recording[]> {
    return this.#read(loadRecordings);
  }

  digests(): Promise<Set<string>> {
    return this.#read(loadDigests);
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
    return this.#read(loadFacts);
  }

  carry(format: string): Promise<unknown> {
    return this.#read(
      async (session) => (await session.row('select data from carry where format = $1', format))?.[0],
    );
  }

  setting(name: string): Promise<string | undefined> {
    return this.#read(async (session) => {
      const row = await session.row('select value from setting where name = $1', name);
      return row === undefined ? undefined : String(row[0]);
    });
  }

  async setSetting(name: string, value: string): Promise<void> {
    this.#checkOpen();
    const sql =
      'insert into setting (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value';
    await this.#database.transaction((session) => session.changes(sql, name, value));
  }

  async addLive(batch: LiveBatch, tallies: readonly Tally[]): Promise<readonly ReportMark[]> {
    this.#checkOpen();
    const lock = lockOf(this.#database.schema, 'live');
    try {
      const ids = await this.#database.transaction((session) =>
        writeLive(session, batch, tallies, this.#interner, lock, liveChannel(this.#database)),
      );
      this.#interner.keep(ids.endpoints);
      this.#interner.keep(ids.actions);
      return [];
    } catch (error) {
      if (error instanceof KnownMarks) return error.marks;
      throw error;
    }
  }

  live(): Promise<LiveState> {
    return this.#read(loadLive);
  }

  moment<T>(read: (then: StoreMoment, seq: number) => Promise<T>): Promise<T> {
    return this.#read(async (session) => {
      const row = await session.row('select seq from live_head');
      return read(momentOf(session), Number(row?.[0] ?? 0));
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#onClose();
  }

  /** What reads: all its queries see one state, and what they find must be what the writers wrote. */
  async #read<T>(work: (session: Session) => Promise<T>): Promise<T> {
    this.#checkOpen();
    try {
      return await this.#database.snapshot(work);
    } catch (error) {
      throw error instanceof SyntaxError || error instanceof RangeError
        ? damagedDatabase(this.#database.name, error)
        : error;
    }
  }

  #checkOpen(): void {
    if (this.#closed)
      throw new InterlockError('state', this.#database.name, `the database ${this.#database.name} is closed`);
  }
}

async function loadDigests(session: Session): Promise<Set<string>> {
  const rows = await session.rows('select digest from file');
  return new Set(rows.map(([digest]) => String(digest)));
}

async function loadFacts(session: Session): Promise<Fact[]> {
  // JSON of facts, written by content.ts.
  return (await session.rows('select data from fact order by key')).map(([data]) => data as Fact);
}

function momentOf(session: Session): StoreMoment {
  return {
    recordings: () => loadRecordings(session),
    digests: () => loadDigests(session),
    coverage: () => loadCoverage(session),
    accesses: () => loadAccesses(session),
    blindSpots: () => loadBlindSpots(session),
    facts: () => loadFacts(session),
    live: () => loadLive(session),
  };
}

/** Told of every batch of live evidence. */
export function liveChannel({ schema }: Database): string {
  return `${schema}_live`;
}
