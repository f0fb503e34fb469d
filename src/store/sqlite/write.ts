import type { DatabaseSync, StatementSync } from 'node:sqlite';
import {
  type Action,
  type BlindSpot,
  canonicalEndpoint,
  type Endpoint,
  type Evidence,
  emptyEvidence,
  factKey,
  mergeEvidence,
  type RecordedAccess,
  type Tally,
} from '../../access/index.ts';
import type { NewRecording } from '../store.ts';
import { packAscending, packCounts, packNumbers, unpackCounts, unpackNumbers } from './packing.ts';
import { Interner } from './rows.ts';

/** Adds one recording inside a transaction that the caller opened and ends. */
export function writeRecording(
  db: DatabaseSync,
  recording: NewRecording,
  tally: Tally,
  carry: unknown,
): void {
  const id = writeSummary(db, recording, tally);
  writeContent(db, tally);
  writeCoverage(db, id, tally);
  if (carry !== undefined) {
    db.prepare('INSERT OR REPLACE INTO carry (format, data) VALUES (?, ?)').run(
      recording.format,
      JSON.stringify(carry),
    );
  }
}

/** Adds what a tally counted, without its summary, to what is known. */
export function writeContent(db: DatabaseSync, tally: Tally): void {
  const endpoints = new Interner(db, 'endpoint');
  const accesses = new AccessWriter(db, endpoints);
  for (const access of tally.accesses()) accesses.add(access);
  const spots = new BlindSpotWriter(db, endpoints);
  for (const spot of tally.blindSpots()) spots.add(spot);
  const fact = db.prepare('INSERT OR REPLACE INTO fact (key, data) VALUES (?, ?)');
  for (const each of tally.facts()) fact.run(factKey(each), JSON.stringify(each));
}

/** Notes whom a recording names, and in which hours it recorded anything: it concerns nobody else. */
function writeCoverage(db: DatabaseSync, recording: number, tally: Tally): void {
  const endpoints = new Interner(db, 'endpoint');
  const callees = new Set<number>();
  const others = new Set<number>();
  const hours = new Set<number>();
  const idOf = (end: Endpoint) => endpoints.idOf(endpointData(end));
  for (const { from, to, evidence } of tally.accesses()) {
    callees.add(idOf(to));
    others.add(idOf(from));
    for (const key of evidence.counts.keys()) hours.add(key >> 2);
  }
  for (const { from, to } of tally.blindSpots()) others.add(idOf(from)).add(idOf(to));
  const packed = [callees, others, hours].map((set) => packAscending([...set].toSorted((a, b) => a - b)));
  db.prepare('UPDATE recording SET callees = ?, others = ?, hours = ? WHERE id = ?').run(
    ...packed,
    recording,
  );
}

/** Writes the row of a recording and its files; gives the row's number. */
export function writeSummary(db: DatabaseSync, recording: NewRecording, tally: Tally): number {
  const { lastInsertRowid: id } = db
    .prepare(
      'INSERT INTO recording (format, taken_at, read, accepted, skips, lost, first_seen, last_seen) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
    )
    .run(
      recording.format,
      recording.takenAt,
      tally.read,
      tally.accepted,
      JSON.stringify([...tally.skips()]),
      JSON.stringify([...tally.lost]),
      tally.firstSeen,
      tally.lastSeen,
    );
  const file = db.prepare(
    'INSERT INTO file (digest, recording, position, name, bytes) VALUES (?, ?, ?, ?, ?)',
  );
  for (const [position, each] of recording.files.entries()) {
    file.run(each.digest, id, position, each.name, each.bytes);
  }
  return Number(id);
}

const endpointData = (end: Endpoint) => JSON.stringify(canonicalEndpoint(end));

/** The action with its fields in one order, so that equal actions are equal texts. */
function actionData(action: Action): string {
  switch (action.kind) {
    case 'tcp':
      return JSON.stringify({ kind: action.kind, port: action.port });
    case 'http':
      return JSON.stringify({
        kind: action.kind,
        port: action.port,
        method: action.method,
        path: action.path,
      });
    case 'grpc':
      return JSON.stringify({
        kind: action.kind,
        port: action.port,
        service: action.service,
        method: action.method,
      });
  }
}

