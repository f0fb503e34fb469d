import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Received } from '../../src/api/index.ts';
import { apiApp } from '../../src/server/api/app.ts';
import { testApi, VIEWER } from '../../src/server/api/testing.test-helper.ts';
import { Metrics } from '../../src/server/telemetry/metrics.ts';
import { hasPostgres, newPostgresUrl } from '../../src/store/postgres/server.test-helper.ts';
import { newKeyFile, SharedPlane } from './planes.test-helper.ts';
import { EventsOf } from './proxies.test-helper.ts';

type Listed = Received<'replicas.list'>;

async function listed({ serving }: Pick<SharedPlane, 'serving'>): Promise<Listed> {
  const app = apiApp(serving.api, () => VIEWER, { checkAnswers: true });
  const answer = await app.request('/v1/replicas');
  expect(answer.status).toBe(200);
  return (await answer.json()) as Listed;
}

/** What a scrape says of the replicas. */
async function measured({ serving }: SharedPlane): Promise<string[]> {
  const metrics = new Metrics();
  const stop = metrics.follow(serving.api);
  const text = await metrics.registry.metrics();
  stop();
  return text.split('\n').filter((line) => /^interlock_(leader|replicas)/.test(line));
}

test('a control plane without a database is the only one, and leads', async () => {
  const api = await testApi();
  const answer = await api.ask(VIEWER, 'GET', '/v1/replicas');
  const { isShared, replicas } = (await answer.json()) as Listed;
  expect([isShared, replicas.length]).toEqual([false, 1]);
  expect(replicas[0]).toMatchObject({
    isThis: true,
    leads: true,
    leadsSince: expect.any(Number),
    isReady: true,
    isSilent: false,
    version: 'test',
    addresses: { agents: `127.0.0.1:${api.serving.port}` },
    checks: { store: 'ok', authority: 'ok', evidence: 'ok' },
  });
  await api.close();
});

describe.skipIf(!hasPostgres)('the list of control planes of one database', () => {
  let planes: SharedPlane[];

  beforeAll(async () => {
    const options = { url: await newPostgresUrl(), keyFile: newKeyFile() };
    const first = await SharedPlane.start(options);
    planes = [first, await SharedPlane.start(options), await SharedPlane.start(options)];
  }, 60_000);

  afterAll(async () => {
    await Promise.all(planes.map((plane) => plane.close()));
  }, 30_000);

  /** Resolves when one of them lists what is wanted: its events say when to look again. */
  async function listedUntil(plane: SharedPlane, fits: (list: Listed) => boolean): Promise<Listed> {
    const events = new EventsOf(plane);
    for (;;) {
      const list = await listed(plane);
      if (fits(list)) {
        events.close();
        return list;
      }
      await events.next('replica');
    }
  }

  const leaders = ({ replicas }: Listed) => replicas.filter(({ leads }) => leads).map(({ id }) => id);
  const idOf = ({ plane }: SharedPlane) => plane.replicas.id;

  test('is the same at each of them: one leads, and all are ready', async () => {
    const isWhole = (list: Listed) =>
      list.replicas.length === 3 &&
      list.replicas.every(({ isReady, addresses }) => isReady && addresses !== undefined) &&
      leaders(list).length === 1;
    const lists = await Promise.all(planes.map((plane) => listedUntil(plane, isWhole)));
    const [one] = lists;
    for (const [i, list] of lists.entries()) {
      expect(list.isShared).toBe(true);
      expect(leaders(list)).toEqual(leaders(one as Listed));
      expect(list.replicas.filter(({ isThis }) => isThis).map(({ id }) => id)).toEqual([
        idOf(planes[i] as SharedPlane),
      ]);
      expect(list.replicas.map(({ id, addresses }) => [id, addresses?.agents])).toEqual(
        planes.map((plane) => [idOf(plane), `127.0.0.1:${plane.server.port}`]),
      );
    }
    expect(leaders(one as Listed)).toEqual(planes.filter(({ isLeader }) => isLeader).map(idOf));
    for (const plane of planes)
      expect(await measured(plane)).toEqual([
        `interlock_leader ${plane.isLeader ? 1 : 0}`,
        'interlock_replicas{state="ready"} 3',
        'interlock_replicas{state="not ready"} 0',
        'interlock_replicas{state="silent"} 0',
      ]);
  });

  test('says who leads when the leader has gone, and that it is not there any more', async () => {
    const leader = planes.find(({ isLeader }) => isLeader) as SharedPlane;
    const gone = idOf(leader);
    await leader.close();
    planes = planes.filter((plane) => plane !== leader);
    const lists = await Promise.all(
      planes.map((plane) =>
        listedUntil(plane, (list) => list.replicas.length === 2 && leaders(list).length === 1),
      ),
    );
    const led = lists.map(leaders);
    expect(led[0]).toEqual(led[1]);
    expect(led[0]).not.toEqual([gone]);
    expect(planes.filter(({ isLeader }) => isLeader).map(idOf)).toEqual(led[0]);
  }, 60_000);
});
