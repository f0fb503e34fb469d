import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pathOf } from '../../src/api/index.ts';
import { lockOf } from '../../src/store/postgres/migrate.ts';
import { databaseOf } from '../../src/store/postgres/raw.test-helper.ts';
import { hasPostgres, startServer } from '../../src/store/postgres/server.test-helper.ts';
import { idOf } from '../enforcement/processes.ts';
import { eventually, noShop } from '../enforcement/shop.ts';
import { Opened } from '../identity/harness.ts';
import { CHANGES, isHonest, OutageEstate, READS, STAGED, type Staged } from './outage.test-helper.ts';
import type { Answered, UpPlane } from './up-plane.test-helper.ts';
import { Wire } from './wire.test-helper.ts';

/** How long the database is gone, milliseconds. */
const isWhole = process.env['INTERLOCK_WHOLE_OUTAGE'] !== undefined;
const OUTAGE_MS = isWhole ? 60_000 : 15_000;
/** No call may take longer to be answered, whatever it is about. */
const BOUND_MS = 30_000;

const opened = new Opened();
afterAll(() => opened.close());
const alone = noShop('the database gone in each stage of a promotion');
if (!isWhole)
  console.log(
    'The database is gone for 15 s instead of a minute: INTERLOCK_WHOLE_OUTAGE=1 makes it a minute (.ci/run does).',
  );

/** What payment is moved by. */
const MOVE = { to: 'canary', share: 1, anyway: 'a test' } as const;

/** A database that can be taken away, and how. */
interface Case {
  readonly name: string;
  readonly estate: OutageEstate;
  /** Without what takes it away in between. */
  readonly direct: string;
  readonly away: () => Promise<void>;
  readonly back: () => Promise<void>;
}

async function killedCase(): Promise<Case> {
  const server = await startServer(['fsync=off']);
  opened.later(() => server.stop());
  const url = server.url();
  return {
    name: 'killed',
    estate: await OutageEstate.start(opened, url),
    direct: url,
    away: () => server.kill('SIGQUIT'),
    back: () => server.start(),
  };
}

async function cutCase(): Promise<Case> {
  const server = await startServer(['fsync=off']);
  opened.later(() => server.stop());
  const direct = server.url();
  const wire = await Wire.to(direct);
  opened.later(() => wire.close());
  return {
    name: 'cut off',
    estate: await OutageEstate.start(opened, wire.url),
    direct,
    away: async () => wire.cut(),
    // What was held up on the way comes late: of nobody who still waits for it.
    back: async () => wire.mend(true),
  };
}

/** What was found while the database was away. */
interface Meanwhile {
  /** Number of the last entry of the audit log before. */
  readonly before: number;
  readonly unready: readonly Answered[];
  readonly alive: readonly Answered[];
  readonly reads: readonly (readonly [string, Answered])[];
  readonly changes: readonly (readonly [string, Answered])[];
  readonly pressed: readonly Answered[];
  readonly armed: Answered;
  readonly statuses: Readonly<Record<string, number>>;
  readonly leaders: number;
  /** The move that was under way. */
  readonly moved: Answered;
  readonly lateReads: readonly (readonly [string, Answered])[];
}

const NAMES = Object.keys(STAGED) as Staged[]; // Its keys are these.
const [asked, other] = [0, 1] as const;

