import { describe, expect, test } from 'vitest';
import type { Action } from '../action.ts';
import { buildGraph } from './build-graph.ts';
import type { Endpoint } from '../endpoint.ts';
import { callsThatReached, HOUR_MS } from '../evidence.ts';
import { workload } from '../inventory/facts.test-helper.ts';
import type { Fact, ServiceFact } from '../inventory/facts.ts';
import { principalText } from '../principal.ts';
import { Tally } from '../tally.ts';
import type { Side } from '../tally-access.ts';

const T0 = Date.UTC(2026, 9, 19);

function service(name: string, port = 80, targetPort = 8080): ServiceFact {
  const selector = { app: name };
  return {
    fact: 'service',
    namespace: 'shop',
    name,
    clusterIps: [],
    selector,
    ports: [{ port, targetPort }],
  };
}

const end = (name: string): Endpoint => ({ namespace: 'shop', workload: name });
const get = (path: string, port = 8080): Action => ({ kind: 'http', port, method: 'GET', path });

interface Call {
  from: Endpoint;
  to: Endpoint;
  action: Action;
  side?: Side;
  source?: string;
  hour?: number;
  n?: number;
}

function graphOf(calls: readonly Call[], facts: readonly Fact[] = []) {
  const tallies = new Map<string, Tally>();
  for (const { from, to, action, side = 'callee', source = 'envoy', hour = 0, n = 1 } of calls) {
    const tally = tallies.get(source) ?? new Tally(source);
    tallies.set(source, tally);
    tally.access(from, to, action, side).add(T0 + hour * HOUR_MS, 'ok', 'pod-1', n);
  }
  const accesses = [...tallies.values()].flatMap((tally) => [...tally.accesses()]);
  return buildGraph({ trustDomain: 'example.org', accesses, blindSpots: [], facts, events: 0, lost: 0 });
}

const rows = (graph: ReturnType<typeof graphOf>) =>
  graph.accesses.map((a) => [
    principalText(a.from).replace('spiffe://example.org/ns/shop/sa/', ''),
    principalText(a.to).replace('spiffe://example.org/ns/shop/sa/', ''),
    a.action,
    a.views.join(),
    callsThatReached(a.evidence),
  ]);

