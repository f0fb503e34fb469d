import { describe, expect, test } from 'vitest';
import { callsThatReached, HOUR_MS, Tally } from '../../../access/index.ts';
import { batchOf, describeStore, flipOf, markOf, plaintextOf, recordingOf, tallyOf } from '../../contract.ts';
import type { Store } from '../../store.ts';
import { databaseOf } from '../raw.test-helper.ts';
import { hasPostgres, newPostgresUrl } from '../server.test-helper.ts';
import { closeAfterEach, openStores } from '../stores.test-helper.ts';

closeAfterEach();

/** Two replicas on one database. */
async function replicas() {
  const url = await newPostgresUrl();
  const [one, two] = [await openStores(url), await openStores(url)];
  return { url, one: one.evidence, two: two.evidence };
}

/** A tally of accesses with these paths, in this order. */
function tallyOfPaths(paths: readonly number[], source = 'proxy'): Tally {
  const tally = new Tally(source);
  for (const path of paths)
    tally
      .access(
        { workload: `w${path % 7}` },
        { workload: `v${path % 5}` },
        { kind: 'http', port: 80, method: 'GET', path: `/${path}` },
        'callee',
      )
      .add(path * HOUR_MS, 'ok', `pod-${path}`);
  tally.read = tally.accepted = paths.length;
  return tally;
}