/** Takes the database away while a workload is being moved, and asks everything of everybody. */
async function outage({ estate, direct, away, back }: Case): Promise<Meanwhile> {
  const { planes } = estate;
  const before = await estate.lastEntry(planes[asked]);
  // In the middle of a move: its commit is held up until the database is gone.
  const db = await databaseOf(direct);
  db.on('error', () => {});
  const lock = lockOf(new URL(direct).searchParams.get('schema') ?? '', 'commit');
  await db.query('select pg_advisory_lock($1)', [lock]);
  const path = pathOf('rollouts.move', { workload: idOf('payment') });
  const moving = planes[asked].ask('POST', path, MOVE);
  const waits = `select count(*)::int as n from pg_stat_activity where wait_event = 'advisory' and state = 'active'`;
  await eventually(async () => (await db.query(waits)).rows[0].n > 0, 'a commit that waits');
  await away();
  const over = pause(OUTAGE_MS);
  await db.end().catch(() => {});

  const each = <T>(of: (plane: UpPlane) => Promise<T>) => Promise.all(planes.map(of));
  const unready = await each((plane) =>
    eventually(async () => {
      const answer = await plane.health('/readyz');
      return answer.status === 503 && answer;
    }, 'it says that it is not ready'),
  );
  const alive = await each((plane) => plane.health('/healthz'));
  const sweep = async (paths: readonly string[]) =>
    (
      await each((plane) => Promise.all(paths.map(async (to) => [to, await plane.ask('GET', to)] as const)))
    ).flat();
  const changing = Promise.all(
    CHANGES.map(async ([method, to, body]) => [to, await planes[asked].ask(method, to, body)] as const),
  );
  const reads = await sweep(READS);
  const changes = await changing;
  const statuses: Record<string, number> = {};
  for (const name of ['catalogue', 'cart', 'store'] as const) statuses[name] = await estate.call(name);
  // The button, at the control plane to which the proxy is connected, and its end; then at the other one.
  const press = (plane: UpPlane) =>
    plane.ask('POST', '/v1/releases', {
      scope: { kind: 'workload', workload: idOf('store') },
      reason: 'the database is away',
    });
  const [own, another] = planes;
  const first = await press(own);
  await eventually(async () => (await estate.call('store')) === 200, 'it is released');
  // As the answer of that route has it; arming something else fails.
  const { id } = (first.body['release'] ?? { id: 'none' }) as { readonly id: string };
  const armed = await own.ask('POST', '/v1/releases/arm', { id });
  await eventually(async () => (await estate.call('store')) === 403, 'it is enforced again');
  const pressed = [first, await press(another)];
  statuses['store, released elsewhere'] = await estate.call('store');
  const moved = await moving;
  await over;
  const { body } = await planes[other].ask('GET', '/v1/replicas');
  const leaders = (body['replicas'] as { leads: boolean }[]).filter(({ leads }) => leads).length;
  const lateReads = await sweep(['/v1/workloads', '/v1/audit', '/v1/graph', '/v1/status']);
  await back();
  return { before, unready, alive, reads, changes, pressed, armed, statuses, leaders, moved, lateReads };
}

