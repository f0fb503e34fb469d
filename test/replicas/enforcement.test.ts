import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { readPolicies } from '../../src/policy/index.ts';
import { outcomesOf } from '../../src/access/index.ts';
import type { TestIdentity } from '../../src/server/enforcement/enforcement.test-helper.ts';
import { accessAt, flipAt, reportOf } from '../../src/server/enforcement/evidence/evidence.test-helper.ts';
import { databaseClock } from '../../src/server/database-clock.ts';
import { HOUR, UID_RULE, WHO } from '../../src/server/testing.test-helper.ts';
import { hasPostgres, newPostgresUrl } from '../../src/store/postgres/server.test-helper.ts';
import { MovedTimers, newKeyFile, SharedPlane } from './planes.test-helper.ts';
import {
  type ConnectedProxy,
  EventsOf,
  fleetUntil,
  identityAt,
  policyOf,
  Proxies,
  uid,
} from './proxies.test-helper.ts';

const everything = { scope: { kind: 'all' }, reason: 'an incident' } as const;
const proxies = new Proxies();
const events = new Set<EventsOf>();
const eventsOf = (plane: SharedPlane, lastId?: string) => {
  const made = new EventsOf(plane, lastId);
  events.add(made);
  return made;
};
afterEach(() => {
  proxies.close();
  for (const each of events) each.close();
  events.clear();
});

