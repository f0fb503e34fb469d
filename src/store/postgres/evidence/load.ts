import {
  type Action,
  type BlindSpot,
  type BlindSpotKind,
  type Endpoint,
  emptyEvidence,
  type RecordedAccess,
  type RecordedCoverage,
  type Side,
} from '../../../access/index.ts';
import type { LiveState, PlaintextCaller, SeenFlip, SeenHandshakes, UnreachedCalls } from '../../live.ts';
import type { Recording } from '../../store.ts';
import type { Row, Session } from '../session.ts';
import { fromUtf16 } from '../values.ts';

// The casts in this file: columns are of the type that the schema gives them, and hold what the writers took from values
// of the types named.

/** Accesses that are read at once: the database's answer is never whole in memory. */
const PAGE = 2000;

async function interned<T>(session: Session, sql: string): Promise<Map<number, T>> {
  return new Map((await session.rows(sql)).map(([id, data]) => [id as number, data as T]));
}
const endpointsOf = (session: Session) => interned<Endpoint>(session, 'select id, data from endpoint');

const ACCESSES = `select id, action, caller, callee, side, first_seen, last_seen, mutual, plaintext, instances, sources,
    (select string_agg(key || ' ' || n, ' ' order by key) from access_count where access = access.id)
  from access where id > $1 order by id limit ${PAGE}`;

/** Every recorded access. What is interned in the tables stays shared in memory. */
export async function loadAccesses(session: Session): Promise<RecordedAccess[]> {
  const endpoints = await endpointsOf(session);
  const actions = await interned<Action>(session, 'select id, data from action');
  const names = new Map<string, string>();
  const accesses: RecordedAccess[] = [];
  for (let after = 0; ; ) {
    const rows = await session.rows(ACCESSES, after);
    for (const row of rows) {
      after = row[0] as number;
      accesses.push({
        action: pick(actions, row[1]),
        from: pick(endpoints, row[2]),
        to: pick(endpoints, row[3]),
        side: row[4] as Side,
        evidence: evidenceOf(row, names),
      });
    }
    if (rows.length < PAGE) return accesses;
  }
}

function evidenceOf(row: Row, names: Map<string, string>) {
  const [firstSeen, lastSeen, mutual, plaintext] = row.slice(5, 9) as [number, number, number, number];
  const evidence = Object.assign(emptyEvidence(), { firstSeen, lastSeen, mutual, plaintext });
  // One text for equal names: tens of thousands of accesses share a few.
  const nameOf = (bytes: Buffer) => {
    const name = fromUtf16(bytes);
    const known = names.get(name);
    if (known === undefined) names.set(name, name);
    return known ?? name;
  };
  for (const bytes of row[9] as Buffer[]) evidence.instances.add(nameOf(bytes));
  for (const bytes of row[10] as Buffer[]) evidence.sources.add(nameOf(bytes));
  const cells = row[11] as string | null;
  if (cells !== null) evidence.counts.takeOver(cells.split(' ').map(Number));
  return evidence;
}

/** Blind spots whose counts have not added up to nothing (or less, while a late match waits for its miss). */
export async function loadBlindSpots(session: Session): Promise<BlindSpot[]> {
  const endpoints = await endpointsOf(session);
  const sql =
    'select kind, caller, callee, what, action, count, first_seen, last_seen from blind_spot where count > 0';
  return (await session.rows(sql)).map((row) => {
    const [kind, from, to, what, action] = row as [BlindSpotKind, number, number, string, Action | null];
    const [count, firstSeen, lastSeen] = row.slice(5) as [number, number, number];
    return {
      kind,
      from: pick(endpoints, from),
      to: pick(endpoints, to),
      what,
      ...(action === null ? {} : { action }),
      count,
      firstSeen,
      lastSeen,
    };
  });
}

/** The recordings in the order in which they were taken in. */
export async function loadRecordings(session: Session): Promise<Recording[]> {
  const files = await grouped(
    session,
    'select recording, digest, name, bytes from file order by recording, position',
  );
  const skips = await grouped(
    session,
    'select recording, reason, count, first_line, sample from recording_skip order by recording, position',
  );
  const lost = await grouped(
    session,
    'select recording, who, n from recording_lost order by recording, position',
  );
  const rows = await session.rows(
    'select id, format, taken_at, read, accepted, first_seen, last_seen from recording order by id',
  );
  return rows.map((row) => {
    const [id, format, takenAt, read, accepted, firstSeen, lastSeen] = row as [
      ...[number, string, number, number],
      ...[number, number, number],
    ];
    return {
      format,
      takenAt,
      read,
      accepted,
      firstSeen,
      lastSeen,
      files: (files.get(id) ?? []).map(([, digest, name, bytes]) => ({
        digest: digest as string,
        name: name as string,
        bytes: bytes as number,
      })),
      skips: (skips.get(id) ?? []).map(([, reason, count, firstLine, sample]) => ({
        reason: reason as string,
        count: count as number,
        firstLine: firstLine as number,
        sample: sample as string,
      })),
      lost: new Map((lost.get(id) ?? []).map(([, who, n]) => [who as string, n as number])),
    };
  });
}