/** Adds accesses, merging each with what is known of it. */
class AccessWriter {
  readonly #endpoints: Interner;
  readonly #actions: Interner;
  readonly #names: Interner;
  readonly #nameOf: StatementSync;
  readonly #find: StatementSync;
  readonly #insert: StatementSync;
  readonly #update: StatementSync;

  constructor(db: DatabaseSync, endpoints: Interner) {
    this.#endpoints = endpoints;
    this.#actions = new Interner(db, 'action');
    this.#names = new Interner(db, 'name');
    this.#nameOf = db.prepare('SELECT data FROM name WHERE id = ?');
    this.#find = db.prepare(
      'SELECT * FROM access WHERE action = ? AND caller = ? AND callee = ? AND side = ?',
    );
    this.#insert = db.prepare(
      'INSERT INTO access (action, caller, callee, side, first_seen, last_seen, mutual, plaintext, instances, sources, counts) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
    );
    this.#update = db.prepare(
      'UPDATE access SET first_seen = ?, last_seen = ?, mutual = ?, plaintext = ?, instances = ?, sources = ?, counts = ? WHERE id = ?',
    );
  }

  add(access: RecordedAccess): void {
    const key = [
      this.#actions.idOf(actionData(access.action)),
      this.#endpoints.idOf(endpointData(access.from)),
      this.#endpoints.idOf(endpointData(access.to)),
      access.side,
    ] as const;
    const known = this.#find.get(...key);
    if (known === undefined) {
      this.#insert.run(...key, ...this.#columns(access.evidence));
      return;
    }
    const evidence = this.#evidenceOf(known);
    this.#update.run(...this.#columns(mergeEvidence(evidence, access.evidence)), Number(known['id']));
  }

  #columns(evidence: Evidence) {
    return [
      evidence.firstSeen,
      evidence.lastSeen,
      evidence.mutual,
      evidence.plaintext,
      this.#packNames(evidence.instances),
      this.#packNames(evidence.sources),
      packCounts(evidence.counts),
    ] as const;
  }

  #packNames(names: Iterable<string>): Uint8Array {
    return packNumbers([...names].map((name) => this.#names.idOf(JSON.stringify(name))));
  }

  #evidenceOf(row: Record<string, unknown>): Evidence {
    const evidence = emptyEvidence();
    evidence.firstSeen = Number(row['first_seen']);
    evidence.lastSeen = Number(row['last_seen']);
    evidence.mutual = Number(row['mutual']);
    evidence.plaintext = Number(row['plaintext']);
    // The three BLOB columns are NOT NULL in a STRICT table: they are always bytes.
    for (const id of unpackNumbers(row['instances'] as Uint8Array)) evidence.instances.add(this.#name(id));
    for (const id of unpackNumbers(row['sources'] as Uint8Array)) evidence.sources.add(this.#name(id));
    unpackCounts(row['counts'] as Uint8Array, evidence.counts);
    return evidence;
  }

  #name(id: number): string {
    // The name table holds the JSON texts of strings and nothing else.
    return JSON.parse(String(this.#nameOf.get(id)?.['data'])) as string;
  }
}

/** Adds blind spots to the ones known; those that add up to nothing are taken out. */
class BlindSpotWriter {
  readonly #endpoints: Interner;
  readonly #add: StatementSync;
  readonly #drop: StatementSync;

  constructor(db: DatabaseSync, endpoints: Interner) {
    this.#endpoints = endpoints;
    this.#add = db.prepare(
      `INSERT INTO blind_spot (kind, caller, callee, what, action, count, first_seen, last_seen) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET count = count + excluded.count, action = coalesce(action, excluded.action),
         first_seen = min(first_seen, excluded.first_seen), last_seen = max(last_seen, excluded.last_seen) RETURNING count`,
    );
    this.#drop = db.prepare(
      'DELETE FROM blind_spot WHERE kind = ? AND caller = ? AND callee = ? AND what = ?',
    );
  }

  add(spot: BlindSpot): void {
    const key = [
      spot.kind,
      this.#endpoints.idOf(endpointData(spot.from)),
      this.#endpoints.idOf(endpointData(spot.to)),
      spot.what.toWellFormed(),
    ] as const;
    const action = spot.action === undefined ? null : actionData(spot.action);
    const sum = this.#add.get(...key, action, spot.count, spot.firstSeen, spot.lastSeen);
    if (sum?.['count'] === 0) this.#drop.run(...key);
  }
}