describe.skipIf(!hasPostgres)('two control planes of one database', () => {
  let url = '';
  let keyFile = '';
  let a: SharedPlane;
  let b: SharedPlane;
  let cart: TestIdentity;
  const CART = 1;
  const WEB = 2;

  const canary = { steps: [0.5, 1], stepMs: 1, requests: 2 };
  beforeAll(async () => {
    url = await newPostgresUrl();
    keyFile = newKeyFile();
    const serve = { canary };
    [a, b] = await Promise.all([
      SharedPlane.start({ url, keyFile, serve }),
      SharedPlane.start({ url, keyFile, serve }),
    ]);
    await a.apply(UID_RULE);
    cart = await identityAt(a, CART);
  }, 60_000);

  afterAll(async () => {
    expect([a.faults, b.faults]).toEqual([[], []]);
    await Promise.all([a.close(), b.close()]);
  }, 30_000);

  const apply = (plane: SharedPlane, yaml: string) =>
    plane.serving.enforcing.following(() => plane.serving.enforcing.rollouts.apply(WHO, readPolicies(yaml)));
  const both = () => [a.serving.enforcing, b.serving.enforcing] as const;
  /** Two proxies of the cart, one at each. */
  const atBoth = async () => {
    const [one, two] = [
      proxies.connect(a, cart, { instance: 'a' }),
      proxies.connect(b, cart, { instance: 'b' }),
    ] as const;
    for (const { points } of both())
      await fleetUntil(
        points,
        () =>
          points.of(cart.id).filter(({ connected, applied, wanted }) => connected && applied >= wanted)
            .length === 2,
      );
    return [one, two] as const;
  };

  test('carry a policy that is applied at one to the proxies of both, and each says who has confirmed it', async () => {
    const [one, two] = await atBoth();
    const atB = eventsOf(b);
    const began = performance.now();
    const { change } = await apply(a, policyOf(CART, WEB));
    await Promise.all(
      [one, two].map((proxy) =>
        proxy.until(({ state }) => state?.stage === 'draft' || state?.stage === 'shadow'),
      ),
    );
    await atB.next('rollout', cart.id);
    const told = performance.now() - began;
    const progress = await a.serving.enforcing.changes.wait(change, 1, 60_000);
    console.log(
      `a policy applied at one: the proxy and the console of the other had it after ${Math.round(told)} ms, the confirmation was back after ${Math.round(performance.now() - began)} ms`,
    );
    expect(progress.confirmed.map(({ point }) => point.instance).toSorted()).toEqual(['a', 'b']);
    expect(progress.waiting).toEqual([]);
    // Whoever answers the next call, it is the same change.
    expect((await b.serving.enforcing.changes.wait(change, 1, 60_000)).confirmed).toHaveLength(2);
    await atB.next('point', `${cart.id}#a`);
    await b.serving.enforcing.rollouts.move(WHO, cart.id, 'shadow');
    await one.until(({ state }) => state?.stage === 'shadow');
  });

  test('release what is pressed at either, and enforce again what is armed at the other', async () => {
    const [one, two] = await atBoth();
    await a.serving.enforcing.rollouts.move(WHO, cart.id, 'canary', { share: 1 });
    await Promise.all([one, two].map((proxy) => proxy.until(({ state }) => state?.stage === 'canary')));
    const atA = eventsOf(a);
    for (const [here, there] of [
      [a, b],
      [b, a],
    ] as const) {
      const { done, change } = await here.serving.enforcing.following(() =>
        here.serving.enforcing.releases.press(WHO, everything),
      );
      await Promise.all([one, two].map((proxy) => proxy.until(isReleased)));
      const { confirmed } = await here.serving.enforcing.changes.wait(change, 1, 60_000);
      expect(confirmed).toHaveLength(2);
      await atA.next('release');
      there.serving.enforcing.releases.arm(WHO, done.id);
      await Promise.all([one, two].map((proxy) => proxy.until((each) => !isReleased(each))));
    }
    for (const { releases } of both()) expect(releases.inForce).toEqual([]);
    await a.serving.enforcing.rollouts.move(WHO, cart.id, 'shadow');
    await b.serving.enforcing.rollouts.follow();
  });

  test('press and arm at once, and come to the same', async () => {
    await atBoth();
    const all = Array.from({ length: 6 }, (_, i) =>
      both()[i % 2 === 0 ? 0 : 1].releases.press(`uid:${i}`, everything),
    );
    await Promise.all(both().map(({ releases }) => releases.kept()));
    await Promise.all(both().map(({ releases }) => releases.follow()));
    for (const { releases } of both()) expect(releases.inForce).toHaveLength(6);
    for (const { releases } of both()) releases.arm(WHO);
    await Promise.all(both().map(({ releases }) => releases.kept()));
    await Promise.all(both().map(({ releases }) => releases.follow()));
    for (const { releases } of both()) expect(releases.inForce).toEqual([]);
    const log = await a.plane.store.audit(1, 1000);
    for (const { id } of all) {
      const of = log.filter(({ details }) => JSON.stringify(details).includes(id));
      expect(of.map(({ act }) => act)).toEqual(['release', 'arm']);
    }
  });

  test('drill with the proxies of both, and remember it at both', async () => {
    await atBoth();
    const { confirmed } = await a.serving.enforcing.drill(WHO, 30_000);
    expect(confirmed).toHaveLength(2);
    await a.serving.enforcing.releases.kept();
    await b.serving.enforcing.releases.follow();
    expect(b.serving.enforcing.releases.drills.at(-1)).toMatchObject({ points: 2, confirmed: 2 });
  });

  test('show a proxy that moves from one to the other as one proxy', async () => {
    const [, two] = await atBoth();
    const before = [...a.serving.enforcing.points.all].length;
    two.close();
    const moved = proxies.connect(a, cart, { instance: 'b' });
    await moved.until(({ state }) => state !== undefined);
    for (const { points } of both()) {
      await fleetUntil(points, () => points.get(`${cart.id}#b`)?.connected === true);
      expect([...points.all]).toHaveLength(before);
    }
    // One that says it is at both has a change once both connections have it.
    proxies.connect(b, cart, { instance: 'b', confirms: false });
    const { points } = a.serving.enforcing;
    await fleetUntil(
      points,
      () => points.standings(`${cart.id}#b`).filter(([, { connected }]) => connected).length === 2,
    );
    const { change } = await apply(a, policyOf(CART, WEB, '/other'));
    const progress = await a.serving.enforcing.changes.wait(change, 0, 60_000);
    expect(progress.waiting.map(({ point }) => point.instance)).toContain('b');
    await expect(a.serving.enforcing.forget(WHO, `${cart.id}#b`)).rejects.toMatchObject({ code: 'conflict' });
  });

  test('forget a proxy that is away at both', async () => {
    const [, two] = await atBoth();
    two.close();
    const key = `${cart.id}#b`;
    for (const { points } of both()) await fleetUntil(points, () => points.get(key)?.connected === false);
    await a.serving.enforcing.forget(WHO, key);
    const { points } = b.serving.enforcing;
    await fleetUntil(points, () => points.get(key) === undefined);
    expect(a.serving.enforcing.points.get(key)).toBeUndefined();
  });

  test('take evidence at either, know it at both, and count a report that is sent to both once', async () => {
    const [one] = await atBoth();
    const [atA, atB] = [eventsOf(a), eventsOf(b)];
    const now = Date.now();
    const { targetVersion = 0 } = a.serving.enforcing.rollouts.get(cart.id);
    const report = reportOf(1, {
      accesses: [accessAt(now, { from: { spiffeId: uid(WEB) }, to: cart.id, ok: 3n })],
      flips: [
        flipAt(now, { from: { spiffeId: uid(WEB) }, to: cart.id, targetVersion: BigInt(targetVersion) }),
      ],
    });
    one.proxy.send({ case: 'report', value: report });
    await one.until(({ taken }) => taken === 1);
    await Promise.all([atA, atB].map((each) => each.next('flip', cart.id)));
    // Its answer was lost with its control plane: it sends the report again, to the other one.
    one.close();
    const again = proxies.connect(b, cart, { instance: 'a' });
    again.proxy.send({ case: 'report', value: report });
    await again.until(({ taken }) => taken === 1);
    again.proxy.send({
      case: 'report',
      value: reportOf(2, { accesses: [accessAt(now, { from: { spiffeId: uid(WEB) }, to: cart.id })] }),
    });
    await again.until(({ taken }) => taken === 2);
    for (const plane of [a, b]) {
      await estateUntil(plane, () => callsTo(plane) === 4);
      const { evidence } = plane.serving.enforcing;
      expect(evidence.flips({ to: cart.id })).toMatchObject([{ count: 1 }]);
      expect(evidence.seen(`${cart.id}#a`, cart.id, now - 1000).requests).toBe(4);
      const action = { kind: 'http', port: 80, method: 'GET', path: '/a' } as const;
      expect(evidence.isKnownGood({ kind: 'workload', id: uid(WEB) }, cart.id, action)).toBe(true);
    }
    await atA.next('access');
    // A third one, which starts now, begins where they are, and goes on with them.
    const third = await SharedPlane.start({ url, keyFile });
    try {
      expect(callsTo(third)).toBe(4);
      const more = accessAt(now, { from: { spiffeId: uid(WEB) }, to: cart.id });
      again.proxy.send({ case: 'report', value: reportOf(3, { accesses: [more] }) });
      for (const plane of [a, b, third]) await estateUntil(plane, () => callsTo(plane) === 5);
    } finally {
      await third.close();
    }
  });

  const callsTo = (plane: SharedPlane) =>
    plane.serving.api.estate.current.graph.accesses
      .filter(({ to }) => to.kind === 'workload' && to.id === cart.id)
      .reduce((sum, { evidence }) => sum + outcomesOf(evidence).ok, 0);

  async function estateUntil({ serving: { api } }: SharedPlane, holds: () => boolean): Promise<void> {
    while (!holds()) {
      await new Promise<void>((resolve) => {
        const stop = api.estate.onChange(() => {
          stop();
          resolve();
        });
      });
    }
  }

  test('keep what flips say of a new target that the other one has heard of first', async () => {
    const [one, two] = await atBoth();
    await apply(a, policyOf(CART, WEB, '/new'));
    const { targetVersion = 0 } = a.serving.enforcing.rollouts.get(cart.id);
    await two.until(({ state }) => state?.targetVersion === targetVersion);
    const now = Date.now();
    const flip = flipAt(now, { to: cart.id, targetVersion: BigInt(targetVersion) });
    const heard = [eventsOf(a), eventsOf(b)];
    two.proxy.send({ case: 'report', value: reportOf(1, { flips: [flip] }, 7) });
    await two.until(({ taken }) => taken === 1);
    await Promise.all(heard.map((each) => each.next('flip', cart.id)));
    const { flips } = await a.place.openEvidence().live();
    const known = both().map(({ evidence, rollouts }) => ({
      target: rollouts.get(cart.id).targetVersion,
      flips: evidence.flips({ to: cart.id }).length,
    }));
    expect([flips, ...known]).toMatchObject([
      [{ targetVersion }],
      { target: targetVersion, flips: 1 },
      { target: targetVersion, flips: 1 },
    ]);
    one.close();
  });

  test('move a canary once, by what the proxies of both have judged, and take it back once', async () => {
    const [one, two] = await atBoth();
    const { rollouts } = a.serving.enforcing;
    const steps = (log: Awaited<ReturnType<typeof a.plane.store.audit>>) =>
      log
        .filter(({ who, what, act }) => who === 'system' && what === cart.id && act.startsWith('rollout.'))
        .map(({ act }) => act);
    await rollouts.move(WHO, cart.id, 'canary', { share: 1 });
    await Promise.all([one, two].map((proxy) => proxy.until(({ state }) => state?.stage === 'canary')));
    const count = steps(await a.plane.store.audit(1, 10_000)).length;
    // What is judged in the second in which the step began does not count for it.
    let sequence = 0;
    const report = async (proxy: ConnectedProxy, flips: ReturnType<typeof flipAt>[] = []) => {
      const at = a.timers.now();
      const access = accessAt(at, { from: { spiffeId: uid(WEB) }, to: cart.id });
      const own = ++sequence;
      proxy.proxy.send({ case: 'report', value: reportOf(own, { accesses: [access], flips }, 9) });
      await proxy.until(({ taken }) => taken === own);
    };
    while (one.state?.stage === 'canary') await Promise.all([report(one), report(two)]);
    await Promise.all([one, two].map((proxy) => proxy.until(({ state }) => state?.stage === 'enforced')));
    expect(steps(await a.plane.store.audit(1, 10_000)).slice(count)).toEqual(['rollout.enforced']);

    await apply(b, policyOf(CART, WEB, '/narrow'));
    await b.serving.enforcing.rollouts.move(WHO, cart.id, 'canary', { share: 1 });
    await Promise.all([one, two].map((proxy) => proxy.until(({ state }) => state?.stage === 'canary')));
    const { targetVersion = 0 } = rollouts.get(cart.id);
    const refused = flipAt(a.timers.now(), {
      from: { spiffeId: uid(WEB) },
      to: cart.id,
      refused: true,
      targetVersion: BigInt(targetVersion),
    });
    await report(two, [refused]);
    await Promise.all([one, two].map((proxy) => proxy.until(({ state }) => state?.stage === 'shadow')));
    expect(steps(await a.plane.store.audit(1, 10_000)).slice(count)).toEqual([
      'rollout.enforced',
      'rollout.shadow',
    ]);
  });

  test('let one of two people move a workload who do it at once', async () => {
    const { targetVersion } = a.serving.enforcing.rollouts.get(cart.id);
    const done = await Promise.allSettled(
      both().map(({ rollouts }) => rollouts.move(WHO, cart.id, 'canary', { share: 0.1 })),
    );
    expect(done.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    for (const each of done)
      if (each.status === 'rejected') expect(each.reason).toMatchObject({ code: 'conflict' });
    await Promise.all(both().map(({ rollouts }) => rollouts.follow()));
    for (const { rollouts } of both())
      expect(rollouts.get(cart.id)).toMatchObject({ stage: 'canary', share: 0.1, targetVersion });
    await a.serving.enforcing.rollouts.move(WHO, cart.id, 'shadow');
  });

  test('have the Envoy documents of each other', async () => {
    const yaml = `
apiVersion: interlock.dev/v1alpha1
kind: Proxy
metadata: { name: cart }
spec:
  workload: ${cart.id}
  inbound: [ { listen: "127.0.0.1:8080", forward: "127.0.0.1:80" } ]
`;
    const { documents } = a.serving.enforcing;
    await documents.apply(WHO, yaml, 'cart.yaml');
    await b.serving.enforcing.documents.follow();
    expect(b.serving.enforcing.documents.all.get(cart.id)?.text).toBe(yaml);
    await b.serving.enforcing.documents.remove(WHO, cart.id);
    await documents.follow();
    expect(documents.all.size).toBe(0);
  });

  test('end a release by the database’s clock, though that of the machine of one has jumped', async () => {
    const moved = new MovedTimers();
    const clock = await databaseClock(a.place, moved, () => {});
    const third = await SharedPlane.start({ url, keyFile, timers: clock.timers });
    try {
      const { releases } = third.serving.enforcing;
      const release = a.serving.enforcing.releases.press(WHO, { ...everything, forMs: HOUR / 2 });
      await a.serving.enforcing.releases.kept();
      await releases.follow();
      moved.ahead = HOUR;
      expect(releases.inForce.map(({ id }) => id)).toEqual([release.id]);
      // And one that both see end is ended once.
      const short = a.serving.enforcing.releases.press(WHO, { ...everything, forMs: 1000 });
      const atB = eventsOf(b);
      await a.serving.enforcing.releases.kept();
      const ends = async () =>
        (await a.plane.store.audit(1, 10_000)).filter(
          ({ act, details }) => act === 'release.end' && JSON.stringify(details).includes(short.id),
        );
      while ((await ends()).length === 0) await atB.next('audit');
      await Promise.all([a, b, third].map(({ serving }) => serving.enforcing.releases.follow()));
      expect(await ends()).toHaveLength(1);
      a.serving.enforcing.releases.arm(WHO);
    } finally {
      clock.stop();
      await third.close();
    }
  });

  test('tell a reader of events who moves to the other one that it has missed some', async () => {
    const atA = eventsOf(a);
    a.serving.enforcing.releases.press(WHO, everything);
    await atA.next('release');
    // One that is armed before the other one has heard of it is no news there.
    await a.serving.enforcing.releases.kept();
    await b.serving.enforcing.releases.follow();
    const atB = eventsOf(b, atA.lastId);
    await atB.next('reset');
    a.serving.enforcing.releases.arm(WHO);
    await atB.next('release');
    await atB.next('audit');
    expect(atB.lastId.split('-')[0]).not.toBe(atA.lastId.split('-')[0]);
  });
});

const isReleased = ({ state }: ConnectedProxy) => state?.released !== undefined;
