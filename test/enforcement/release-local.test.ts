import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Opened } from '../identity/harness.ts';
import { idOf, Program, type RunningProxy } from './processes.ts';
import { command, Estate, eventually, noShop, policyOf, USERS } from './shop.ts';

const opened = new Opened();
afterAll(() => opened.close());
const alone = noShop('the button on one machine, with everything else down');

describe.skipIf(alone !== undefined)('release --local', () => {
  let estate: Estate;
  let catalogue: RunningProxy;
  let web: RunningProxy;

  const ask = async (path: string) => (await fetch(`http://127.0.0.1:${web.outbound[0]}${path}`)).status;
  const local = (...argv: readonly string[]) => command(...argv, '--local', '--state', catalogue.state);

  beforeAll(async () => {
    estate = await Estate.start(opened);
    const { port } = await Program.start(opened, USERS.catalogue, 'http');
    const inbound = [{ listen: '127.0.0.1:0', forward: `127.0.0.1:${port}`, port: 8080 }];
    catalogue = await estate.proxy('catalogue', { inbound });
    const to = `127.0.0.1:${catalogue.inbound[0]}`;
    web = await estate.proxy('web', {
      outbound: [{ listen: '127.0.0.1:0', to, peer: idOf('catalogue') }],
    });
    const items = '{ http: { methods: [GET], paths: [/items] } }';
    const yaml = policyOf('catalogue', { web: { from: ['web'], to: items } });
    await estate.plane.api.post('/v1/policies', { yaml });
    for (const to of [['shadow'], ['canary', '--share', '100%'], ['enforced']])
      await estate.run(0, 'promote', idOf('catalogue'), '--to', ...to, '--anyway', 'a test');
    expect([await ask('/items'), await ask('/admin')]).toEqual([200, 403]);
    await estate.plane.stop();
  });

  test('lets through what was denied, with no control plane, and says how to undo it', async () => {
    const { code, out, err } = await local('release', '--reason', 'all else is down');
    expect([code, err]).toEqual([0, '']);
    expect(out).toMatch(/^Released on this machine in [\d.]+ ms\. Undo: interlock arm --local\n$/);
    await catalogue.log.line('somebody on this machine: release', 'uid:0', 'all else is down');
    expect([await ask('/items'), await ask('/admin')]).toEqual([200, 200]);
  });

  test("outlives the proxy's crash, and its new start without a control plane", async () => {
    await catalogue.kill();
    catalogue = await estate.proxy('catalogue', catalogue.order);
    expect([await ask('/items'), await ask('/admin')]).toEqual([200, 200]);
  });

  test('outlives the states of a control plane that comes back, until it is armed here', async () => {
    const from = catalogue.log.lines.length;
    await estate.plane.start();
    await catalogue.log.lineFrom(from, 'the control plane is connected');
    expect(await ask('/admin')).toBe(200);
    // The control plane sees it, and keeps who pressed and why.
    expect(await estate.run(0, 'proxies')).toMatch(
      /released here[^]*Released by hand[^]*uid:0 +all else is down/,
    );
    expect(await estate.run(0, 'release', '--list')).toMatch(
      /Nothing is released\.[^]*uid:0 +all else is down/,
    );
    const audited = async (act: string) => {
      const { entries } = await estate.plane.api.get<{ entries: { act: string; details?: object }[] }>(
        '/v1/audit',
      );
      return entries.find((entry) => entry.act === act);
    };
    await eventually(async () => (await audited('release.local')) !== undefined, 'it is in the audit log');
    expect(await audited('release.local')).toMatchObject({
      who: idOf('catalogue'),
      details: { by: 'uid:0', reason: 'all else is down' },
    });
    expect(await local('arm')).toEqual({ code: 0, err: '', out: 'Armed: 1 ended on this machine.\n' });
    expect([await ask('/items'), await ask('/admin')]).toEqual([200, 403]);
    await eventually(async () => (await audited('arm.local')) !== undefined, 'its end is in the audit log');
    expect(await estate.run(0, 'proxies')).not.toContain('eleased');
  });

  test('of a workload that the proxy does not serve is refused: it would release nothing', async () => {
    const done = await local('release', '--workload', idOf('web'), '--reason', 'a slip');
    expect(done).toMatchObject({ code: 2, out: '' });
    expect(done.err).toContain('not served here');
  });

  test('for one workload, and for a time, ends by itself', async () => {
    const done = await local(
      'release',
      '--workload',
      idOf('catalogue'),
      '--for',
      '1s',
      '--reason',
      'a try',
      '--json',
    );
    expect(done.code).toBe(0);
    expect(JSON.parse(done.out)).toMatchObject({ ms: expect.any(Number) });
    const isDenied = async (): Promise<true> => ((await ask('/admin')) === 403 ? true : isDenied());
    expect(await ask('/admin')).toBe(200);
    expect(await isDenied()).toBe(true);
  });
});
