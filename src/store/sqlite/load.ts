import type { DatabaseSync } from 'node:sqlite';
import {
  type Action,
  type BlindSpot,
  type BlindSpotKind,
  type Endpoint,
  emptyEvidence,
  type RecordedAccess,
  type Side,
  type Skip,
} from '../../access/index.ts';
import type { Recording, RecordingFile } from '../store.ts';
import { unpackCounts, unpackNumbers } from './packing.ts';
import { internedValues, type Row, rowsOf } from './rows.ts';

/** Every recorded access. What is interned in the tables stays shared in memory. */
export function loadAccesses(db: DatabaseSync): RecordedAccess[] {
  const endpoints = internedValues<Endpoint>(db, 'endpoint');
  const actions = internedValues<Action>(db, 'action');
  const names = internedValues<string>(db, 'name');
  const accesses: RecordedAccess[] = [];
  const sql =
    'SELECT action, caller, callee, side, first_seen, last_seen, mutual, plaintext, instances, sources, counts FROM access ORDER BY id';
  for (const row of rowsOf(db, sql)) {
    const evidence = emptyEvidence();
    evidence.firstSeen = Number(row[4]);
    evidence.lastSeen = Number(row[5]);
    evidence.mutual = Number(row[6]);
    evidence.plaintext = Number(row[7]);
    for (const id of unpackNumbers(bytes(row, 8))) evidence.instances.add(pick(names, id));
    for (const id of unpackNumbers(bytes(row, 9))) evidence.sources.add(pick(names, id));
    unpackCounts(bytes(row, 10), evidence.counts);
    accesses.push({
      action: pick(actions, row[0]),
      from: pick(endpoints, row[1]),
      to: pick(endpoints, row[2]),
      // The column holds only what write.ts took from a value of type Side.
      side: String(row[3]) as Side,
      evidence,
    });
  }
  return accesses;
}

/** Blind spots whose counts have not added up to nothing (or less, while a late match waits for its miss). */
export function loadBlindSpots(db: DatabaseSync): BlindSpot[] {
  const endpoints = internedValues<Endpoint>(db, 'endpoint');
  const spots: BlindSpot[] = [];
  const sql =
    'SELECT kind, caller, callee, what, action, count, first_seen, last_seen FROM blind_spot WHERE count > 0';
  for (const [kind, from, to, what, action, count, firstSeen, lastSeen] of rowsOf(db, sql)) {
    spots.push({
      // Both casts: the columns hold what write.ts took from a BlindSpot.
      kind: String(kind) as BlindSpotKind,
      from: pick(endpoints, from),
      to: pick(endpoints, to),
      what: String(what),
      ...(action === null ? {} : { action: JSON.parse(String(action)) as Action }),
      count: Number(count),
      firstSeen: Number(firstSeen),
      lastSeen: Number(lastSeen),
    });
  }
  return spots;
}

/** The recordings in the order in which they were taken in. */
export function loadRecordings(db: DatabaseSync): Recording[] {
  const files = new Map<number, RecordingFile[]>();
  for (const [id, digest, name, size] of rowsOf(
    db,
    'SELECT recording, digest, name, bytes FROM file ORDER BY recording, position',
  )) {
    const list = files.get(Number(id)) ?? [];
    list.push({ digest: String(digest), name: String(name), bytes: Number(size) });
    files.set(Number(id), list);
  }
  const recordings: Recording[] = [];
  const sql =
    'SELECT id, format, taken_at, read, accepted, skips, lost, first_seen, last_seen FROM recording ORDER BY id';
  for (const row of rowsOf(db, sql)) {
    recordings.push({
      format: String(row[1]),
      files: files.get(Number(row[0])) ?? [],
      takenAt: Number(row[2]),
      read: Number(row[3]),
      accepted: Number(row[4]),
      // Both casts: JSON that write.ts made of values of these types.
      skips: JSON.parse(String(row[5])) as Skip[],
      lost: new Map(JSON.parse(String(row[6])) as [string, number][]),
      firstSeen: Number(row[7]),
      lastSeen: Number(row[8]),
    });
  }
  return recordings;
}

function bytes(row: Row, column: number): Uint8Array {
  // The columns asked for are NOT NULL BLOBs of a STRICT table.
  return row[column] as Uint8Array;
}

function pick<T>(values: ReadonlyMap<number, T>, id: unknown): T {
  const value = values.get(Number(id));
  if (value === undefined)
    throw new RangeError(`the state refers to row ${String(id)}, which it does not hold`);
  return value;
}