describe('the graph', () => {
  test('a call seen from both sides counts once, and the callee is believed', () => {
    const call = { from: end('web'), to: end('cart'), action: get('/x') };
    const graph = graphOf([
      { ...call, side: 'caller', n: 12 },
      { ...call, side: 'callee', n: 10 },
      { ...call, side: 'caller', hour: 1, n: 5 },
    ]);
    expect(rows(graph)).toEqual([['web', 'cart', get('/x'), 'observed', 15]]);
  });

  test('two sources that saw the same calls are not added up', () => {
    const call = { from: end('web'), to: end('cart'), action: get('/x') };
    const graph = graphOf([
      { ...call, source: 'otlp', n: 7 },
      { ...call, source: 'envoy', n: 9 },
    ]);
    expect(rows(graph)).toEqual([['web', 'cart', get('/x'), 'observed', 9]]);
    expect([...(graph.accesses[0]?.evidence.sources ?? [])].toSorted()).toEqual(['envoy', 'otlp']);
  });

  test('a SPIFFE ID and a workload name that mean the same workload give one access', () => {
    const to = end('cart');
    const graph = graphOf(
      [
        { from: { spiffeId: 'spiffe://example.org/ns/shop/sa/web' }, to, action: get('/x') },
        { from: end('web'), to, action: get('/x'), hour: 1 },
      ],
      [workload('web'), workload('cart')],
    );
    expect(rows(graph)).toEqual([['web', 'cart', get('/x'), 'observed', 2]]);
  });

  test('workloads under one service account are kept apart, and the sharing is reported', () => {
    const shared = { serviceAccount: 'default' };
    const graph = graphOf(
      [{ from: end('web'), to: end('cart'), action: get('/x') }],
      [workload('web', shared), workload('cart', shared)],
    );
    expect(rows(graph)).toEqual([['web', 'cart', get('/x'), 'observed', 1]]);
    expect(graph.sharedAccounts).toEqual([
      { namespace: 'shop', serviceAccount: 'default', workloads: ['cart', 'web'] },
    ]);
  });

  test('a port that the recording does not state is the one that the Services lead to', () => {
    const graph = graphOf(
      [{ from: end('web'), to: end('cart'), action: get('/x', 0) }],
      [workload('web'), workload('cart'), service('cart')],
    );
    expect(rows(graph)).toEqual([['web', 'cart', get('/x', 8080), 'observed', 1]]);
  });

  test("a Service's port becomes the container's", () => {
    const graph = graphOf(
      [{ from: end('web'), to: { namespace: 'shop', host: 'cart' }, action: get('/x', 80) }],
      [workload('web'), workload('cart'), service('cart')],
    );
    expect(rows(graph)).toEqual([['web', 'cart', get('/x', 8080), 'observed', 1]]);
  });

  test('what is declared and never observed is an access of its own; what is observed carries both views', () => {
    const declares = ['cart', 'mail'].map((host) => ({
      host,
      port: 80,
      where: `env ${host} of container web`,
      by: 'container' as const,
    }));
    const graph = graphOf(
      [{ from: end('web'), to: end('cart'), action: get('/x') }],
      [workload('web', { declares }), workload('cart'), workload('mail'), service('cart'), service('mail')],
    );
    expect(rows(graph)).toEqual([
      ['web', 'cart', get('/x'), 'declared,observed', 1],
      ['web', 'mail', { kind: 'tcp', port: 8080 }, 'declared', 0],
    ]);
    expect(graph.accesses[1]?.declared).toEqual(['env mail of container web in Deployment web']);
  });

  test('a declaration that could mean several workloads is a blind spot, and a probe is no call of the workload', () => {
    const declares = (['container', 'probe'] as const).map((by, i) => ({
      host: i === 0 ? 'both' : 'cart',
      port: 80,
      where: `env ${i}`,
      by,
    }));
    const graph = graphOf(
      [],
      [
        workload('web', { declares }),
        workload('cart'),
        service('cart'),
        workload('a', { labels: { side: 'b' } }),
        workload('c', { labels: { side: 'b' } }),
        { ...service('both'), selector: { side: 'b' } },
      ],
    );
    expect(graph.accesses).toEqual([]);
    expect(graph.blindSpots).toEqual([expect.objectContaining({ kind: 'ambiguous-callee', count: 1 })]);
  });

  test('connections beside requests are their transport; hours without a request are a blind spot', () => {
    const tcp = { from: end('web'), to: end('cart'), action: { kind: 'tcp', port: 8080 } as const };
    const graph = graphOf([
      { from: end('web'), to: end('cart'), action: get('/x') },
      { ...tcp, source: 'hubble', n: 3 },
      { ...tcp, source: 'hubble', hour: 5, n: 4 },
      { ...tcp, from: end('job'), source: 'hubble' },
    ]);
    expect(rows(graph)).toEqual([
      ['job', 'cart', { kind: 'tcp', port: 8080 }, 'observed', 1],
      ['web', 'cart', get('/x'), 'observed', 1],
    ]);
    expect(graph.blindSpots).toEqual([expect.objectContaining({ kind: 'l4-only', count: 4 })]);
  });

  test('a Service of several workloads is nobody: the access is kept, and named as a blind spot', () => {
    const graph = graphOf(
      [{ from: end('web'), to: { namespace: 'shop', host: 'both' }, action: get('/x', 80) }],
      [
        workload('web'),
        workload('a', { labels: { side: 'b' } }),
        workload('c', { labels: { side: 'b' } }),
        { ...service('both'), selector: { side: 'b' } },
      ],
    );
    expect(graph.accesses.map((a) => a.to.kind)).toEqual(['unauthenticated']);
    expect(graph.blindSpots).toEqual([expect.objectContaining({ kind: 'ambiguous-callee', count: 1 })]);
  });

  test('the order of the records does not matter', () => {
    const calls: Call[] = [
      { from: end('web'), to: end('cart'), action: get('/x'), n: 3 },
      { from: end('web'), to: end('cart'), action: get('/x'), side: 'caller', hour: 2 },
      { from: { ip: '10.0.0.9' }, to: end('cart'), action: get('/y'), source: 'hubble' },
      { from: end('web'), to: end('mail'), action: { kind: 'tcp', port: 25 }, source: 'hubble' },
    ];
    const facts = [workload('web'), workload('cart'), service('cart')];
    expect(graphOf(calls.toReversed(), facts.toReversed())).toEqual(graphOf(calls, facts));
  });
});
