import { describe, expect, test } from 'vitest';
import { container, controller, declared, json, livePod, read, service } from './fixtures.ts';

describe('pods', () => {
  const workloadOf = (...objects: object[]) => {
    const fact = read(json(...objects)).facts.find((f) => f.fact === 'pod');
    return fact?.fact === 'pod' ? `${fact.workloadKind ?? '?'} ${fact.workload}` : undefined;
  };
  const hash = { labels: { 'pod-template-hash': '5c7d8f9b6d' } };

  test('belong to the workload at the end of their chain of owners', () => {
    const set = {
      apiVersion: 'apps/v1',
      kind: 'ReplicaSet',
      metadata: { name: 'odd-name', namespace: 'shop', ...controller('Deployment', 'web') },
    };
    expect(workloadOf(livePod('p', controller('ReplicaSet', 'odd-name')), set)).toBe('Deployment web');
    const job = {
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'j', namespace: 'shop', ...controller('CronJob', 'nightly') },
    };
    expect(workloadOf(job, livePod('p', controller('Job', 'j')))).toBe('CronJob nightly');
    expect(workloadOf(livePod('p', controller('StatefulSet', 'db')))).toBe('StatefulSet db');
    expect(workloadOf(livePod('p', {}))).toBe('Pod p');
    expect(workloadOf(livePod('p', controller('StrimziPodSet', 'kafka')))).toBe('? kafka');
  });

  test('are followed by Kubernetes’ own naming where the link between is not in the file', () => {
    const ofSet = { ...controller('ReplicaSet', 'web-5c7d8f9b6d'), ...hash };
    expect(workloadOf(livePod('web-5c7d8f9b6d-abcde', ofSet))).toBe('Deployment web');
    expect(workloadOf(livePod('web-abcde', controller('ReplicaSet', 'web-5c7d8f9b6d')))).toBe(
      'ReplicaSet web-5c7d8f9b6d',
    );
    const minutes = Date.parse('2025-12-31T23:50:00Z') / 60_000;
    expect(workloadOf(livePod('p', controller('Job', `nightly-${minutes}`)))).toBe('CronJob nightly');
    expect(workloadOf(livePod('p', controller('Job', 'import-20251231')))).toBe('Job import-20251231');
    const mirror = livePod('kube-proxy-node1', controller('Node', 'node1'), {}, { nodeName: 'node1' });
    expect(workloadOf(mirror)).toBe('Pod kube-proxy');
  });

  test('hold their addresses from their start until they are over', () => {
    const [fact] = read(
      json(livePod('p', {}, { podIP: '10.0.0.1', podIPs: [{ ip: '10.0.0.1' }, { ip: 'fd00::1' }] })),
    ).facts;
    expect(fact).toMatchObject({
      ips: ['10.0.0.1', 'fd00::1'],
      start: Date.parse('2026-01-01T00:00:05Z'),
      uid: 'u-p',
    });
    expect(fact).not.toHaveProperty('end');
    const ends = (status: object, metadata: object = {}) => {
      const pod = read(json(livePod('p', metadata, status))).facts.find((f) => f.fact === 'pod');
      return pod?.fact === 'pod' && pod.end !== undefined ? new Date(pod.end).toISOString() : undefined;
    };
    const over = (finishedAt: string) => ({ state: { terminated: { finishedAt } } });
    const finished = { containerStatuses: [over('2026-01-01T01:00:00Z'), over('2026-01-01T02:00:00Z')] };
    expect(ends({ phase: 'Succeeded', ...finished })).toBe('2026-01-01T02:00:00.000Z');
    expect(ends({ phase: 'Running', ...finished })).toBeUndefined();
    expect(ends({ phase: 'Failed', conditions: [{ lastTransitionTime: '2026-01-01T03:00:00Z' }] })).toBe(
      '2026-01-01T03:00:00.000Z',
    );
    expect(ends({}, { deletionTimestamp: '2026-01-01T04:00:00Z' })).toBe('2026-01-01T04:00:00.000Z');
    expect(ends({ phase: 'Failed' })).toBe('2026-01-01T00:00:05.000Z');
  });

  test('attribute an address that two held at different times', () => {
    const first = livePod(
      'a',
      { ...controller('ReplicaSet', 'web-5c7d8f9b6d'), ...hash },
      {
        phase: 'Succeeded',
        containerStatuses: [{ state: { terminated: { finishedAt: '2026-01-01T01:00:00Z' } } }],
      },
    );
    const second = livePod('b', controller('StatefulSet', 'db'), { startTime: '2026-01-01T02:00:00Z' });
    const { directory } = read(json(first, second));
    const at = (time: string) =>
      directory.attribute('10.0.0.1', Date.parse(time), Date.parse(time))?.workload;
    expect(at('2026-01-01T00:30:00Z')).toBe('web');
    expect(at('2026-01-01T03:00:00Z')).toBe('db');
    expect(at('2026-01-01T01:30:00Z')).toBeUndefined();
    expect(at('2025-12-31T00:00:00Z')).toBeUndefined();
  });

  test('tell of their workload, with what it declares, where its manifest is not in the file', () => {
    const env = [{ name: 'A', value: 'cart:80' }];
    const pod = livePod(
      'web-5c7d8f9b6d-abcde',
      { ...controller('ReplicaSet', 'web-5c7d8f9b6d'), ...hash },
      {},
      {
        containers: [container({ env })],
      },
    );
    const cart = { ...service('cart'), metadata: { name: 'cart', namespace: 'shop' } };
    const result = read(json(pod, cart));
    expect(declared(result)).toEqual(['web -> ambiguous:8080']);
    expect([...result.directory.workloads()].map((w) => `${w.kind} ${w.name} ${w.serviceAccount}`)).toEqual([
      'Deployment web sa',
    ]);
    expect(result.directory.workload('shop', 'web')?.labels).toEqual({});
  });

  test('on the host’s network never have its address to themselves', () => {
    const pod = livePod(
      'agent',
      controller('DaemonSet', 'agent'),
      { podIPs: [{ ip: '192.168.0.1' }] },
      { hostNetwork: true },
    );
    const { directory } = read(json(pod));
    const at = Date.parse('2026-01-02T00:00:00Z');
    expect(directory.attribute('192.168.0.1', at, at)).toEqual({ entity: 'host', ip: '192.168.0.1' });
  });
});
