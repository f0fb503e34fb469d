import type { DatabaseSync } from 'node:sqlite';
import type { Skip, Tally } from '../../../access/index.ts';
import {
  flipKey,
  type LiveBatch,
  type LiveState,
  MARK_MS,
  type PlaintextCaller,
  plaintextKey,
  type ReportMark,
  type SeenFlip,
  type UnreachedCalls,
  unreachedKey,
  handshakeKey,
  type SeenHandshakes,
} from '../../live.ts';
import { Interner, rowsOf, valueOf } from '../rows.ts';
import { writeContent, writeSummary } from '../write.ts';

const DAY_MS = 86_400_000;
/** Epochs of one reporter that are remembered: a proxy of ours makes a new one when it starts. */
const MAX_EPOCHS = 32;

/** Those of the marks that were kept before. */
export function knownMarks(db: DatabaseSync, marks: readonly ReportMark[]): ReportMark[] {
  const find = db.prepare('SELECT 1 FROM live_mark WHERE reporter = ? AND epoch = ? AND sequence >= ?');
  return marks.filter(({ reporter, epoch, sequence }) => find.get(reporter, epoch, sequence) !== undefined);
}

/** Adds a batch inside a transaction that the caller opened and ends. */
export function writeLive(db: DatabaseSync, batch: LiveBatch, tallies: readonly Tally[]): void {
  writeMarks(db, batch);
  for (const tally of tallies) {
    addToDay(db, tally, batch.at);
    writeContent(db, tally);
  }
  writeCoverage(db, batch);
  const settle = db.prepare("DELETE FROM live_sighting WHERE kind = 'flip' AND callee = ?");
  for (const workload of batch.settled) settle.run(workload);
  const forget = db.prepare('DELETE FROM live_sighting WHERE key = ?');
  for (const key of batch.forgotten) forget.run(key);
  const add = db.prepare(
    `INSERT INTO live_sighting (key, kind, callee, data, count, first_seen, last_seen) VALUES (?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET data = excluded.data, count = count + excluded.count, first_seen = min(first_seen, excluded.first_seen),
       last_seen = max(last_seen, excluded.last_seen)`,
  );
  for (const flip of batch.flips) {
    const { count, firstSeen, lastSeen, ...data } = flip;
    add.run(flipKey(flip), 'flip', flip.to, JSON.stringify(data), count, firstSeen, lastSeen);
  }
  for (const calls of batch.unreached ?? []) {
    const { count, firstSeen, lastSeen, ...data } = calls;
    add.run(unreachedKey(calls), 'unreached', calls.from, JSON.stringify(data), count, firstSeen, lastSeen);
  }
  for (const seen of batch.handshakes ?? []) {
    const { count, firstSeen, lastSeen, ...data } = seen;
    add.run(handshakeKey(seen), 'handshake', seen.to, JSON.stringify(data), count, firstSeen, lastSeen);
  }
  for (const caller of batch.plaintext) {
    const { connections, firstSeen, lastSeen, ...data } = caller;
    add.run(
      plaintextKey(caller),
      'plaintext',
      caller.to,
      JSON.stringify(data),
      connections,
      firstSeen,
      lastSeen,
    );
  }
}

function writeCoverage(db: DatabaseSync, { coverage, at }: LiveBatch): void {
  if (coverage.length === 0) return;
  const names = new Interner(db, 'name');
  const add = db.prepare(
    `INSERT INTO live_coverage (workload, source, day, hours, events, lost) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET hours = hours | excluded.hours, events = events + excluded.events, lost = lost + excluded.lost`,
  );
  for (const { workload, source, hours, events, lost } of coverage) {
    const id = names.idOf(JSON.stringify(workload));
    // The counts stand with the day on which they came.
    const days = new Map([[Math.floor(at / DAY_MS), 0]]);
    for (const hour of hours) {
      const day = Math.floor(hour / 24);
      days.set(day, (days.get(day) ?? 0) | (1 << (hour - day * 24)));
    }
    let [taken, gone] = [events, lost];
    for (const [day, mask] of days) {
      add.run(id, source, day, mask, taken, gone);
      taken = gone = 0;
    }
  }
}

