import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { status } from '@grpc/grpc-js';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { readEnforcement } from '../../rollout/index.ts';
import { readPolicies } from '../../policy/index.ts';
import { callsThatReached, type SpiffeId } from '../../access/index.ts';
import { openSqliteStore, STATE_FILE } from '../../store/index.ts';
import { WHO } from '../testing.test-helper.ts';
import { EnforcementPlane, type TestIdentity, TestProxy } from './enforcement.test-helper.ts';
import type { EnforcingOptions } from './enforcing.ts';
import { accessAt, flipAt, reportOf } from './evidence/evidence.test-helper.ts';

let planes: EnforcementPlane[] = [];
async function planeOf(options: Partial<EnforcingOptions> = {}): Promise<EnforcementPlane> {
  const plane = await EnforcementPlane.make(options);
  planes.push(plane);
  return plane;
}
afterEach(async () => {
  for (const plane of planes) await plane.remove();
  planes = [];
});

const policy = (workload: SpiffeId, path: string, name = 'own') =>
  readPolicies(`
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: ${name} }
spec:
  protects: { workload: ${workload} }
  tier: experimental
  rules: [ { name: r, from: [ { workload: spiffe://example.org/uid/9 } ], to: [ { http: { methods: [GET], paths: [${path}] } } ] } ]
`);

/** What a proxy was told of its workloads. */
async function stateOf(proxy: TestProxy) {
  const { version, workloads } = await proxy.next('state');
  return { version, workloads: workloads.map((each) => readEnforcement(each.enforcement, each.workload)) };
}

const reportWith = (sequence: number, to: SpiffeId, at: number, epoch = 1) =>
  reportOf(sequence, { accesses: [accessAt(at, { to })], flips: [flipAt(at, { to })] }, epoch);

const taken = async (proxy: TestProxy) => Number((await proxy.next('taken')).sequence);

async function callsKept(plane: EnforcementPlane): Promise<number> {
  const store = openSqliteStore(plane.test.dir);
  const accesses = await store.accesses();
  await store.close();
  return accesses.reduce((sum, { evidence }) => sum + callsThatReached(evidence), 0);
}

