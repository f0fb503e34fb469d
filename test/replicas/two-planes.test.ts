import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pathOf } from '../../src/api/index.ts';
import { readIdentityRules } from '../../src/identity/index.ts';
import { databaseOf } from '../../src/store/postgres/raw.test-helper.ts';
import { lockOf } from '../../src/store/postgres/migrate.ts';
import { hasPostgres, newPostgresUrl } from '../../src/store/postgres/server.test-helper.ts';
import { idOf, Program, type RunningProxy, startProxy } from '../enforcement/processes.ts';
import { eventually, noShop, policyOf, RULES, USERS } from '../enforcement/shop.ts';
import { Opened, tokenOf } from '../identity/harness.ts';
import { interlock } from '../identity/processes.ts';
import { newKeyFile } from './planes.test-helper.ts';
import { UpPlane } from './up-plane.test-helper.ts';

const opened = new Opened();
afterAll(() => opened.close());
const alone = noShop('two control planes that are killed in turn');

const ITEMS = '{ http: { methods: [GET], paths: [/items] } }';
const POLICY = policyOf('catalogue', { web: { from: ['web'], to: ITEMS } });
const workload = idOf('catalogue');

interface Point {
  readonly key: string;
  readonly connected: boolean;
  readonly applied: number;
  readonly wanted: number;
}
interface Progress {
  readonly confirmed: readonly { readonly key: string; readonly ms: number }[];
  readonly waiting: readonly { readonly key: string }[];
}

