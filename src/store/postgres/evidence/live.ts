import type { Tally } from '../../../access/index.ts';
import {
  flipKey,
  type LiveBatch,
  MARK_MS,
  plaintextKey,
  type ReportMark,
  unreachedKey,
  handshakeKey,
  type WorkloadCoverage,
} from '../../live.ts';
import { all, type Session } from '../session.ts';
import { digestOf, JsonValue, MAX_COUNT } from '../values.ts';
import { Content } from './content.ts';
import type { Ids, Interner } from './interner.ts';
import { addToDay } from './recordings.ts';

const DAY_MS = 86_400_000;
/** Epochs of one reporter that are remembered: a proxy of ours makes a new one when it starts. */
const MAX_EPOCHS = 32;

/**
 * Batches that are remembered for replicas that were away, and how often the older ones are forgotten. Some megabytes each at
 * the most: who was away for longer reads what is kept.
 */
const REMEMBERED_BATCHES = 256;
const PRUNE_EVERY = 16;

/** Undoes a batch in which a mark was kept before. */
export class KnownMarks extends Error {
  readonly marks: readonly ReportMark[];

  constructor(marks: readonly ReportMark[]) {
    super('reports that were kept before');
    this.marks = marks;
  }
}

/** Adds a batch inside a transaction. `lock` is held while flips and plaintext callers are written, `channel` told. Throws {@link KnownMarks}. */
export async function writeLive(
  session: Session,
  batch: LiveBatch,
  tallies: readonly Tally[],
  interner: Interner,
  lock: string,
  channel: string,
): Promise<{ endpoints: Ids; actions: Ids }> {
  await takeMarks(session, batch);
  const ids = await new Content(tallies).write(session, interner);
  await writeCoverage(session, batch.coverage, batch.at);
  await writeSightings(session, batch, lock);
  // By source, and last: all replicas add to one row for each source and day.
  for (const tally of tallies.toSorted((a, b) => (a.source < b.source ? -1 : a.source > b.source ? 1 : 0)))
    await addToDay(session, tally, batch.at);
  await tellBatch(session, batch, channel);
  return ids;
}

// The row of `live_head` is locked from here to the commit: numbers are in the order of the commits.
const NUMBER_BATCH = 'update live_head set seq = seq + 1 returning seq';
const TELL_BATCH = 'insert into live_batch (seq, id, news) select seq, $1, $2 from live_head';

/** A batch of which nobody told anything leaves a gap: whoever follows then reads everything anew. */
async function tellBatch(session: Session, { news }: LiveBatch, channel: string): Promise<void> {
  const [row] = await all<unknown>([
    session.row(NUMBER_BATCH),
    ...(news === undefined ? [] : [session.changes(TELL_BATCH, news.id, new JsonValue(news.data))]),
    session.rows(`select pg_notify($1, '')`, channel),
  ]);
  const [seq] = row as [number];
  if (seq % PRUNE_EVERY === 0)
    await session.changes('delete from live_batch where seq <= $1', seq - REMEMBERED_BATCHES);
}

const ADD_MARKS = `insert into live_mark (digest, reporter_digest, reporter, epoch, sequence, at)
  select digest, reporter_digest, reporter, epoch, 0, $5 from unnest($1::bytea[], $2::bytea[], $3::text[], $4::text[]) as given (digest, reporter_digest, reporter, epoch)
  on conflict do nothing`;
const LOCK_MARKS =
  'select digest, sequence from live_mark where digest = any($1::bytea[]) order by digest for update';
const SET_MARKS = `update live_mark set sequence = given.sequence, at = $3
  from unnest($1::bytea[], $2::bigint[]) as given (digest, sequence) where live_mark.digest = given.digest`;
// What another one is writing at this moment is not old.
const FORGET_OLD =
  'delete from live_mark where digest in (select digest from live_mark where at < $1 for update skip locked)';
const FORGET_CROWD = `delete from live_mark where digest in
  (select digest from live_mark where reporter_digest = $1 order by at desc, sequence desc offset ${MAX_EPOCHS} for update skip locked)`;