describe('who connects', () => {
  test('is refused without an SVID, with one that is over, and for a workload that is not its own', async () => {
    const plane = await planeOf();
    const [own, other] = [await plane.identity(1), await plane.identity(2)];
    expect(await plane.proxy(undefined).end()).toMatchObject({ code: status.UNAUTHENTICATED });
    expect(await plane.proxy(own, { workloads: [other.id] }).end()).toMatchObject({
      code: status.PERMISSION_DENIED,
      details: expect.stringContaining('--node-proxy'),
    });
    expect(await plane.proxy(own, { workloads: [own.id, other.id] }).end()).toMatchObject({
      code: status.PERMISSION_DENIED,
    });
    // Over a connection from before: a new one would be refused by TLS already.
    const client = plane.client(own);
    const silent = new TestProxy(client, undefined);
    await plane.timers.advance(1);
    expect(await new TestProxy(client, { workloads: [other.id] }).end()).toMatchObject({
      code: status.PERMISSION_DENIED,
    });
    await plane.timers.advance(3_600_000);
    expect(await silent.end()).toMatchObject({ details: expect.any(String) });
    expect(await new TestProxy(client, { workloads: [own.id] }).end()).toMatchObject({
      code: status.UNAUTHENTICATED,
    });
    expect([...plane.enforcing.points.all]).toEqual([]);
  });

  test('may serve others where it is named as a node proxy', async () => {
    const plane = await planeOf({ nodeProxies: ['spiffe://example.org/uid/1'] });
    const [node, other] = [await plane.identity(1), await plane.identity(2)];
    const { workloads } = await stateOf(plane.proxy(node, { workloads: [node.id, other.id, other.id] }));
    expect(workloads.map(({ workload }) => workload)).toEqual([node.id, other.id]);
  });

  test('must say hello first, once, within ten seconds, and with a name that is one', async () => {
    const plane = await planeOf();
    const own = await plane.identity(1);
    const [report, silent] = [plane.proxy(own, false), plane.proxy(own, false)];
    report.send({ case: 'report', value: reportOf(1) });
    expect(await report.end()).toMatchObject({ details: expect.stringContaining('"hello"') });
    const twice = plane.proxy(own);
    await stateOf(twice);
    twice.send({
      case: 'hello',
      value: {
        $typeName: 'interlock.proxy.v1.Hello',
        version: '',
        instance: 'b',
        workloads: [own.id],
        stateVersion: 0n,
        now: 0n,
        local: [],
      },
    });
    expect(await twice.end()).toMatchObject({ details: expect.stringContaining('one "hello"') });
    for (const instance of ['', '../x', 'a b', 'x'.repeat(300)])
      expect(await plane.proxy(own, { instance }).end()).toMatchObject({ code: status.INVALID_ARGUMENT });
    expect(await plane.proxy(own, { workloads: [] }).end()).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
    });
    expect(await plane.proxy(own, { workloads: ['nobody'] }).end()).toMatchObject({
      code: status.PERMISSION_DENIED,
    });
    await plane.timers.advance(10_000);
    expect(await silent.end()).toMatchObject({ details: expect.stringContaining('"hello"') });
  });

  test('says what is released by hand at it: shown until it says otherwise, and in the audit log', async () => {
    const plane = await planeOf();
    const own = await plane.identity(1);
    const { points } = plane.enforcing;
    const key = `${own.id}#a`;
    const here = (count: number) =>
      new Promise<void>((resolve) => {
        const look = () => {
          if ((points.get(key)?.releasedHere ?? []).length !== count) return;
          unsubscribe();
          resolve();
        };
        const unsubscribe = points.subscribe(look);
        look();
      });
    const pressed = { workload: '', reason: 'all\u001b is down', by: 'uid:7', at: 5n, until: 0n };
    const local = (...releases: Partial<typeof pressed>[]) =>
      ({ case: 'local', value: { releases: releases.map((each) => ({ ...pressed, ...each })) } }) as never;
    const proxy = plane.proxy(own);
    await stateOf(proxy);
    proxy.send(local({}, { workload: 'spiffe://example.org/another' }));
    await here(1);
    expect(points.get(key)?.releasedHere).toEqual([{ reason: 'all  is down', by: 'uid:7', at: 5 }]);
    proxy.close();
    const again = plane.proxy(own, { local: [pressed] } as never);
    await stateOf(again);
    expect(points.get(key)?.releasedHere).toHaveLength(1);
    again.send(local());
    await here(0);
    const entries = async () =>
      (await plane.test.plane.store.audit(1, 1000)).filter(({ act }) => act.endsWith('.local'));
    expect((await entries()).map(({ who, act, what, details }) => [who, act, what, details])).toEqual([
      [own.id, 'release.local', key, { reason: 'all  is down', by: 'uid:7', at: 5 }],
      [own.id, 'arm.local', key, { reason: 'all  is down', by: 'uid:7', at: 5 }],
    ]);
    again.send(local(...Array.from({ length: 101 }, () => ({}))));
    expect(await again.end()).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
  });

  test('is cut off when its identity or its certificate is revoked, and when its SVID is over', async () => {
    const plane = await planeOf();
    const [first, second, third] = [
      await plane.identity(1),
      await plane.identity(2),
      await plane.identity(3),
    ];
    const streams = [first, second, third].map((identity) => plane.proxy(identity));
    for (const stream of streams) await stateOf(stream);
    await plane.test.plane.revoking.revokeId(WHO, first.id, 'stolen');
    expect(await streams[0]?.end()).toMatchObject({ code: status.UNAUTHENTICATED });
    const [issued] = await plane.test.plane.store.issued({ spiffeId: second.id });
    await plane.test.plane.revoking.revokeSerial(WHO, issued?.serial ?? '', 'stolen');
    expect(await streams[1]?.end()).toMatchObject({ code: status.UNAUTHENTICATED });
    expect(await plane.proxy(first).end()).toMatchObject({ code: status.UNAUTHENTICATED });
    expect(streams[2]?.ended).toBeUndefined();
    await plane.timers.advance(3_600_000);
    expect(await streams[2]?.end()).toMatchObject({ code: status.UNAUTHENTICATED });
  });
});