describe.skipIf(alone !== undefined || !hasPostgres)(
  'the database gone while workloads are being promoted',
  () => {
    const cases: Case[] = [];
    const found = new Map<string, Meanwhile>();
    let before: Map<string, number>;

    beforeAll(async () => {
      cases.push(...(await Promise.all([killedCase(), cutCase()])));
      before = new Map();
      for (const { name, estate } of cases)
        for (const { key, since } of await estate.pointsAt(estate.planes[asked]))
          before.set(`${name} ${key}`, since);
      // Side by side: it takes a minute.
      for (const [i, meanwhile] of (await Promise.all(cases.map(outage))).entries())
        found.set(cases[i]?.name ?? '', meanwhile);
    }, 400_000);

    describe.each(['killed', 'cut off'])('%s', (name) => {
      const of = () => ({
        meanwhile: found.get(name) as Meanwhile,
        estate: (cases.find((each) => each.name === name) as Case).estate,
      });

      test('each says that it is there and not ready, and that nobody leads', () => {
        const { unready, alive, leaders } = of().meanwhile;
        expect(alive.map(({ status }) => status)).toEqual([200, 200]);
        for (const { body } of unready) expect(body['checks']).toMatchObject({ authority: 'ok' });
        expect(leaders).toBe(0);
      });

      test('every read is answered, with what is known or with a code and when to come back', () => {
        const { reads, lateReads } = of().meanwhile;
        const all = [...reads, ...lateReads];
        expect(all.filter(([, answer]) => !isHonest(answer))).toEqual([]);
        expect(all.filter(([, { ms }]) => ms > BOUND_MS)).toEqual([]);
        const slowest = [...all, ...of().meanwhile.changes].reduce(
          (most, [, { ms }]) => Math.max(most, ms),
          0,
        );
        console.log(`While it was ${name} the slowest answer of all routes took ${Math.round(slowest)} ms.`);
        const known = reads.filter(([, { status }]) => status === 200).map(([path]) => path);
        for (const path of ['/v1/workloads', '/v1/rollouts', '/v1/points', '/v1/releases', '/v1/graph'])
          expect(known.filter((each) => each === path)).toHaveLength(2);
      });

      test('every change is refused, says so in time, and was not made', async () => {
        const { meanwhile, estate } = of();
        expect(meanwhile.changes.filter(([, answer]) => answer.status !== 503 || !isHonest(answer))).toEqual(
          [],
        );
        expect(meanwhile.changes.filter(([, { ms }]) => ms > BOUND_MS)).toEqual([]);
        for (const plane of estate.planes) {
          await eventually(
            async () => (await plane.health('/readyz')).status === 200,
            'it is ready again',
            () => plane.health('/readyz'),
          );
          expect(await estate.stageAt(plane, 'catalogue')).toBe('shadow');
          const acts = await estate.actsSince(plane, meanwhile.before);
          expect(acts.filter((act) => !['release', 'arm', 'rollout.canary'].includes(act))).toEqual([]);
        }
      });

      test('the button worked, is kept once, and is in force at both', async () => {
        const { meanwhile, estate } = of();
        expect(meanwhile.pressed.map(({ status }) => status)).toEqual([200, 200]);
        expect(meanwhile.armed.status).toBe(200);
        expect(meanwhile.statuses).toEqual({
          catalogue: 200,
          cart: 403,
          store: 403,
          'store, released elsewhere': 403,
        });
        const releases = async ({ api }: UpPlane) =>
          (await api.get<{ releases: { scope: { workload?: string } }[] }>('/v1/releases')).releases.map(
            ({ scope }) => scope.workload,
          );
        for (const plane of estate.planes)
          await eventually(
            async () => (await releases(plane)).join() === idOf('store'),
            'the release is known',
            () => releases(plane),
          );
        await eventually(async () => (await estate.call('store')) === 200, 'it has come to its proxy');
        await estate.planes[other].api.post('/v1/releases/arm', {});
        await eventually(async () => (await estate.call('store')) === 403, 'it is enforced again');
        for (const plane of estate.planes) {
          await eventually(async () => (await estate.audited(plane, 'arm')) === 2, 'both ends are audited');
          expect(await estate.audited(plane, 'release')).toBe(2);
        }
      });

      test('the move that was under way was made whole or not at all, and can be made again', async () => {
        const { meanwhile, estate } = of();
        expect(meanwhile.moved).toSatisfy(isHonest);
        expect(meanwhile.moved.ms).toBeLessThan(BOUND_MS);
        const [one, two] = estate.planes;
        const stages = () => Promise.all([one, two].map((plane) => estate.stageAt(plane, 'payment')));
        await eventually(async () => new Set(await stages()).size === 1, 'both know one stage', stages);
        const [stage = ''] = await stages();
        expect(await estate.audited(one, 'rollout.canary', 'payment')).toBe(stage === 'canary' ? 1 : 0);
        if (meanwhile.moved.status === 200) expect(stage).toBe('canary');
        const path = pathOf('rollouts.move', { workload: idOf('payment') });
        if (stage !== 'canary') await two.api.post(path, MOVE);
        await eventually(async () => (await estate.call('payment')) === 403, 'it is enforced');
        await eventually(
          async () => (await stages()).every((each) => each === 'canary'),
          'both know',
          stages,
        );
        expect(await estate.audited(one, 'rollout.canary', 'payment')).toBe(1);
        for (const plane of estate.planes) {
          for (const { stage: staged, ...rest } of NAMES.map((each) => ({ name: each, ...STAGED[each] })))
            if (rest.name !== 'payment') expect(await estate.stageAt(plane, rest.name)).toBe(staged);
          expect(await plane.api.get('/v1/audit/verify')).toEqual({ isWhole: true });
        }
      });

      test('one leads again, and both know each other', async () => {
        const { estate } = of();
        interface Row {
          readonly leads: boolean;
          readonly isReady: boolean;
          readonly id: string;
        }
        const leading = new Set<string>();
        for (const plane of estate.planes) {
          const rows = async () => (await plane.api.get<{ replicas: Row[] }>('/v1/replicas')).replicas;
          await eventually(
            async () => {
              const all = await rows();
              const leaders = all.filter(({ leads }) => leads);
              return all.length === 2 && all.every(({ isReady }) => isReady) && leaders.length === 1;
            },
            'two are ready and one leads',
            rows,
          );
          for (const { id, leads } of await rows()) if (leads) leading.add(id);
        }
        expect(leading.size).toBe(1);
      });

      test('nobody had to come back, no call has failed, and each was counted once', async () => {
        const { estate } = of();
        await estate.settled();
        for (const { key, since } of await estate.pointsAt(estate.planes[asked]))
          expect([key, since]).toEqual([key, before.get(`${name} ${key}`)]);
        const counts = await estate.web.rest();
        for (const each of NAMES) {
          expect(counts[each]).toMatchObject({ failed: 0, reasons: [] });
          for (const plane of estate.planes)
            await eventually(
              async () => (await estate.countedAt(plane, each)) === counts[each]?.ok,
              `${counts[each]?.ok} calls of ${each}`,
              () => estate.countedAt(plane, each),
            );
        }
        const all = NAMES.reduce((sum, each) => sum + (counts[each]?.ok ?? 0), 0);
        console.log(
          `${all} requests while the database was ${name} for ${OUTAGE_MS / 1000} s: none has failed, both count all.`,
        );
        for (const { log } of [...estate.proxies, estate.caller])
          expect(log.lines.filter(({ level }) => level === 'error')).toEqual([]);
      });
    });
  },
);
