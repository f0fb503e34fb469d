import type { Skip, Tally } from '../../../access/index.ts';
import type { NewRecording } from '../../store.ts';
import { all, type Session } from '../session.ts';
import { digestOf, JsonValue } from '../values.ts';
import { endpointText } from './content.ts';
import { type Ids, idIn } from './interner.ts';

const DAY_MS = 86_400_000;

const ADD = `insert into recording (format, taken_at, read, accepted, first_seen, last_seen) values ($1, $2, $3, $4, $5, $6)
  returning id`;
const ADD_FILES = `insert into file (digest, recording, position, name, bytes)
  select digest, $1, position, name, bytes from unnest($2::text[], $3::integer[], $4::text[], $5::bigint[]) as given (digest, position, name, bytes)
  on conflict do nothing`;

/** Writes the row of a recording and its files. Undefined, and to be rolled back, where one of the files is known. */
export async function writeRecording(
  session: Session,
  recording: NewRecording,
  tally: Tally,
): Promise<number | undefined> {
  const { format, takenAt } = recording;
  const { read, accepted, firstSeen, lastSeen } = tally;
  const row = await session.row(ADD, format, takenAt, read, accepted, firstSeen, lastSeen);
  const id = Number(row?.[0]);
  const files = recording.files
    .map((file, position) => ({ ...file, position }))
    .toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
  const added = await session.changes(
    ADD_FILES,
    id,
    files.map(({ digest }) => digest),
    files.map(({ position }) => position),
    files.map(({ name }) => name),
    files.map(({ bytes }) => bytes),
  );
  if (added < files.length) return undefined;
  await writeCounters(session, id, [...tally.skips()], tally.lost);
  return id;
}

/** Notes whom a recording names, and in which hours it recorded anything: it concerns nobody else. */
export async function writeCoverage(
  session: Session,
  id: number,
  tally: Tally,
  endpoints: Ids,
): Promise<void> {
  const [callees, others, hours] = [new Set<number>(), new Set<number>(), new Set<number>()];
  for (const { from, to, evidence } of tally.accesses()) {
    callees.add(idIn(endpoints, endpointText(to)));
    others.add(idIn(endpoints, endpointText(from)));
    for (const key of evidence.counts.keys()) hours.add(key >> 2);
  }
  for (const spot of tally.blindSpots())
    for (const end of [spot.from, spot.to]) others.add(idIn(endpoints, endpointText(end)));
  const lists = [callees, others, hours].map((set) => [...set].toSorted((a, b) => a - b));
  await session.changes(
    'update recording set callees = $2, others = $3, hours = $4 where id = $1',
    id,
    ...lists,
  );
}

export function writeCarry(session: Session, format: string, carry: unknown): Promise<number> {
  return session.changes(
    'insert into carry (format, data) values ($1, $2) on conflict (format) do update set data = excluded.data',
    format,
    new JsonValue(carry),
  );
}

/**
 * Adds the summary of a tally to the recording of its source and day, which the first one of the day makes. Comes last in
 * a transaction: everybody adds to the same row.
 */
export async function addToDay(session: Session, tally: Tally, at: number): Promise<void> {
  const { source, read, accepted, firstSeen, lastSeen } = tally;
  const day = Math.floor(at / DAY_MS);
  // The row of `recording` first: the other one refers to it.
  let row = await session.row(
    'select recording from live_recording where source = $1 and day = $2',
    source,
    day,
  );
  if (row === undefined) {
    const made = await session.row(ADD, source, at, 0, 0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY);
    row = await session.row(
      'insert into live_recording (source, day, recording) values ($1, $2, $3) on conflict do nothing returning recording',
      source,
      day,
      Number(made?.[0]),
    );
    if (row === undefined) {
      // Another replica was first, and is committed: its row is the day's, and ours is none.
      const [, theirs] = await all<unknown>([
        session.changes('delete from recording where id = $1', Number(made?.[0])),
        session.row('select recording from live_recording where source = $1 and day = $2', source, day),
      ]);
      row = theirs as [number];
    }
  }
  const id = Number(row[0]);
  await session.changes(
    `update recording set read = read + $2, accepted = accepted + $3, first_seen = least(first_seen, $4),
       last_seen = greatest(last_seen, $5) where id = $1`,
    id,
    read,
    accepted,
    firstSeen,
    lastSeen,
  );
  await writeCounters(session, id, [...tally.skips()], tally.lost);
}

const ADD_SKIPS = `insert into recording_skip (recording, reason_digest, reason, count, first_line, sample)
  select $1, * from unnest($2::bytea[], $3::text[], $4::bigint[], $5::bigint[], $6::text[])
  on conflict (recording, reason_digest) do update set count = recording_skip.count + excluded.count`;
const ADD_LOST = `insert into recording_lost (recording, who_digest, who, n)
  select $1, * from unnest($2::bytea[], $3::text[], $4::bigint[])
  on conflict (recording, who_digest) do update set n = recording_lost.n + excluded.n`;

/** The recording's own row is locked, so nobody else adds to these: they keep the order in which they came. */
async function writeCounters(
  session: Session,
  id: number,
  skips: readonly Skip[],
  lost: ReadonlyMap<string, number>,
): Promise<void> {
  const digests = (texts: readonly string[]) => texts.map((text) => digestOf(JSON.stringify(text)));
  const reasons = skips.map(({ reason }) => reason);
  const who = [...lost.keys()];
  const sent: Promise<number>[] = [];
  if (skips.length > 0)
    sent.push(
      session.changes(
        ADD_SKIPS,
        id,
        digests(reasons),
        reasons,
        skips.map(({ count }) => count),
        skips.map(({ firstLine }) => firstLine),
        skips.map(({ sample }) => sample),
      ),
    );
  if (who.length > 0) sent.push(session.changes(ADD_LOST, id, digests(who), who, [...lost.values()]));
  await all(sent);
}
