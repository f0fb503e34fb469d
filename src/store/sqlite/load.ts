import type { DatabaseSync } from 'node:sqlite';
import {
  type Action,
  type BlindSpot,
  type BlindSpotKind,
  type Endpoint,
  emptyEvidence,
  type RecordedAccess,
  type RecordedCoverage,
  type Side,
  type Skip,
} from '../../access/index.ts';
import type { Recording, RecordingFile } from '../store.ts';
import { unpackAscending, unpackCounts, unpackNumbers } from './packing.ts';
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

/** What recordings cover; those of enforcement points by workload and source, over all days. */
export function loadCoverage(db: DatabaseSync): RecordedCoverage[] {
  const endpoints = internedValues<Endpoint>(db, 'endpoint');
  const ends = (packed: unknown) =>
    // NULL, or bytes: a column of a STRICT table.
    packed === null ? undefined : unpackAscending(packed as Uint8Array).map((id) => pick(endpoints, id));
  const found: RecordedCoverage[] = [];
  const sql = `SELECT format, accepted, lost, callees, others, hours FROM recording
    WHERE format <> 'kubernetes' AND id NOT IN (SELECT recording FROM live_recording) ORDER BY id`;
  for (const row of rowsOf(db, sql)) {
    // JSON that write.ts made of a value of this type.
    const lost = JSON.parse(String(row[2])) as [string, number][];
    const [callees, others] = [ends(row[3]), ends(row[4])];
    found.push({
      source: String(row[0]),
      events: Number(row[1]),
      lost: lost.reduce((sum, [, n]) => sum + n, 0),
      ...(callees === undefined ? {} : { callees }),
      ...(others === undefined ? {} : { others }),
      ...(row[5] === null ? {} : { hours: unpackAscending(bytes(row, 5)) }),
    });
  }
  return [...found, ...liveCoverage(db)];
}

/** By workload and source, over all days. */
function liveCoverage(db: DatabaseSync): RecordedCoverage[] {
  const found = new Map<
    string,
    { source: string; name: string; events: number; lost: number; hours: number[] }
  >();
  const sql = `SELECT name.data, source, day, hours, events, lost FROM live_coverage
    JOIN name ON name.id = workload ORDER BY workload, source, day`;
  for (const row of rowsOf(db, sql)) {
    const [name, source] = [String(row[0]), String(row[1])];
    const [day, mask, events, lost] = [Number(row[2]), Number(row[3]), Number(row[4]), Number(row[5])];
    const key = `${source} ${name}`;
    let known = found.get(key);
    if (known === undefined) found.set(key, (known = { source, name, events: 0, lost: 0, hours: [] }));
    known.events += events;
    known.lost += lost;
    for (let hour = 0; hour < 24; hour++) if (((mask >> hour) & 1) === 1) known.hours.push(day * 24 + hour);
  }
  return Array.from(found.values(), ({ name, ...rest }) => ({
    ...rest,
    // The name table holds the JSON texts of strings and nothing else.
    callees: [{ spiffeId: JSON.parse(name) as string }],
    others: [],
  }));
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
