import { describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../../access/index.ts';
import { batchOf, flipOf, markOf } from '../../contract.ts';
import type { LiveNews, LiveStore } from '../../live.ts';
import { databaseOf } from '../raw.test-helper.ts';
import { hasPostgres, newPostgresUrl } from '../server.test-helper.ts';
import { closeAfterEach, openStores } from '../stores.test-helper.ts';

closeAfterEach();

const news = (id: number): LiveNews => ({
  id: `00000000-0000-4000-8000-${String(id).padStart(12, '0')}`,
  data: { n: id },
});
const liveOf = async (url: string) => (await openStores(url)).live({ trustDomain: 'example.org' });

/** What was told, in its order. */
function heard(store: LiveStore) {
  const told: (readonly [number, unknown])[] = [];
  const wake: (() => void)[] = [];
  const tell = (seq: number, what: unknown) => {
    told.push([seq, what]);
    for (const each of wake.splice(0)) each();
  };
  store.follow?.({
    batch: async (seq, { data }) => tell(seq, data),
    missed: async (seq, { kept }) => tell(seq, `missed, ${kept.marks.length} marks`),
    fault: (error) => tell(0, error),
  });
  return {
    told,
    async until(count: number) {
      while (told.length < count) await new Promise<void>((resolve) => void wake.push(resolve));
    },
  };
}

describe.skipIf(!hasPostgres)('what replicas keep of live evidence', () => {
  test('is told to all of them, themselves as well, once and in one order, from where each has begun', async () => {
    const url = await newPostgresUrl();
    const [one, two] = [await liveOf(url), await liveOf(url)];
    const atOne = heard(one);
    const batch = (n: number) => batchOf({ marks: [markOf(n)], news: news(n) });
    for (let n = 1; n <= 3; n++) expect(await (n % 2 === 0 ? one : two).addLive(batch(n), [])).toEqual([]);
    // Kept before: nothing is told again.
    expect(await one.addLive({ ...batch(3), news: news(9) }, [])).toEqual([markOf(3)]);
    const late = await liveOf(url);
    expect(late.kept.marks).toMatchObject([{ sequence: 3 }]);
    const atLate = heard(late);
    await two.addLive(batch(4), []);
    await Promise.all([atOne.until(4), atLate.until(1)]);
    expect(atOne.told).toEqual([1, 2, 3, 4].map((n) => [n, { n }]));
    expect(atLate.told).toEqual([[4, { n: 4 }]]);
  });

  test('is read anew by one that was away for too long', async () => {
    const url = await newPostgresUrl();
    const one = await liveOf(url);
    for (let n = 1; n <= 3; n++) await one.addLive(batchOf({ marks: [markOf(n)], news: news(n) }), []);
    const db = await databaseOf(url);
    const two = await liveOf(url);
    await one.addLive(batchOf({ marks: [markOf(4)], news: news(4) }), []);
    await db.query('delete from live_batch where seq <= 4');
    await db.end();
    await one.addLive(batchOf({ marks: [markOf(5)], news: news(5) }), []);
    const atTwo = heard(two);
    await atTwo.until(1);
    expect(atTwo.told).toEqual([[5, 'missed, 1 marks']]);
    await one.addLive(batchOf({ marks: [markOf(6)], news: news(6) }), []);
    await atTwo.until(2);
    expect(atTwo.told[1]).toEqual([6, { n: 6 }]);
  });

  test('of a new target stays, though who gave it writes late', async () => {
    const url = await newPostgresUrl();
    const [one, two] = [await liveOf(url), await liveOf(url)];
    const { to } = flipOf(1);
    const of = (targetVersion: number) => ({ ...flipOf(1), targetVersion });
    await two.addLive(batchOf({ flips: [of(1), of(2)] }), []);
    const workload = parseSpiffeId(to);
    await one.addLive(batchOf({ settled: [workload], targets: new Map([[workload, 2]]) }), []);
    const { evidence } = await openStores(url);
    expect((await evidence.live()).flips.map(({ targetVersion }) => targetVersion)).toEqual([2]);
    await one.addLive(batchOf({ settled: [workload] }), []);
    expect((await evidence.live()).flips).toEqual([]);
  });
});
