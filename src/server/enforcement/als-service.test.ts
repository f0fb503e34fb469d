import { status } from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from 'vitest';
import { outcomesOf, type SpiffeId } from '../../access/index.ts';
import { type LogName, logName } from '../../engines/envoy/resources/index.ts';
import { readPolicies } from '../../policy/index.ts';
import { enforcementVersion } from '../../rollout/index.ts';
import { type Common, commonOf, httpOf, messageOf, rbac } from '../../sources/envoy/als/testing.ts';
import { openSqliteStore } from '../../store/index.ts';
import { WHO } from '../testing.test-helper.ts';
import { EnforcementPlane, type TestIdentity } from './enforcement.test-helper.ts';

let planes: EnforcementPlane[] = [];
async function open() {
  const plane = await EnforcementPlane.make();
  planes.push(plane);
  return { plane, own: await plane.identity(1) };
}
afterEach(async () => {
  for (const plane of planes) await plane.remove();
  planes = [];
});

const CALLER = 'spiffe://example.org/uid/9';

/** The first message of a stream, with requests that began at `at`. */
function first(
  own: TestIdentity,
  at: number,
  entries: readonly { path?: string; common?: Common; code?: number }[],
  over: Partial<LogName> & { node?: string } = {},
) {
  const { node = `${own.id}#a`, ...log } = over;
  const logEntry = entries.map(({ path = '/a', common = {}, code = 200 }) =>
    httpOf(
      {
        request: { requestMethod: 1, path },
        response: {
          responseCode: code,
          responseCodeDetails: code === 403 ? 'rbac_access_denied_matched_policy[none]' : 'via_upstream',
        },
      },
      {
        startTime: { seconds: BigInt(Math.floor(at / 1000)), nanos: 0 },
        tlsProperties: {
          tlsVersion: 4,
          peerCertificateProperties: { subjectAltName: [{ san: { case: 'uri', value: CALLER } }] },
        },
        ...common,
      } as Common,
    ),
  );
  return messageOf({
    identifier: {
      node: { id: node },
      logName: logName({ kind: 'requests', workload: own.id, port: 8080, ...log }),
    },
    logEntries: { case: 'httpLogs', value: { logEntry } },
  });
}

/** What is in the state once everything has been written. */
async function kept(plane: EnforcementPlane) {
  await plane.stop();
  const store = openSqliteStore(plane.test.dir);
  const accesses = await store.accesses();
  const recordings = await store.recordings();
  await store.close();
  return { accesses, recordings };
}

describe('access logs of an Envoy', () => {
  test('become evidence of its workload, with verdicts as flips', async () => {
    const { plane, own } = await open();
    const now = plane.timers.now();
    const flips: string[] = [];
    plane.enforcing.evidence.onFlip(({ refused }, { key }) => flips.push(`${key} ${refused}`));
    const logs = plane.logs(own);
    const wouldDeny = { metadata: rbac({ interlock_target_allow_shadow_engine_result: 'denied' }) };
    logs.send(first(own, now, [{}, {}, { path: '/b', common: wouldDeny }, { path: '/c', code: 403 }]));
    expect(await logs.finish()).toBeNull();
    const { evidence } = plane.enforcing;
    const { accesses, recordings } = await kept(plane);
    expect(
      accesses.map(({ from, to, action, evidence }) => [
        from,
        to,
        action.kind === 'http' && action.path,
        outcomesOf(evidence),
      ]),
    ).toEqual([
      [{ spiffeId: CALLER }, { spiffeId: own.id }, '/a', { ok: 2, error: 0, failed: 0, denied: 0 }],
      [{ spiffeId: CALLER }, { spiffeId: own.id }, '/b', { ok: 1, error: 0, failed: 0, denied: 0 }],
      [{ spiffeId: CALLER }, { spiffeId: own.id }, '/c', { ok: 0, error: 0, failed: 0, denied: 1 }],
    ]);
    expect(accesses[0]?.evidence).toMatchObject({ mutual: 2, plaintext: 0 });
    expect([...(accesses[0]?.evidence.sources ?? [])]).toEqual(['envoy']);
    expect(recordings).toMatchObject([{ format: 'envoy', read: 4, accepted: 4 }]);
    expect(flips).toEqual([`${own.id}#a false`, `${own.id}#a true`]);
    expect(evidence.flips({ to: own.id })).toHaveLength(2);
    expect(evidence.seen(`${own.id}#a`, own.id, now - 1000).requests).toBe(4);
  });

  test('carry the version of the target that judged: a route of an old one says nothing of the target of today', async () => {
    const { plane, own } = await open();
    const { rollouts, evidence } = plane.enforcing;
    const policy = (path: string) =>
      readPolicies(`
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: own }
spec:
  protects: { workload: ${own.id} }
  rules: [ { name: r, from: [ { workload: ${CALLER} } ], to: [ { http: { methods: [GET], paths: [${path}] } } ] } ]
`);
    await rollouts.apply(WHO, policy('/x'));
    const old = rollouts.get(own.id).targetVersion;
    await rollouts.apply(WHO, policy('/y'));
    const { targetVersion } = rollouts.get(own.id);
    const judged = (version: number | undefined, path: string) => ({
      path,
      common: {
        routeName: enforcementVersion(version, 'abc'),
        metadata: rbac({ interlock_target_allow_shadow_engine_result: 'denied' }),
      } as Common,
    });
    const logs = plane.logs(own);
    logs.send(first(own, plane.timers.now(), [judged(old, '/old'), judged(targetVersion, '/new')]));
    expect(await logs.finish()).toBeNull();
    await evidence.close();
    expect(evidence.flips({ to: own.id })).toMatchObject([{ action: { path: '/new' }, count: 1 }]);
  });

  test('of a connection in plain text name the caller', async () => {
    const { plane, own } = await open();
    const seconds = BigInt(Math.floor(plane.timers.now() / 1000));
    const logs = plane.logs(own);
    const entry = (ip: string) => ({
      commonProperties: commonOf({
        startTime: { seconds, nanos: 0 },
        tlsProperties: {},
        accessLogType: 3,
        downstreamRemoteAddress: { address: { case: 'socketAddress', value: { address: ip } } },
      }),
      connectionProperties: { receivedBytes: 7n },
    });
    logs.send(
      messageOf({
        identifier: {
          node: { id: `${own.id}#a` },
          logName: logName({ kind: 'accepted', workload: own.id, port: 8080 }),
        },
        logEntries: {
          case: 'tcpLogs',
          value: { logEntry: [entry('10.0.0.1'), entry('10.0.0.1'), entry('10.0.0.2')] },
        },
      }),
    );
    await logs.finish();
    const { evidence } = plane.enforcing;
    await kept(plane);
    expect(evidence.plaintextCallers(own.id, 0)).toMatchObject([
      { from: '10.0.0.1', port: 8080, connections: 2 },
      { from: '10.0.0.2', port: 8080, connections: 1 },
    ]);
  });

  test('that break off say so, and make nothing up', async () => {
    const { plane, own } = await open();
    const logs = plane.logs(own);
    const shown = new Promise<void>((resolve) => plane.enforcing.evidence.onFlip(() => resolve()));
    logs.send(first(own, plane.timers.now(), [{ code: 403 }]));
    await shown;
    logs.close();
    await expect
      .poll(async () => {
        const store = openSqliteStore(plane.test.dir);
        const [recording] = await store.recordings();
        await store.close();
        return recording?.skips.map(({ reason }) => reason);
      })
      .toEqual([expect.stringContaining('broke off')]);
    expect((await kept(plane)).recordings[0]?.lost).toEqual(new Map());
  });

  test('from a clock that is wrong cover no hour, and are counted as lost', async () => {
    const { plane, own } = await open();
    const now = plane.timers.now();
    const day = 86_400_000;
    const logs = plane.logs(own);
    logs.send(first(own, now + 3_600_000, [{}]));
    logs.send(
      first(own, now - 8 * day, [
        {},
        { common: { duration: { seconds: BigInt((8 * day) / 1000), nanos: 0 } } },
      ]),
    );
    logs.send(first(own, now + 5 * 60_000, [{}]));
    await logs.finish();
    const { recordings } = await kept(plane);
    expect(recordings).toMatchObject([{ accepted: 2, lost: new Map([[own.id, 2]]) }]);
    expect(recordings[0]?.lastSeen).toBeLessThanOrEqual(now);
    expect(recordings[0]?.firstSeen).toBeGreaterThan(now - 7 * day);
  });
});

