import type { Stage } from '../../src/policy/index.ts';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { initialise, realTimers } from '../../src/server/index.ts';
import { DOMAIN, Opened, Plane, type PlaneOptions, socketOf } from '../identity/harness.ts';
import { controlPlane } from '../identity/processes.ts';
import { noSmallDisks, SmallDisk } from '../identity/tmpfs.ts';
import { idOf, interlock, Program, type Running, type RunningProxy, startProxy } from './processes.ts';
import { command, eventually, type FlipShown, noShop, policyOf, RULES, USERS } from './shop.ts';

const opened = new Opened();
afterAll(() => opened.close());
const alone = noShop('proxies whose agent, control plane or store is gone');
const probe = new Opened();
afterAll(() => probe.close());
const diskless = noSmallDisks(probe);
if (diskless !== undefined) console.log(`Left out: a full disk: ${diskless}.`);

const POLICY = policyOf('catalogue', {
  web: { from: ['web'], to: '{ http: { methods: [GET], paths: [/items] } }' },
});
const workload = idOf('catalogue');

/** What a proxy's own socket says of it. */
interface Status {
  readonly stateVersion: number;
  readonly online: boolean;
  readonly spooled: number;
}

describe.skipIf(alone !== undefined)('one service that is enforced, and one that calls it', () => {
  let plane: Plane;
  let agent: Running;
  let startAgent: (...more: string[]) => Promise<Running>;
  let program: Program;
  let catalogue: RunningProxy;
  let caller: RunningProxy;

  const ask = async (path: string) =>
    (await fetch(`http://127.0.0.1:${caller.outbound[0]}${path}`, { signal: AbortSignal.timeout(20_000) }))
      .status;
  const move = (to: Stage, share?: number) =>
    plane.api.call('rollouts.move', { params: { workload }, body: { to, share, anyway: 'a test' } });
  const statusOf = ({ socketPath }: RunningProxy) =>
    new Promise<Status>((resolve, reject) => {
      request({ socketPath, path: '/v1/state' }, (response) => {
        let text = '';
        response.on('data', (bytes: Buffer) => (text += String(bytes)));
        response.on('end', () => resolve(JSON.parse(text) as Status));
      })
        .on('error', reject)
        .end();
    });
  /** Whether a report that names the path has been written whole: a draft has another name. */
  const isOnDisk = ({ state }: RunningProxy, path: string) =>
    readdirSync(join(state, 'spool')).some(
      (name) => name.endsWith('.report') && readFileSync(join(state, 'spool', name)).includes(path),
    );
  const flips = async () =>
    (await plane.api.get<{ flips: FlipShown[] }>('/v1/flips', { to: workload })).flips;

  /** Refusals of a path that have arrived. */
  const flipsAt = async (path: string) =>
    (await flips())
      .filter(({ action, refused }) => refused && action.path === path)
      .reduce((sum, { count }) => sum + count, 0);

  async function set(options: PlaneOptions = {}): Promise<void> {
    plane = await Plane.start(opened, { rules: RULES, ...options });
    const dir = opened.dir();
    startAgent = async (...more) => {
      const args = ['--server', plane.address, '--state', join(dir, 'agent'), '--socket', socketOf(dir)];
      const started = interlock(opened, 'agent', ...args, ...more);
      await started.log.line('the agent serves');
      return started;
    };
    agent = await startAgent('--join-token', await plane.token('node-1'));
    await agent.log.line('connected to the control plane');
    const endpoint = `unix://${socketOf(dir)}`;
    const { address } = plane;
    const started = await Program.start(opened, USERS.catalogue, 'http');
    program = started.program;
    const inbound = [{ listen: '127.0.0.1:0', forward: `127.0.0.1:${started.port}`, port: 8080 }];
    const uid = USERS.catalogue;
    catalogue = await startProxy(opened, { name: 'catalogue', uid, endpoint, address, inbound });
    const to = `127.0.0.1:${catalogue.inbound[0]}`;
    const outbound = [{ listen: '127.0.0.1:0', to, peer: workload }];
    caller = await startProxy(opened, { name: 'web', uid: USERS.web, endpoint, address, outbound });
    await plane.api.post('/v1/policies', { yaml: POLICY });
    await move('shadow');
    await move('canary', 1);
    await move('enforced');
    await command('authentication', workload, 'strict', '--state', plane.state);
    expect([await ask('/items'), await ask('/admin')]).toEqual([200, 403]);
  }

  const restart = async () => {
    await catalogue.kill();
    catalogue = await startProxy(opened, catalogue.order);
  };
  const away = async () => {
    await plane.stop();
    for (const { log } of [catalogue, caller]) await log.line('the control plane is away');
  };
  const back = async () => {
    const both = [catalogue, caller].map(({ log }) => [log, log.lines.length] as const);
    await plane.start();
    for (const [log, from] of both) await log.lineFrom(from, 'the control plane is connected');
  };

  describe('without', () => {
    beforeAll(() => set());

    test('the agent goes on with the SVIDs that it has, on connections old and new', async () => {
      const web = (await Program.start(opened, USERS.web, 'none')).program;
      web.tell({ load: [{ name: 'items', port: caller.outbound[0] ?? 0, method: 'GET', path: '/items' }] });
      const more = async () => {
        const { items } = await web.counts();
        const before = items?.ok ?? 0;
        await eventually(async () => ((await web.counts())['items']?.ok ?? 0) > before + 5, 'more calls');
      };
      await more();
      await agent.kill();
      await more();
      // Nothing that is kept alive: a handshake for each.
      for (const path of ['/items', '/admin']) {
        const headers = { connection: 'close' };
        const { status } = await fetch(`http://127.0.0.1:${caller.outbound[0]}${path}`, { headers });
        expect(status).toBe(path === '/items' ? 200 : 403);
      }
      await startAgent();
      await more();
      expect(await web.rest()).toMatchObject({ items: { failed: 0, reasons: [] } });
    });

    test('the control plane a proxy that was killed starts from its last state, and its evidence arrives once', async () => {
      await away();
      const { stateVersion } = await statusOf(catalogue);
      expect([await ask('/items'), await ask('/later')]).toEqual([200, 403]);
      // That reports wait says nothing of this one: an older one may, and it may not be on disk yet.
      await eventually(() => isOnDisk(catalogue, '/later'), 'its report on disk');
      await restart();
      expect(await statusOf(catalogue)).toMatchObject({ stateVersion, online: false });
      expect([await ask('/items'), await ask('/later')]).toEqual([200, 403]);
      // Strict it is as well: who comes without TLS gets nothing.
      const socket = connect(catalogue.inbound[0] ?? 0, '127.0.0.1');
      socket.write('GET /items HTTP/1.1\r\nhost: x\r\n\r\n');
      const answer = await new Promise<string>((resolve) => {
        let text = '';
        socket.on('data', (bytes: Buffer) => (text += bytes.toString('latin1')));
        socket.on('error', () => {}).on('close', () => resolve(text));
      });
      expect(answer).not.toContain('HTTP');
      const seen = await program.seen();
      expect(seen.filter((line) => line.includes('/later'))).toEqual([]);

      await back();
      const of = (list: readonly FlipShown[], path: string) =>
        list.filter(({ action }) => action.path === path);
      await eventually(
        async () => of(await flips(), '/later').reduce((sum, { count }) => sum + count, 0) === 2,
        'both refusals, each once',
        flips,
      );
      await eventually(async () => (await statusOf(catalogue)).spooled === 0, 'nothing waits on disk');
      expect(await flipsAt('/later')).toBe(2);
      expect([await ask('/items'), await ask('/later')]).toEqual([200, 403]);
    });

    test('a state that can be read denies everything, until a control plane answers or somebody presses here', async () => {
      await away();
      const file = join(catalogue.state, 'state.json');
      const whole = readFileSync(file, 'utf8');
      writeFileSync(file, whole.slice(0, whole.length / 2));
      await restart();
      await catalogue.log.line('error', 'state.json is damaged');
      expect([await ask('/items'), await ask('/admin')]).toEqual([403, 403]);
      const local = async (...argv: string[]) => {
        const ran = await command(...argv, '--local', '--state', catalogue.state);
        expect([ran.code, ran.err]).toEqual([0, '']);
      };
      await local('release', '--reason', 'the state is damaged');
      expect([await ask('/items'), await ask('/admin')]).toEqual([200, 200]);
      await local('arm');
      expect([await ask('/items'), await ask('/admin')]).toEqual([403, 403]);
      await back();
      expect([await ask('/items'), await ask('/admin')]).toEqual([200, 403]);
    });

    test('a store that answers traffic and the button do not wait, and the evidence arrives once it does', async () => {
      // Somebody holds the database of the evidence: every write to it waits.
      const held = new DatabaseSync(join(plane.state, 'interlock.db'), { timeout: 10_000 });
      held.exec('BEGIN IMMEDIATE');
      const released = await command(
        'release',
        '--all',
        '--reason',
        'the store hangs',
        '--state',
        plane.state,
      );
      expect([released.err, released.out]).toEqual(['', expect.stringMatching(/2 of 2 proxies confirmed/)]);
      expect([await ask('/items'), await ask('/admin')]).toEqual([200, 200]);
      expect(await ask('/held')).toBe(200);
      await plane.api.post('/v1/releases/arm', {});
      expect([await ask('/items'), await ask('/held')]).toEqual([200, 403]);
      await plane.log.line('error', 'a fault', 'is held by another process');
      expect(await flipsAt('/held')).toBe(0);
      held.exec('ROLLBACK');
      held.close();
      await eventually(
        async () => (await flipsAt('/held')) > 0,
        'the refusal, once the store answers',
        flips,
      );
      expect(await flipsAt('/held')).toBe(1);
      expect(await plane.api.get('/v1/audit/verify')).toEqual({ isWhole: true });
    });

    test('the right control plane nobody is believed: an impostor at its address changes nothing', async () => {
      await away();
      const state = join(opened.dir(), 'impostor');
      await initialise(state, DOMAIN, 'uid:0', realTimers);
      const from = catalogue.log.lines.length;
      const impostor = await controlPlane(opened, state, Number(plane.address.split(':')[1]));
      await catalogue.log.lineFrom(from, 'the control plane is away', 'self-signed certificate');
      expect([await ask('/items'), await ask('/admin')]).toEqual([200, 403]);
      await impostor.kill();
      await back();
      expect([await ask('/items'), await ask('/admin')]).toEqual([200, 403]);
    });
  });

  test.skipIf(diskless !== undefined)(
    'on a full disk a release is in force at once, and outlives a restart after there is room',
    async () => {
      const disk = new SmallDisk(opened, 8192);
      await set({ dir: disk.dir });
      disk.fill();
      const released = await command(
        'release',
        '--all',
        '--reason',
        'the disk is full',
        '--state',
        plane.state,
      );
      expect([released.err, released.out]).toEqual(['', expect.stringMatching(/2 of 2 proxies confirmed/)]);
      expect(await ask('/admin')).toBe(200);
      disk.free();
      await eventually(
        () =>
          existsSync(join(plane.state, 'releases.json')) &&
          readFileSync(join(plane.state, 'releases.json'), 'utf8').includes('the disk is full'),
        'the release on disk',
      );
      await plane.stop();
      await back();
      expect(await ask('/admin')).toBe(200);
    },
  );
});