describe('states', () => {
  let plane: EnforcementPlane;
  let own: TestIdentity;
  const open = async () => {
    plane = await planeOf();
    own = await plane.identity(1);
    return plane.proxy(own);
  };

  test('come at once and whenever they change: policy, stage, authentication', async () => {
    const proxy = await open();
    expect((await stateOf(proxy)).workloads).toEqual([
      { workload: own.id, authentication: 'permissive', stage: 'draft' },
    ]);
    const { rollouts } = plane.enforcing;
    await rollouts.apply(WHO, policy(own.id, '/a'));
    expect((await stateOf(proxy)).workloads).toMatchObject([{ stage: 'draft' }]);
    await rollouts.move(WHO, own.id, 'shadow');
    const shadow = await stateOf(proxy);
    expect(shadow.workloads).toMatchObject([{ stage: 'shadow', target: [{ metadata: { name: 'own' } }] }]);
    expect(shadow.workloads[0]?.enforced).toBeUndefined();
    await rollouts.move(WHO, own.id, 'canary', { share: 1 });
    expect((await stateOf(proxy)).workloads).toMatchObject([{ stage: 'canary', enforced: [{}] }]);
    await rollouts.move(WHO, own.id, 'enforced');
    expect((await stateOf(proxy)).workloads).toMatchObject([
      { stage: 'enforced', enforced: [{ metadata: { name: 'own' } }] },
    ]);
    await rollouts.authenticate(WHO, own.id, 'strict');
    expect((await stateOf(proxy)).workloads).toMatchObject([{ authentication: 'strict' }]);
  });

  test('of others are not sent, and versions only grow', async () => {
    const proxy = await open();
    const other = await plane.identity(2);
    const first = await stateOf(proxy);
    await plane.enforcing.rollouts.apply(WHO, policy(other.id, '/x'));
    await plane.enforcing.rollouts.apply(WHO, policy(own.id, '/a'));
    const second = await stateOf(proxy);
    expect(second.workloads.map(({ workload }) => workload)).toEqual([own.id]);
    expect(second.version).toBeGreaterThan(first.version);
    await plane.stop();
    await plane.timers.advance(1000);
    await plane.start();
    expect((await stateOf(plane.proxy(own))).version).toBeGreaterThan(second.version);
  });

  test('are confirmed or refused, and what was never sent cannot be confirmed', async () => {
    const proxy = await open();
    const { points } = plane.enforcing;
    const key = `${own.id}#a`;
    const changed = () =>
      new Promise<void>((resolve) => {
        const stop = points.subscribe(() => {
          stop();
          resolve();
        });
      });
    const { version } = await stateOf(proxy);
    proxy.apply(version + 5n);
    const confirmed = changed();
    proxy.apply(version);
    await confirmed;
    expect(points.get(key)).toMatchObject({
      applied: Number(version),
      wanted: Number(version),
      connected: true,
    });
    const { done } = await plane.enforcing.following(() =>
      plane.enforcing.rollouts.apply(WHO, policy(own.id, '/a')),
    );
    expect(done.created).toEqual(['own']);
    const next = await stateOf(proxy);
    const refused = changed();
    proxy.apply(next.version, 'invalid_document', 'no such thing');
    await refused;
    expect(points.get(key)).toMatchObject({
      applied: Number(version),
      fault: { code: 'invalid_document', message: 'no such thing' },
    });
    const left = changed();
    proxy.close();
    await left;
    expect(points.get(key)).toMatchObject({ connected: false, fault: { code: 'invalid_document' } });
  });

  test('a release reaches every stream, and proves who confirmed it', async () => {
    const proxy = await open();
    const others = [await plane.identity(2), await plane.identity(3)].map((identity) =>
      plane.proxy(identity),
    );
    const all = [proxy, ...others];
    for (const each of all) await stateOf(each);
    await plane.enforcing.rollouts.apply(WHO, policy(own.id, '/a'));
    for (const step of ['shadow', 'canary', 'enforced'] as const)
      await plane.enforcing.rollouts.move(WHO, own.id, step, step === 'canary' ? { share: 1 } : {});
    const order = { scope: { kind: 'all' }, reason: 'an incident' } as const;
    const { change } = await plane.enforcing.following(() => plane.enforcing.releases.press(WHO, order));
    const ask = async (each: TestProxy) => {
      for (;;) {
        const state = await stateOf(each);
        if (Number(state.version) === plane.enforcing.hub.version) return state;
      }
    };
    const states = await Promise.all(all.map(ask));
    expect(states[0]?.workloads[0]?.enforced).toBeUndefined();
    expect(states[0]?.workloads[0]?.released?.id).toMatch(/^rel-/);
    for (const [i, each] of all.entries()) if (i < 2) each.apply(states[i]?.version ?? 0n);
    const progress = await plane.enforcing.changes.wait(change, 1, 60_000);
    expect(progress.confirmed.map(({ point }) => point.identity)).toEqual([
      own.id,
      'spiffe://example.org/uid/2',
    ]);
    expect(progress.waiting.map(({ point }) => point.identity)).toEqual(['spiffe://example.org/uid/3']);
    all[2]?.apply(states[2]?.version ?? 0n);
    expect((await plane.enforcing.changes.wait(change, 2, 60_000)).waiting).toEqual([]);
    plane.enforcing.releases.arm(WHO);
    expect((await stateOf(proxy)).workloads).toMatchObject([{ stage: 'enforced', enforced: [{}] }]);
  });

  test('confirm nothing by a version that another control plane gave', async () => {
    await open();
    const proxy = plane.proxy(own, { instance: 'b', stateVersion: 2n ** 52n });
    const { version } = await stateOf(proxy);
    const key = `${own.id}#b`;
    expect(plane.enforcing.points.get(key)).toMatchObject({ applied: 0, wanted: Number(version) });
    const change = plane.enforcing.changes.follow(new Map([[key, Number(version)]]));
    proxy.apply(version);
    expect((await plane.enforcing.changes.wait(change, 0, 60_000)).confirmed).toHaveLength(1);
  });

  test('go to the newest stream of a proxy; that its former one ends says nothing', async () => {
    const proxy = await open();
    await stateOf(proxy);
    const next = plane.proxy(own);
    await stateOf(next);
    proxy.close();
    await plane.enforcing.rollouts.apply(WHO, policy(own.id, '/a'));
    expect((await stateOf(next)).workloads).toMatchObject([{ workload: own.id }]);
    expect(plane.enforcing.points.get(`${own.id}#a`)?.connected).toBe(true);
  });

  test('go to every connection of one name, and are confirmed when each has confirmed: a stolen identity takes no name', async () => {
    const proxy = await open();
    await stateOf(proxy);
    const thief = plane.proxy(own);
    const { points, changes } = plane.enforcing;
    const newest = async (each: TestProxy) => {
      for (;;) {
        const state = await stateOf(each);
        if (Number(state.version) === plane.enforcing.hub.version) return state;
      }
    };
    await newest(thief);
    const order = { scope: { kind: 'all' }, reason: 'an incident' } as const;
    const { change } = await plane.enforcing.following(() => plane.enforcing.releases.press(WHO, order));
    const { version } = await newest(thief);
    thief.apply(version);
    expect((await newest(proxy)).version).toBe(version);
    // An answer to what the thief sent after its confirmation: that has been read.
    thief.send({ case: 'report', value: reportWith(1, own.id, plane.timers.now()) });
    expect(await taken(thief)).toBe(1);
    expect(changes.progress(change).confirmed).toEqual([]);
    proxy.apply(version);
    expect((await changes.wait(change, 0, 60_000)).confirmed).toHaveLength(1);
    expect(points.get(`${own.id}#a`)?.connected).toBe(true);
    expect(plane.events).toContain(`fault ${own.id}#a`);
  });

  test('are of the workloads that each connection named: another one of its name takes none away', async () => {
    const node = 'spiffe://example.org/uid/1';
    plane = await planeOf({ nodeProxies: [node] });
    own = await plane.identity(1);
    const other = await plane.identity(2);
    const proxy = plane.proxy(own, { workloads: [own.id, other.id] });
    const named = async (each: TestProxy) => (await stateOf(each)).workloads.map(({ workload }) => workload);
    await named(proxy);
    const thief = plane.proxy(own);
    expect(await named(thief)).toEqual([own.id]);
    expect(await named(proxy)).toEqual([own.id, other.id]);
    await plane.enforcing.rollouts.apply(WHO, policy(other.id, '/a'));
    expect(await named(proxy)).toEqual([own.id, other.id]);
    expect(plane.enforcing.points.of(other.id)).toHaveLength(1);
  });

  test('beyond a few connections of one name the oldest is ended, and may come back', async () => {
    const first = await open();
    for (let i = 0; i < 4; i++) await stateOf(plane.proxy(own));
    expect(await first.end()).toMatchObject({ details: expect.stringContaining('connections') });
    expect((await stateOf(plane.proxy(own))).workloads).toHaveLength(1);
  });

  test('one identity cannot push the proxies of others out of memory', async () => {
    await open();
    const { own: points } = plane.enforcing;
    const made = { kind: 'proxy', identity: own.id, workloads: [own.id], version: 't' } as const;
    for (let i = 0; i < 2000; i++) points.connect({ ...made, instance: `i${i}` }, 0);
    expect(() => points.connect({ ...made, instance: 'more' }, 0)).toThrow(
      expect.objectContaining({ code: 'limit' }),
    );
    points.disconnect(`${own.id}#i0`);
    expect(points.connect({ ...made, instance: 'more' }, 0).connected).toBe(true);
    expect(points.get(`${own.id}#i0`)).toBeUndefined();
  });
});