describe.skipIf(!hasPostgres)('on PostgreSQL', () => {
  describeStore('the PostgreSQL store', async () => {
    const url = await newPostgresUrl();
    const open = async () => (await openStores(url)).evidence;
    return { store: await open(), reopen: open };
  });

  test('of two replicas that keep the same report at once, one does', async () => {
    const { one, two } = await replicas();
    for (let sequence = 1; sequence <= 15; sequence++) {
      const batch = batchOf({
        marks: [markOf(sequence)],
        flips: [flipOf(1)],
        plaintext: [plaintextOf(1)],
      });
      const known = await Promise.all(
        [one, two].map((store) => store.addLive(batch, [tallyOf(1), tallyOfPaths([sequence])])),
      );
      expect(known.toSorted((a, b) => a.length - b.length)).toEqual([[], [markOf(sequence)]]);
    }
    const { flips, plaintext } = await one.live();
    expect(flips).toMatchObject([{ count: 15 }]);
    expect(plaintext).toMatchObject([{ connections: 15 }]);
    const [recording, other] = await two.recordings();
    expect([recording?.read, other?.read]).toEqual([15, 15]);
    const accesses = await two.accesses();
    expect(accesses.map(({ evidence }) => callsThatReached(evidence)).toSorted((a, b) => b - a)).toEqual([
      15,
      ...Array.from({ length: 15 }, () => 1),
    ]);
  });

  test('replicas that add to the same accesses in different orders never wait in a circle, and lose nothing', async () => {
    const url = await newPostgresUrl();
    const stores = [await openStores(url), await openStores(url)];
    const [one, two] = stores.map(({ evidence }) => evidence) as [Store, Store];
    const db = await databaseOf(url);
    const deadlocks = async () => {
      const sql = 'select deadlocks::int from pg_stat_database where datname = current_database()';
      return (await db.query(sql)).rows;
    };
    const before = await deadlocks();
    const paths = Array.from({ length: 200 }, (_, i) => i);
    const shuffled = (by: number) => paths.map((i) => (i * by) % 200);
    const work = [1, 3, 7, 9, 11, 13].map((by, i) =>
      (i % 2 === 0 ? one : two).addLive(
        batchOf({
          marks: [markOf(1, `e${by}`), markOf(1, `f${13 - by}`)],
          flips: shuffled(by).map((n) => flipOf(1, n, { action: { kind: 'tcp', port: n } })),
        }),
        [tallyOfPaths(shuffled(by)), tallyOfPaths(shuffled(by).toReversed(), 'envoy')],
      ),
    );
    work.push(...[17, 19].map((by, i) => addRecordingTo(i === 0 ? one : two, tallyOfPaths(shuffled(by)))));
    await Promise.all(work);
    const accesses = await one.accesses();
    expect(accesses).toHaveLength(200);
    // Six batches of two tallies, and two recordings.
    for (const { evidence } of accesses) expect(callsThatReached(evidence)).toBe(14);
    expect((await one.live()).flips.every(({ count }) => count === 6)).toBe(true);
    // A connection tells what it met when it ends.
    await Promise.all(stores.map((each) => each.close()));
    expect(await deadlocks()).toEqual(before);
    await db.end();
  });

  test('a file that two replicas read at once is taken in once', async () => {
    const { one, two } = await replicas();
    const recording = recordingOf('one.log');
    const taken = await Promise.all(
      [one, two, one, two].map((store) => store.addRecording(recording, tallyOf(1))),
    );
    expect(taken.filter(Boolean)).toHaveLength(1);
    expect((await one.accesses()).map(({ evidence }) => callsThatReached(evidence))).toEqual([1]);
  });

  test('names that no column and no index takes are kept as they are', async () => {
    const { one } = await replicas();
    const path = `/\0\ud800\\u0041${'ä'.repeat(20_000)}`;
    const tally = new Tally('envoy');
    const ends = [{ workload: `\\${path}` }, { host: path }] as const;
    tally
      .access(...ends, { kind: 'http', port: 1, method: 'GET', path }, 'caller')
      .add(1, 'ok', `\udfff${path}`);
    tally.blindSpot({ kind: 'sampled', from: ends[0], to: ends[1], what: path }, 1);
    tally.skip(path, 1, path);
    tally.lose(path, 2);
    tally.fact(`node ${path}`, { fact: 'node', name: path, ips: [] });
    const reporter = path;
    const batch = batchOf({
      marks: [{ reporter, epoch: path, sequence: 1 }],
      plaintext: [plaintextOf(1, path)],
    });
    expect(await one.addLive(batch, [tally])).toEqual([]);
    expect(await one.addLive(batch, [tally])).toEqual(batch.marks);
    const [access] = await one.accesses();
    expect(access).toMatchObject({ from: ends[0], to: ends[1], action: { path } });
    expect([...(access?.evidence.instances ?? [])]).toEqual([`\udfff${path}`]);
    expect(await one.blindSpots()).toMatchObject([{ what: path }]);
    expect(await one.facts()).toMatchObject([{ name: path }]);
    expect((await one.live()).plaintext).toMatchObject([{ from: path }]);
    expect(await one.recordings()).toMatchObject([{ skips: [{ reason: path }], lost: new Map([[path, 2]]) }]);
  });

  test('counters stop at the largest whole number, and the next batch is taken', async () => {
    const { one } = await replicas();
    const huge = () => tallyOf(Number.MAX_SAFE_INTEGER);
    for (let n = 1; n <= 2; n++) await one.addRecording(recordingOf('x'), huge());
    const flips = [flipOf(Number.MAX_SAFE_INTEGER)];
    for (let n = 1; n <= 2; n++) await one.addLive(batchOf({ marks: [markOf(n)], flips }), []);
    expect(await one.addLive(batchOf({ marks: [markOf(3)], flips }), [tallyOf(1)])).toEqual([]);
    expect((await one.accesses()).map(({ evidence }) => callsThatReached(evidence))).toEqual([
      Number.MAX_SAFE_INTEGER,
    ]);
    expect((await one.live()).flips).toMatchObject([{ count: Number.MAX_SAFE_INTEGER }]);
  });

  test('a row that refers to nothing is called damaged', async () => {
    const { url, one } = await replicas();
    await one.addRecording(recordingOf('x'), tallyOf(1));
    const db = await databaseOf(url);
    await db.query('delete from endpoint');
    await db.end();
    await expect(one.accesses()).rejects.toMatchObject({
      code: 'state',
      message: expect.stringContaining('damaged'),
    });
    expect(await one.recordings()).toHaveLength(1);
  });

  test('live evidence that one replica kept is there for the one that starts next, and both refuse a known report', async () => {
    const url = await newPostgresUrl();
    const [one, two] = [await openStores(url), await openStores(url)];
    const trustDomain = 'example.org';
    const first = await one.live({ trustDomain });
    expect([first.kept, first.seen]).toEqual([{ marks: [], flips: [], plaintext: [] }, []]);
    const batch = batchOf({ marks: [markOf(4)], flips: [flipOf(2)] });
    const [a, b] = ['a', 'b'].map((sa) => ({ spiffeId: `spiffe://example.org/ns/shop/sa/${sa}` }));
    const tally = new Tally('proxy');
    tally.access(a ?? {}, b ?? {}, { kind: 'tcp', port: 5432 }, 'callee').add(1e12, 'ok');
    expect(await first.addLive(batch, [tally])).toEqual([]);
    const second = await two.live({ trustDomain });
    expect(second.kept).toMatchObject({ marks: [markOf(4)], flips: [flipOf(2)] });
    expect(second.seen).toEqual([{ to: b?.spiffeId, from: a?.spiffeId, good: ['tcp 5432'], others: [] }]);
    expect(await second.addLive(batch, [tally])).toEqual([markOf(4)]);
    expect(await two.evidence.setting('trust-domain')).toBe(trustDomain);
    await first.close();
    await expect(first.addLive(batchOf(), [])).rejects.toMatchObject({ code: 'unavailable' });
  });
});

async function addRecordingTo(store: Parameters<typeof add>[0], tally: Tally): Promise<readonly never[]> {
  await add(store, tally);
  return [];
}

const add = (store: Awaited<ReturnType<typeof replicas>>['one'], tally: Tally) =>
  store.addRecording(recordingOf('x', 'proxy'), tally);