/** Rows by their first column. */
async function grouped(session: Session, sql: string): Promise<Map<number, Row[]>> {
  return Map.groupBy(await session.rows(sql), ([id]) => id as number);
}

/** What recordings cover; those of enforcement points by workload and source, over all days. */
export async function loadCoverage(session: Session): Promise<RecordedCoverage[]> {
  const endpoints = await endpointsOf(session);
  const ends = (ids: number[]) => ids.map((id) => pick(endpoints, id));
  const rows = await session.rows(
    `select format, accepted, coalesce((select sum(n) from recording_lost where recording = id), 0)::float8, callees::float8[],
       others::float8[], hours from recording
     where format <> 'kubernetes' and id not in (select recording from live_recording) order by id`,
  );
  const found = rows.map((row): RecordedCoverage => {
    const [source, events, lost] = row as [string, number, number];
    const [callees, others, hours] = row.slice(3) as [number[] | null, number[] | null, number[] | null];
    return {
      source,
      events,
      lost,
      ...(callees === null ? {} : { callees: ends(callees) }),
      ...(others === null ? {} : { others: ends(others) }),
      ...(hours === null ? {} : { hours }),
    };
  });
  return [...found, ...(await liveCoverage(session))];
}

async function liveCoverage(session: Session): Promise<RecordedCoverage[]> {
  const sql =
    'select workload, source, day, hours, events, lost from live_coverage order by workload, source, day';
  const rows = (await session.rows(sql)) as [string, string, number, number, number, number][];
  return [...Map.groupBy(rows, ([workload, source]) => `${workload}\n${source}`).values()].map((days) => {
    const [[workload, source] = ['', '']] = days;
    return {
      source,
      events: days.reduce((sum, [, , , , events]) => sum + events, 0),
      lost: days.reduce((sum, [, , , , , lost]) => sum + lost, 0),
      callees: [{ spiffeId: workload }],
      others: [],
      hours: days.flatMap(([, , day, mask]) =>
        Array.from({ length: 24 }, (_, hour) => hour)
          .filter((hour) => ((mask >> hour) & 1) === 1)
          .map((hour) => day * 24 + hour),
      ),
    };
  });
}

/** What was kept beside the accesses. */
export async function loadLive(session: Session): Promise<LiveState> {
  const rows = await session.rows('select reporter, epoch, sequence from live_mark order by at, digest');
  const marks = rows.map((row) => {
    const [reporter, epoch, sequence] = row as [string, string, number];
    return { reporter, epoch, sequence };
  });
  const flips: SeenFlip[] = [];
  const plaintext: PlaintextCaller[] = [];
  const unreached: UnreachedCalls[] = [];
  const handshakes: SeenHandshakes[] = [];
  const sql = 'select kind, data, count, first_seen, last_seen from live_sighting order by last_seen, digest';
  for (const [kind, data, count, firstSeen, lastSeen] of await session.rows(sql)) {
    const times = { firstSeen: firstSeen as number, lastSeen: lastSeen as number };
    if (kind === 'flip') flips.push({ ...(data as SeenFlip), count: count as number, ...times });
    else if (kind === 'unreached')
      unreached.push({ ...(data as UnreachedCalls), count: count as number, ...times });
    else if (kind === 'handshake')
      handshakes.push({ ...(data as SeenHandshakes), count: count as number, ...times });
    else plaintext.push({ ...(data as PlaintextCaller), connections: count as number, ...times });
  }
  return {
    marks,
    flips,
    plaintext,
    ...(unreached.length === 0 ? {} : { unreached }),
    ...(handshakes.length === 0 ? {} : { handshakes }),
  };
}

function pick<T>(values: ReadonlyMap<number, T>, id: unknown): T {
  const value = values.get(Number(id));
  if (value === undefined)
    throw new RangeError(`the state refers to row ${String(id)}, which it does not hold`);
  return value;
}