/** Of two replicas that take the same mark at once, the second waits here for the first, and then finds it kept. */
async function takeMarks(session: Session, { marks, at }: LiveBatch): Promise<void> {
  if (marks.length === 0) return;
  const digestOfMark = ({ reporter, epoch }: ReportMark) => digestOf(JSON.stringify([reporter, epoch]));
  const highest = new Map<string, { mark: ReportMark; digest: Buffer; reporter: Buffer }>();
  for (const mark of marks) {
    const digest = digestOfMark(mark);
    const known = highest.get(digest.toString('hex'));
    if (known !== undefined && known.mark.sequence >= mark.sequence) continue;
    highest.set(digest.toString('hex'), { mark, digest, reporter: digestOf(JSON.stringify(mark.reporter)) });
  }
  const rows = [...highest.values()].toSorted((a, b) => Buffer.compare(a.digest, b.digest));
  const digests = rows.map(({ digest }) => digest);
  const [, found] = await all<unknown>([
    session.changes(
      ADD_MARKS,
      digests,
      rows.map(({ reporter }) => reporter),
      rows.map(({ mark }) => mark.reporter),
      rows.map(({ mark }) => mark.epoch),
      at,
    ),
    session.rows(LOCK_MARKS, digests),
  ]);
  // The second answer: rows of a digest and a number.
  const kept = new Map((found as [Buffer, number][]).map(([digest, n]) => [digest.toString('hex'), n]));
  const known = marks.filter((mark) => mark.sequence <= (kept.get(digestOfMark(mark).toString('hex')) ?? 0));
  if (known.length > 0) throw new KnownMarks(known);
  await all([
    session.changes(
      SET_MARKS,
      digests,
      rows.map(({ mark }) => mark.sequence),
      at,
    ),
    session.changes(FORGET_OLD, at - MARK_MS),
    ...[...new Set(rows.map(({ reporter }) => reporter.toString('hex')))].map((reporter) =>
      session.changes(FORGET_CROWD, Buffer.from(reporter, 'hex')),
    ),
  ]);
}

const ADD_COVERAGE = `insert into live_coverage (workload, source, day, hours, events, lost)
  select * from unnest($1::text[], $2::text[], $3::bigint[], $4::integer[], $5::bigint[], $6::bigint[])
  on conflict (workload, source, day) do update set hours = live_coverage.hours | excluded.hours,
    events = least(live_coverage.events + excluded.events, ${MAX_COUNT}), lost = least(live_coverage.lost + excluded.lost, ${MAX_COUNT})`;

async function writeCoverage(
  session: Session,
  coverage: readonly WorkloadCoverage[],
  at: number,
): Promise<void> {
  if (coverage.length === 0) return;
  const days = new Map<
    string,
    { workload: string; source: string; day: number; hours: number; events: number; lost: number }
  >();
  const add = (workload: string, source: string, day: number, hours: number, events = 0, lost = 0) => {
    const key = `${workload}\n${source}\n${day}`;
    const known = days.get(key) ?? { workload, source, day, hours: 0, events: 0, lost: 0 };
    days.set(key, {
      ...known,
      hours: known.hours | hours,
      events: Math.min(known.events + events, MAX_COUNT),
      lost: Math.min(known.lost + lost, MAX_COUNT),
    });
  };
  for (const { workload, source, hours, events, lost } of coverage) {
    // The counts stand with the day on which they came.
    add(workload, source, Math.floor(at / DAY_MS), 0, events, lost);
    for (const hour of hours)
      add(workload, source, Math.floor(hour / 24), 1 << (hour - Math.floor(hour / 24) * 24));
  }
  const rows = [...days].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
  await session.changes(
    ADD_COVERAGE,
    rows.map(({ workload }) => workload),
    rows.map(({ source }) => source),
    rows.map(({ day }) => day),
    rows.map(({ hours }) => hours),
    rows.map(({ events }) => events),
    rows.map(({ lost }) => lost),
  );
}

const ADD_SIGHTINGS = `insert into live_sighting (digest, kind, callee, data, count, first_seen, last_seen)
  select * from unnest($1::bytea[], $2::text[], $3::text[], $4::json[], $5::bigint[], $6::float8[], $7::float8[])
  on conflict (digest) do update set
    data = case when excluded.last_seen >= live_sighting.last_seen then excluded.data else live_sighting.data end,
    count = least(live_sighting.count + excluded.count, ${MAX_COUNT}),
    first_seen = least(live_sighting.first_seen, excluded.first_seen), last_seen = greatest(live_sighting.last_seen, excluded.last_seen)`;