describe('a stream of access logs', () => {
  test.each<[string, (plane: EnforcementPlane, own: TestIdentity, other: SpiffeId) => Buffer, number]>([
    [
      'of another workload',
      (plane, own, workload) => first(own, plane.timers.now(), [{}], { workload }),
      status.PERMISSION_DENIED,
    ],
    [
      'of no node',
      (plane, own) => first(own, plane.timers.now(), [{}], { node: 'x' }),
      status.INVALID_ARGUMENT,
    ],
    [
      'of a log that is not ours',
      () => messageOf({ identifier: { node: { id: 'spiffe://example.org/uid/1#a' }, logName: 'mine' } }),
      status.INVALID_ARGUMENT,
    ],
    ['that does not say whose it is', () => messageOf({}), status.INVALID_ARGUMENT],
    ['of other bytes', () => Buffer.from('GET / HTTP/1.1\r\n'), status.INVALID_ARGUMENT],
  ])('%s is refused', async (_, message, code) => {
    const { plane, own } = await open();
    const other = await plane.identity(2);
    const logs = plane.logs(own);
    logs.send(message(plane, own, other.id));
    expect(await logs.end()).toMatchObject({ code });
    expect((await kept(plane)).accesses).toEqual([]);
  });

  test('ends when its identity is revoked, and when its SVID is over', async () => {
    const { plane, own } = await open();
    const second = await plane.identity(2);
    const streams = [own, second].map((identity) => {
      const logs = plane.logs(identity);
      logs.send(first(identity, plane.timers.now(), [{ code: 403 }]));
      return logs;
    });
    await new Promise<void>((resolve) => {
      let n = 0;
      plane.enforcing.evidence.onFlip(() => ++n === 2 && resolve());
    });
    await plane.test.plane.revoking.revokeId(WHO, own.id, 'stolen');
    expect(await streams[0]?.end()).toMatchObject({ code: status.UNAUTHENTICATED });
    expect(streams[1]?.ended).toBeUndefined();
    await plane.timers.advance(3_600_000);
    expect(await streams[1]?.end()).toMatchObject({ code: status.UNAUTHENTICATED });
  });

  test('that sends more than its share waits for the next second', async () => {
    const { plane, own } = await open();
    const now = plane.timers.now();
    const logs = plane.logs(own);
    const many = Array.from({ length: 5000 }, () => ({}));
    const seen = () => plane.enforcing.evidence.seen(`${own.id}#a`, own.id, now - 60_000).requests;
    logs.send(first(own, now, many));
    for (let i = 0; i < 6; i++) logs.send(first(own, now, many));
    await expect.poll(seen).toBe(25_000);
    await plane.timers.advance(1000);
    await expect.poll(seen).toBe(35_000);
    expect(await logs.finish()).toBeNull();
  });
});