function writeMarks(db: DatabaseSync, { marks, at }: LiveBatch): void {
  if (marks.length === 0) return;
  const put = db.prepare(
    'INSERT OR REPLACE INTO live_mark (reporter, epoch, sequence, at) VALUES (?, ?, ?, ?)',
  );
  const highest = db.prepare('SELECT max(sequence) AS n FROM live_mark WHERE reporter = ? AND epoch = ?');
  for (const { reporter, epoch, sequence } of marks) {
    // In whatever order they stand, the highest one stays.
    put.run(reporter, epoch, Math.max(sequence, Number(highest.get(reporter, epoch)?.['n'] ?? 0)), at);
  }
  db.prepare('DELETE FROM live_mark WHERE at < ?').run(at - MARK_MS);
  const crowd = db.prepare(
    `DELETE FROM live_mark WHERE reporter = ?1 AND epoch IN
     (SELECT epoch FROM live_mark WHERE reporter = ?1 ORDER BY at DESC, sequence DESC LIMIT -1 OFFSET ${MAX_EPOCHS})`,
  );
  for (const reporter of new Set(marks.map((mark) => mark.reporter))) crowd.run(reporter);
}

/** Adds the summary of a tally to the recording of its source and day, which the first one of the day makes. */
function addToDay(db: DatabaseSync, tally: Tally, at: number): void {
  const { source, read, accepted, firstSeen, lastSeen } = tally;
  const day = Math.floor(at / DAY_MS);
  const id = valueOf(db, 'SELECT recording FROM live_recording WHERE source = ? AND day = ?', source, day);
  if (id === undefined) {
    const made = writeSummary(db, { format: source, files: [], takenAt: at }, tally);
    db.prepare('INSERT INTO live_recording (source, day, recording) VALUES (?, ?, ?)').run(source, day, made);
    return;
  }
  const row = db.prepare('SELECT skips, lost FROM recording WHERE id = ?').get(Number(id));
  // Both casts: JSON that this program wrote of values of these types.
  const skips = mergedSkips(JSON.parse(String(row?.['skips'] ?? '[]')) as Skip[], tally.skips());
  const lost = mergedLost(JSON.parse(String(row?.['lost'] ?? '[]')) as [string, number][], tally.lost);
  db.prepare(
    `UPDATE recording SET read = read + ?, accepted = accepted + ?, skips = ?, lost = ?,
       first_seen = min(first_seen, ?), last_seen = max(last_seen, ?) WHERE id = ?`,
  ).run(read, accepted, JSON.stringify(skips), JSON.stringify(lost), firstSeen, lastSeen, Number(id));
}

function mergedSkips(known: readonly Skip[], added: Iterable<Skip>): Skip[] {
  const all = new Map(known.map((skip) => [skip.reason, skip]));
  for (const skip of added) {
    const before = all.get(skip.reason);
    all.set(skip.reason, { ...(before ?? skip), count: skip.count + (before?.count ?? 0) });
  }
  return [...all.values()];
}

function mergedLost(known: Iterable<readonly [string, number]>, added: ReadonlyMap<string, number>) {
  const all = new Map(known);
  for (const [by, n] of added) all.set(by, n + (all.get(by) ?? 0));
  return [...all];
}

/** What was kept beside the accesses. */
export function loadLive(db: DatabaseSync): LiveState {
  const marks = Array.from(
    rowsOf(db, 'SELECT reporter, epoch, sequence FROM live_mark ORDER BY at'),
    (row) => ({
      reporter: String(row[0]),
      epoch: String(row[1]),
      sequence: Number(row[2]),
    }),
  );
  const flips: SeenFlip[] = [];
  const plaintext: PlaintextCaller[] = [];
  const unreached: UnreachedCalls[] = [];
  const handshakes: SeenHandshakes[] = [];
  const sql = 'SELECT kind, data, count, first_seen, last_seen FROM live_sighting ORDER BY last_seen';
  for (const [kind, json, count, firstSeen, lastSeen] of rowsOf(db, sql)) {
    const data: unknown = JSON.parse(String(json));
    const times = { firstSeen: Number(firstSeen), lastSeen: Number(lastSeen) };
    // The casts: writeLive made the text of all other fields of a value of this type.
    if (kind === 'flip') flips.push({ ...(data as SeenFlip), count: Number(count), ...times });
    else if (kind === 'unreached')
      unreached.push({ ...(data as UnreachedCalls), count: Number(count), ...times });
    else if (kind === 'handshake')
      handshakes.push({ ...(data as SeenHandshakes), count: Number(count), ...times });
    else plaintext.push({ ...(data as PlaintextCaller), connections: Number(count), ...times });
  }
  return {
    marks,
    flips,
    plaintext,
    ...(unreached.length === 0 ? {} : { unreached }),
    ...(handshakes.length === 0 ? {} : { handshakes }),
  };
}
