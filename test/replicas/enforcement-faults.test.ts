import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { outcomesOf } from '../../src/access/index.ts';
import { readPolicies } from '../../src/policy/index.ts';
import type { TestIdentity } from '../../src/server/enforcement/enforcement.test-helper.ts';
import { accessAt, reportOf } from '../../src/server/enforcement/evidence/evidence.test-helper.ts';
import { UID_RULE, WHO } from '../../src/server/testing.test-helper.ts';
import { hasPostgres, type OwnServer, startServer } from '../../src/store/postgres/server.test-helper.ts';
import { newKeyFile, SharedPlane } from './planes.test-helper.ts';
import {
  type ConnectedProxy,
  fleetUntil,
  identityAt,
  policyOf,
  Proxies,
  uid,
} from './proxies.test-helper.ts';

const proxies = new Proxies();
const everything = { scope: { kind: 'all' }, reason: 'the database is away' } as const;

describe.skipIf(!hasPostgres)('while the database is away', () => {
  let server: OwnServer;
  let a: SharedPlane;
  let b: SharedPlane;
  let cart: TestIdentity;
  let one: ConnectedProxy;
  let two: ConnectedProxy;
  let sequence = 0;
  let calls = 0;

  beforeAll(async () => {
    server = await startServer(['fsync=off']);
    const url = server.url();
    const keyFile = newKeyFile();
    // No canary moves by itself here.
    const serve = { canary: { steps: [1], stepMs: 86_400_000, requests: 1 } };
    [a, b] = await Promise.all([
      SharedPlane.start({ url, keyFile, serve }),
      SharedPlane.start({ url, keyFile, serve }),
    ]);
    await a.apply(UID_RULE);
    cart = await identityAt(a, 1);
    one = proxies.connect(a, cart, { instance: 'a' });
    two = proxies.connect(b, cart, { instance: 'b' });
    await a.serving.enforcing.rollouts.apply(WHO, readPolicies(policyOf(1, 2)));
  }, 60_000);

  afterAll(async () => {
    proxies.close();
    await Promise.all([a?.close(), b?.close()]);
    await server?.stop();
  }, 60_000);

  const report = (proxy: ConnectedProxy) => {
    const access = accessAt(Date.now(), { from: { spiffeId: uid(2) }, to: cart.id });
    calls++;
    proxy.proxy.send({ case: 'report', value: reportOf(++sequence, { accesses: [access] }) });
    const own = sequence;
    return proxy.until(({ taken }) => taken >= own);
  };
  const callsAt = ({ serving: { api } }: SharedPlane) =>
    api.estate.current.graph.accesses
      .filter(({ to }) => to.kind === 'workload' && to.id === cart.id)
      .reduce((sum, { evidence }) => sum + outcomesOf(evidence).ok, 0);
  async function counted(plane: SharedPlane): Promise<void> {
    while (callsAt(plane) !== calls) {
      await new Promise<void>((resolve) => {
        const stop = plane.serving.api.estate.onChange(() => {
          stop();
          resolve();
        });
      });
    }
  }
  const isReleased = ({ state }: ConnectedProxy) => state?.released !== undefined;

  const STAGES = [
    { stage: 'draft' },
    { stage: 'shadow' },
    { stage: 'canary', share: 1 },
    { stage: 'enforced' },
  ] as const;

  test.each(STAGES)(
    'in $stage: what is known goes on, the button works, and everything catches up',
    async ({ stage, ...order }) => {
      const { rollouts, releases, points } = a.serving.enforcing;
      if (stage !== 'draft') await rollouts.move(WHO, cart.id, stage, order);
      await Promise.all([one, two].map((proxy) => proxy.until(({ state }) => state?.stage === stage)));
      const log = (await a.plane.store.audit(1, 10_000)).length;
      await server.kill('SIGQUIT');

      const taken = Promise.all([report(one), report(two)]);
      const release = releases.press('uid:7', everything);
      // Of what is enforced the own proxy is released at once; the other one cannot have heard of it.
      if (stage === 'canary' || stage === 'enforced') {
        await one.until(isReleased);
        expect(isReleased(two)).toBe(false);
      }
      const both = [a, b].map(({ serving }) => serving.enforcing);
      for (const { own } of both) expect([...own.all].filter(({ connected }) => connected)).toHaveLength(1);
      expect(two.state?.stage).toBe(stage);
      // Refused, and said why, where the caller waits for it.
      if (stage === 'shadow')
        await expect(b.serving.enforcing.rollouts.authenticate(WHO, cart.id, 'strict')).rejects.toMatchObject(
          {
            code: 'unavailable',
            message: expect.stringContaining('nothing was changed'),
          },
        );

      await server.start();
      await taken;
      if (stage === 'canary' || stage === 'enforced') await two.until(isReleased);
      await releases.kept();
      await b.serving.enforcing.releases.follow();
      expect(b.serving.enforcing.releases.inForce.map(({ id }) => id)).toEqual([release.id]);
      b.serving.enforcing.releases.arm('uid:8', release.id);
      await b.serving.enforcing.releases.kept();
      await releases.follow();
      await Promise.all([one, two].map((proxy) => proxy.until((each) => !isReleased(each))));
      expect(releases.inForce).toEqual([]);
      await Promise.all([counted(a), counted(b)]);
      // Each knows the proxy of the other one again.
      for (const enforcing of both)
        await fleetUntil(
          enforcing.points,
          () => [...enforcing.points.all].filter(({ connected }) => connected).length === 2,
        );
      const since = (await a.plane.store.audit(log + 1, 10_000)).filter(({ details }) =>
        JSON.stringify(details).includes(release.id),
      );
      expect(since.map(({ who, act }) => `${who} ${act}`)).toEqual(['uid:7 release', 'uid:8 arm']);
      expect(await a.plane.store.verifyAudit()).toBeUndefined();
      expect(points.of(cart.id)).toHaveLength(2);
      // What was refused was not made behind anybody's back.
      await b.serving.enforcing.rollouts.follow();
      await rollouts.follow();
      if (stage === 'shadow') expect(rollouts.get(cart.id).authentication).toBe('permissive');
    },
    90_000,
  );

  test('both end on the same, and a change of one reaches the other as before', async () => {
    const both = [a, b].map(({ serving }) => serving.enforcing);
    await Promise.all(both.map(({ rollouts }) => rollouts.follow()));
    const [atA, atB] = both.map(({ rollouts }) => rollouts.get(cart.id));
    expect(atA).toEqual(atB);
    await b.serving.enforcing.rollouts.move(WHO, cart.id, 'shadow');
    await one.until(({ state }) => state?.stage === 'shadow');
    expect(callsAt(a)).toBe(calls);
  });
});