interface Sighting {
  readonly kind: 'flip' | 'plaintext' | 'unreached' | 'handshake';
  readonly callee: string;
  readonly data: object;
  readonly count: number;
  readonly firstSeen: number;
  readonly lastSeen: number;
}

/** What another replica has kept of the new target by now stays. */
const SETTLE = `delete from live_sighting using unnest($1::text[], $2::bigint[]) as given (callee, target)
  where kind = 'flip' and live_sighting.callee = given.callee
    and (given.target is null or (data ->> 'targetVersion')::numeric is distinct from given.target)`;

const digestOfKey = (key: string) => digestOf(JSON.stringify(key));

/** What is settled is named by its workload, so rows cannot be locked by their keys: one replica at a time. */
async function writeSightings(session: Session, batch: LiveBatch, lock: string): Promise<void> {
  const rows = sightingsOf(batch);
  const { settled, forgotten } = batch;
  if (rows.length + settled.length + forgotten.length === 0) return;
  await all<unknown>([
    session.rows('select pg_advisory_xact_lock($1)', lock),
    ...(settled.length === 0
      ? []
      : [
          session.changes(
            SETTLE,
            settled,
            settled.map((workload) => batch.targets?.get(workload) ?? null),
          ),
        ]),
    ...(forgotten.length === 0
      ? []
      : [
          session.changes(
            'delete from live_sighting where digest = any($1::bytea[])',
            forgotten.map(digestOfKey),
          ),
        ]),
    ...(rows.length === 0
      ? []
      : [
          session.changes(
            ADD_SIGHTINGS,
            rows.map(([digest]) => digest),
            rows.map(([, { kind }]) => kind),
            rows.map(([, { callee }]) => callee),
            rows.map(([, { data }]) => new JsonValue(data)),
            rows.map(([, { count }]) => Math.min(count, MAX_COUNT)),
            rows.map(([, { firstSeen }]) => firstSeen),
            rows.map(([, { lastSeen }]) => lastSeen),
          ),
        ]),
  ]);
}

function sightingsOf({ flips, plaintext, unreached = [], handshakes = [] }: LiveBatch): [Buffer, Sighting][] {
  const sums = new Map<string, Sighting>();
  const add = (key: string, sighting: Sighting) => {
    const known = sums.get(key);
    sums.set(key, {
      // What is said beside the key is that of the last one.
      ...(known !== undefined && known.lastSeen > sighting.lastSeen ? known : sighting),
      count: sighting.count + (known?.count ?? 0),
      firstSeen: Math.min(sighting.firstSeen, known?.firstSeen ?? sighting.firstSeen),
      lastSeen: Math.max(sighting.lastSeen, known?.lastSeen ?? sighting.lastSeen),
    });
  };
  for (const flip of flips) {
    const { count, firstSeen, lastSeen, ...data } = flip;
    add(flipKey(flip), { kind: 'flip', callee: flip.to, data, count, firstSeen, lastSeen });
  }
  for (const calls of unreached) {
    const { count, firstSeen, lastSeen, ...data } = calls;
    add(unreachedKey(calls), { kind: 'unreached', callee: calls.from, data, count, firstSeen, lastSeen });
  }
  for (const seen of handshakes) {
    const { count, firstSeen, lastSeen, ...data } = seen;
    add(handshakeKey(seen), { kind: 'handshake', callee: seen.to, data, count, firstSeen, lastSeen });
  }
  for (const caller of plaintext) {
    const { connections, firstSeen, lastSeen, ...data } = caller;
    add(plaintextKey(caller), {
      kind: 'plaintext',
      callee: caller.to,
      data,
      count: connections,
      firstSeen,
      lastSeen,
    });
  }
  return Array.from(sums, ([key, sum]): [Buffer, Sighting] => [digestOfKey(key), sum]).toSorted(([a], [b]) =>
    Buffer.compare(a, b),
  );
}