describe.skipIf(alone !== undefined || !hasPostgres)('two control planes that are killed in turn', () => {
  let url: string;
  let planes: readonly [UpPlane, UpPlane];
  let web: Program;
  let catalogue: RunningProxy;
  let caller: RunningProxy;

  beforeAll(async () => {
    url = await newPostgresUrl();
    const args = ['--database', url, '--key-file', newKeyFile(), '--trust-domain', 'example.org'];
    planes = [new UpPlane(opened, ...args), new UpPlane(opened, ...args)];
    await Promise.all(planes.map((plane) => plane.start()));
    const [{ api }] = planes;
    await api.post('/v1/rules', { rules: readIdentityRules(RULES) });
    const dir = opened.dir();
    const socket = join(dir, 'agent.sock');
    const addresses = planes.map(({ port }) => `127.0.0.1:${port}`);
    const agent = interlock(
      opened,
      'agent',
      '--server',
      addresses.join(),
      '--state',
      join(dir, 'agent'),
      '--socket',
      socket,
      '--join-token',
      await tokenOf(api, 'node-1'),
    );
    await agent.log.line('connected to the control plane');
    const endpoint = `unix://${socket}`;
    const { port } = await Program.start(opened, USERS.catalogue, 'http');
    const inbound = [{ listen: '127.0.0.1:0', forward: `127.0.0.1:${port}`, port: 8080 }];
    const uid = USERS.catalogue;
    const [first, second] = addresses;
    // Each begins at another one.
    const address = `${first},${second}`;
    catalogue = await startProxy(opened, { name: 'catalogue', uid, endpoint, address, inbound });
    const to = `127.0.0.1:${catalogue.inbound[0]}`;
    const outbound = [{ listen: '127.0.0.1:0', to, peer: workload }];
    const order = { name: 'web', uid: USERS.web, endpoint, address: `${second},${first}`, outbound };
    caller = await startProxy(opened, order);
    web = (await Program.start(opened, USERS.web, 'none')).program;
    web.tell({ load: [{ name: 'items', port: caller.outbound[0] ?? 0, method: 'GET', path: '/items' }] });
    await eventually(async () => ((await web.counts())['items']?.ok ?? 0) > 0, 'a call');
  }, 180_000);

  const ask = async (path: string) => (await fetch(`http://127.0.0.1:${caller.outbound[0]}${path}`)).status;
  const pointsAt = async ({ api }: UpPlane) => (await api.get<{ points: Point[] }>('/v1/points')).points;
  /** Both proxies are somewhere, have the newest state, and a control plane knows it. */
  const settledAt = (plane: UpPlane) =>
    eventually(
      async () => {
        const points = await pointsAt(plane);
        const isThere = ({ connected, applied, wanted }: Point) => connected && applied >= wanted;
        return points.length === 2 && points.every(isThere);
      },
      'both proxies have the newest state',
      () => pointsAt(plane),
    );
  const stageAt = async ({ api }: UpPlane) =>
    (await api.get<{ rollouts: { stage: string }[] }>('/v1/rollouts')).rollouts[0]?.stage;
  const releasesAt = async ({ api }: UpPlane) =>
    (await api.get<{ releases: object[] }>('/v1/releases')).releases.length;
  const auditAt = async ({ api }: UpPlane, act: string) =>
    (await api.get<{ entries: { act: string }[] }>('/v1/audit', { limit: '1000' })).entries.filter(
      (entry) => entry.act === act,
    ).length;

  const move = (to: string, share?: number) => ({
    path: pathOf('rollouts.move', { workload }),
    body: { to, anyway: 'a test', ...(share === undefined ? {} : { share }) },
  });
  const CHANGES = [
    { act: 'policy.apply', path: '/v1/policies', body: { yaml: POLICY }, stage: 'draft', closed: 200 },
    { act: 'rollout.shadow', ...move('shadow'), stage: 'shadow', closed: 200 },
    { act: 'rollout.canary', ...move('canary', 1), stage: 'canary', closed: 403 },
    { act: 'rollout.enforced', ...move('enforced'), stage: 'enforced', closed: 403 },
  ] as const;

  test.each(CHANGES.map((change, i) => ({ ...change, i })))(
    '$act: the one that is asked is killed before the commit, after it, and while proxies confirm',
    async ({ act, path, body, stage, closed, i }) => {
      const [first, second] = i % 2 === 0 ? planes : ([planes[1], planes[0]] as const);
      const before = await stageAt(second);
      // In front of the commit: it is held up there until the one that makes it is gone.
      const db = await databaseOf(url);
      const lock = lockOf(new URL(url).searchParams.get('schema') ?? '', 'commit');
      await db.query('select pg_advisory_lock($1)', [lock]);
      const lost = first.api.post(path, body).catch(() => 'lost');
      const waits = `select count(*)::int as n from pg_stat_activity where wait_event = 'advisory' and state = 'active'`;
      await eventually(async () => (await db.query(waits)).rows[0].n > 0, 'a commit that waits');
      await first.kill();
      await db.query('select pg_advisory_unlock($1)', [lock]);
      await db.end();
      expect(await lost).toBe('lost');
      await settledAt(second);
      expect(await stageAt(second)).toBe(before);
      // After the commit: at once by turns, and once the other one knows what to wait for.
      await first.start();
      const { change } = await first.api.post<{ change: string }>(path, body);
      const progress = () =>
        second.api.get<Progress>(pathOf('changes.get', { id: change })).catch(() => undefined);
      if (i % 2 === 1) await eventually(progress, 'the other one follows the change');
      await first.kill();
      await eventually(async () => (await stageAt(second)) === stage, `${stage} at the other one`);
      await settledAt(second);
      // Whoever is asked for the change names the proxy that it concerns, wherever that is now.
      if (i % 2 === 1)
        await eventually(
          async () => (await progress())?.confirmed.length === 1,
          'its proxy has it',
          progress,
        );
      await first.start();
      await Promise.all(
        planes.map((plane) => eventually(async () => (await stageAt(plane)) === stage, stage)),
      );
      expect(await auditAt(first, act)).toBe(1);
      expect(await ask(`/closed-${i}`)).toBe(closed);
    },
    180_000,
  );

  test('the button, pressed at one that is killed at once, is in force at the other one', async () => {
    const [first, second] = planes;
    await settledAt(second);
    await first.api.post('/v1/releases', { scope: { kind: 'all' }, reason: 'a try' });
    await first.kill();
    // Kept in its file, if it came no further.
    await first.start();
    await eventually(async () => (await releasesAt(second)) === 1, 'the release at the other one');
    await eventually(async () => (await ask('/released')) === 200, 'nothing is denied');
    await second.api.post('/v1/releases/arm', {});
    await second.kill();
    await second.start();
    await eventually(async () => (await releasesAt(first)) === 0, 'nothing is released');
    await eventually(async () => (await ask('/armed')) === 403, 'it is denied again');
    expect(await releasesAt(second)).toBe(0);
    expect([await auditAt(first, 'release'), await auditAt(first, 'arm')]).toEqual([1, 1]);
    for (const { api } of planes) expect(await api.get('/v1/audit/verify')).toEqual({ isWhole: true });
  }, 180_000);

  test('and whoever the rules allow has not noticed, and every call was counted once', async () => {
    const { items } = await web.rest();
    expect(items).toMatchObject({ failed: 0, reasons: [] });
    const counted = async ({ api }: UpPlane) => {
      const { accesses } = await api.call('accesses.list', { query: { to: workload } });
      return accesses
        .filter(({ action }) => action.kind === 'http' && action.path === '/items')
        .reduce((sum, { outcomes }) => sum + outcomes.ok, 0);
    };
    for (const plane of planes)
      await eventually(
        async () => (await counted(plane)) === items?.ok,
        `${items?.ok} calls`,
        () => counted(plane),
      );
    console.log(
      `${items?.ok} requests while two control planes were killed in turn, none of which has failed; both count them all.`,
    );
    for (const { log } of [catalogue, caller])
      expect(log.lines.filter(({ level }) => level === 'error')).toEqual([]);
  }, 120_000);
});