describe('reports', () => {
  test('are taken once, over new streams and restarts, and are in the state that commands read', async () => {
    const plane = await planeOf();
    const own = await plane.identity(1);
    const now = plane.timers.now();
    let proxy = plane.proxy(own);
    await stateOf(proxy);
    for (const sequence of [1, 2]) proxy.send({ case: 'report', value: reportWith(sequence, own.id, now) });
    expect([await taken(proxy), await taken(proxy)]).toEqual([1, 2]);
    // The stream broke off before the proxy had read that: it sends both again, and one more.
    proxy.close();
    proxy = plane.proxy(own);
    await stateOf(proxy);
    for (const sequence of [1, 2, 3])
      proxy.send({ case: 'report', value: reportWith(sequence, own.id, now) });
    expect([await taken(proxy), await taken(proxy), await taken(proxy)]).toEqual([1, 2, 3]);
    expect(await callsKept(plane)).toBe(3);
    await plane.stop();
    await plane.start();
    proxy = plane.proxy(own);
    await stateOf(proxy);
    for (const sequence of [2, 3, 4])
      proxy.send({ case: 'report', value: reportWith(sequence, own.id, now) });
    expect([await taken(proxy), await taken(proxy), await taken(proxy)]).toEqual([2, 3, 4]);
    expect(await callsKept(plane)).toBe(4);
    const { evidence } = plane.enforcing;
    expect(evidence.flips({ to: own.id })).toMatchObject([{ count: 4 }]);
    expect(plane.faults).toEqual([]);
  });

  test('wait for a store that is held, and states and confirmations do not', async () => {
    const plane = await planeOf();
    const own = await plane.identity(1);
    const proxy = plane.proxy(own);
    await stateOf(proxy);
    const other = new DatabaseSync(join(plane.test.dir, STATE_FILE));
    other.exec('BEGIN IMMEDIATE');
    proxy.send({ case: 'report', value: reportWith(1, own.id, plane.timers.now()) });
    const { change } = await plane.enforcing.following(() =>
      plane.enforcing.rollouts.apply(WHO, policy(own.id, '/a')),
    );
    const { version } = await stateOf(proxy);
    proxy.apply(version);
    expect((await plane.enforcing.changes.wait(change, 0, 60_000)).confirmed).toHaveLength(1);
    other.exec('ROLLBACK');
    other.close();
    expect(await taken(proxy)).toBe(1);
    expect(await callsKept(plane)).toBe(1);
  });

  test('of a proxy that does not read what was taken are not read either', async () => {
    const plane = await planeOf();
    const own = await plane.identity(1);
    const proxy = plane.proxy(own);
    await stateOf(proxy);
    let read = 0;
    const { evidence } = plane.enforcing;
    vi.spyOn(evidence, 'take').mockImplementation(() => {
      read++;
      return Promise.resolve();
    });
    proxy.pause();
    const report = reportOf(1, {});
    let sent = 0;
    for (let behind = 0; behind < 2000 && sent < 60_000; behind = sent - read) {
      proxy.send({ case: 'report', value: report });
      sent++;
      await new Promise(setImmediate);
    }
    expect(sent).toBeLessThan(60_000);
    expect(proxy.ended).toBeUndefined();
  });

  test('of workloads that the proxy does not serve are refused whole', async () => {
    const plane = await planeOf();
    const [own, other] = [await plane.identity(1), await plane.identity(2)];
    const now = plane.timers.now();
    for (const field of ['accesses', 'flips', 'plaintext', 'unreached'] as const) {
      const proxy = plane.proxy(own);
      await stateOf(proxy);
      const entry =
        field === 'unreached'
          ? { workload: other.id }
          : field === 'accesses'
            ? accessAt(now, { to: other.id })
            : field === 'flips'
              ? flipAt(now, { to: other.id })
              : { to: other.id };
      proxy.send({
        case: 'report',
        value: reportOf(1, { accesses: [accessAt(now, { to: own.id })], [field]: [entry] }),
      });
      // Not again and again: it is told that this one is lost, and the next is taken.
      expect(await proxy.next('taken')).toMatchObject({
        sequence: 1n,
        code: 'forbidden',
        message: expect.stringContaining('does not serve'),
      });
      proxy.send({ case: 'report', value: reportOf(2, {}, 7) });
      expect(await proxy.next('taken')).toMatchObject({ sequence: 2n, code: '' });
      proxy.close();
    }
    expect(await callsKept(plane)).toBe(0);
  });

  test('that are too many at once end the stream, and a mark of another proxy is not believed', async () => {
    const plane = await planeOf();
    const own = await plane.identity(1);
    const now = plane.timers.now();
    const proxy = plane.proxy(own);
    await stateOf(proxy);
    for (let i = 1; i <= 50; i++) proxy.send({ case: 'report', value: reportWith(i, own.id, now) });
    expect(await proxy.end()).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    // The same epoch and numbers, said by another instance: they are its own.
    const kept = await callsKept(plane);
    const second = plane.proxy(own, { instance: 'b' });
    await stateOf(second);
    second.send({ case: 'report', value: reportWith(1, own.id, now) });
    expect(await taken(second)).toBe(1);
    expect((await callsKept(plane)) - kept).toBeGreaterThan(0);
  });
});
