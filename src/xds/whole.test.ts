import { fromBinary } from '@bufbuild/protobuf';
import { afterEach, describe, expect, test } from 'vitest';
import { endpoint } from '../proto/envoy/index.ts';
import {
  clusterOf,
  endpointsOf,
  httpListenerOf,
  listenerOf,
  routesOf,
  type Served,
  served,
  shown,
  WholeClient,
} from './testing.test-helper.ts';

const open: Served[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.close();
});

async function fixture() {
  const made = await served();
  open.push(made);
  return { ...made, proxy: new WholeClient(made.client) };
}

describe('state of the world: what is asked for', () => {
  test('a request without names asks for all listeners, and for all clusters', async () => {
    const { source, proxy } = await fixture();
    source.set([clusterOf('a'), clusterOf('b'), listenerOf('in', 'a')]);
    proxy.ask('cds');
    const answer = await proxy.next();
    expect(shown(answer)).toBe('cds: a b');
    proxy.ack(answer);
    proxy.ask('lds');
    expect(shown(await proxy.next())).toBe('lds: in');
  });

  test('without names nothing of the other types is asked for', async () => {
    const { source, proxy } = await fixture();
    source.set([endpointsOf('a')]);
    proxy.ask('eds');
    expect(await proxy.soFar()).toEqual([]);
  });

  test('after a name was given, an empty list takes it away, and "*" brings everything back', async () => {
    const { source, proxy } = await fixture();
    source.set([clusterOf('a'), clusterOf('b')]);
    proxy.ask('cds');
    const all = await proxy.next();
    proxy.ack(all, ['*', 'a']);
    proxy.ack(all, ['a']);
    proxy.ack(all, []);
    expect(await proxy.soFar()).toEqual([]);
    source.set([clusterOf('a', 'new'), clusterOf('b', 'new')]);
    expect(await proxy.soFar()).toEqual([]);
    proxy.ack(all, ['*']);
    expect(shown(await proxy.next())).toBe('cds: a b');
  });

  test('a name that was taken away and is asked for again is sent again', async () => {
    const { source, proxy } = await fixture();
    source.set([endpointsOf('a'), endpointsOf('b')]);
    proxy.ask('eds', ['a', 'b']);
    const both = await proxy.next();
    proxy.ack(both, ['b']);
    proxy.ack(both, ['a', 'b']);
    expect(shown(await proxy.next())).toBe('eds: a');
  });

  test('what is not there is remembered, and sent when it comes', async () => {
    const { source, proxy } = await fixture();
    source.set([]);
    proxy.ask('rds', ['later']);
    expect(await proxy.soFar()).toEqual([]);
    source.set([routesOf('later', 'a')]);
    expect(shown(await proxy.next())).toBe('rds: later');
  });

  test('an estate without clusters is said to be so, for Envoy waits for the first answer', async () => {
    const { source, proxy } = await fixture();
    source.set([]);
    proxy.ask('cds');
    expect(shown(await proxy.next())).toBe('cds: ');
  });

  test('a request that comes before the first snapshot is answered with it', async () => {
    const { source, proxy, server } = await fixture();
    const connected = Promise.withResolvers<void>();
    server.onStatus(() => connected.resolve());
    proxy.ask('cds');
    await connected.promise;
    source.set([clusterOf('a')]);
    expect(shown(await proxy.next())).toBe('cds: a');
  });

  test('a type that is not served stays unanswered, and is told once', async () => {
    const { source, proxy, events } = await fixture();
    source.set([]);
    for (let i = 0; i < 3; i++)
      proxy.ask('cds', [], { typeUrl: 'type.googleapis.com/envoy.service.runtime.v3.Runtime' });
    expect(await proxy.soFar()).toEqual([]);
    expect(events.filter(({ event }) => event === 'ignored-type')).toHaveLength(1);
  });
});

describe('state of the world: what is sent', () => {
  test('an answer of clusters holds all of them, one of endpoints only what changed', async () => {
    const { source, proxy } = await fixture();
    source.set([clusterOf('a'), clusterOf('b'), endpointsOf('a'), endpointsOf('b')]);
    proxy.ask('cds');
    const clusters = await proxy.next();
    proxy.ask('eds', ['a', 'b']);
    const endpoints = await proxy.next();
    expect(shown(endpoints)).toBe('eds: a b');
    proxy.ack(endpoints, ['a', 'b']);
    source.set([clusterOf('a'), clusterOf('b'), endpointsOf('a', 1), endpointsOf('b')]);
    const changed = await proxy.next();
    expect(shown(changed)).toBe('eds: a');
    const [any] = changed.resources;
    expect(
      fromBinary(endpoint.ClusterLoadAssignmentSchema, any?.value ?? new Uint8Array()).endpoints[0]?.priority,
    ).toBe(1);
    proxy.ack(clusters);
    source.set([
      clusterOf('a'),
      clusterOf('b', 'new', { isEds: false }),
      endpointsOf('a', 1),
      endpointsOf('b'),
    ]);
    expect(shown(await proxy.next())).toBe('cds: a b');
  });

  test('the endpoints of a cluster that changed are sent again, for it waits for them', async () => {
    const { source, proxy } = await fixture();
    source.set([clusterOf('a'), clusterOf('b'), endpointsOf('a'), endpointsOf('b')]);
    proxy.ask('cds');
    proxy.ack(await proxy.next());
    proxy.ask('eds', ['a', 'b']);
    proxy.ack(await proxy.next(), ['a', 'b']);
    source.set([clusterOf('a', 'new'), clusterOf('b'), endpointsOf('a'), endpointsOf('b')]);
    expect(shown(await proxy.next())).toBe('cds: a b');
    expect(shown(await proxy.next())).toBe('eds: a');
  });

  test('one answer of a type is under way at a time, and the newest snapshot follows it', async () => {
    const { source, proxy } = await fixture();
    source.set([clusterOf('a', '1')]);
    proxy.ask('cds');
    const first = await proxy.next();
    source.set([clusterOf('a', '2')]);
    source.set([clusterOf('a', '3'), clusterOf('b')]);
    expect(await proxy.soFar()).toEqual([]);
    proxy.ack(first);
    const second = await proxy.next();
    expect(shown(second)).toBe('cds: a b');
    proxy.ack(second);
    expect(await proxy.soFar()).toEqual([]);
  });

  test('a request with a nonce that is not the last one changes nothing', async () => {
    const { source, proxy } = await fixture();
    source.set([clusterOf('a')]);
    proxy.ask('cds');
    const first = await proxy.next();
    proxy.ask('cds', ['other'], { responseNonce: 'stale', versionInfo: first.versionInfo });
    source.set([clusterOf('a', 'new')]);
    expect(await proxy.soFar()).toEqual([]);
    proxy.ack(first);
    expect(shown(await proxy.next())).toBe('cds: a');
  });

  test('a proxy that comes back with the version of today is sent nothing, and counts as confirmed', async () => {
    const { source, proxy, client, server } = await fixture();
    source.set([clusterOf('a', '', { isEds: false })]);
    proxy.ask('cds');
    const { versionInfo } = await proxy.next();
    const back = new WholeClient(client, 'two');
    back.ask('cds', [], { versionInfo });
    expect(await back.soFar()).toEqual([]);
    const again = new WholeClient(client, 'three');
    again.ask('cds', [], { versionInfo: 'of yesterday' });
    expect(shown(await again.next())).toBe('cds: a');
    const states = server.statuses().map(({ node, perType }) => [node.id, perType.get('cds')?.accepted]);
    expect(states).toContainEqual(['two', versionInfo]);
    expect(states).toContainEqual(['three', undefined]);
  });

  test('after a refusal nothing is sent of the type until it changes', async () => {
    const { source, proxy } = await fixture();
    source.set([clusterOf('a', 'bad')]);
    proxy.ask('cds');
    const bad = await proxy.next();
    proxy.nack(bad, 'no such thing');
    proxy.nack(bad, 'no such thing');
    expect(await proxy.soFar()).toEqual([]);
    source.set([clusterOf('a', 'bad'), listenerOf('in', 'x')]);
    expect(await proxy.soFar()).toEqual([]);
    source.set([clusterOf('a', 'good')]);
    expect(shown(await proxy.next())).toBe('cds: a');
  });

  test('an endpoint that was refused goes along with the next change of another', async () => {
    const { source, proxy } = await fixture();
    source.set([endpointsOf('a', 1), endpointsOf('b', 1)]);
    proxy.ask('eds', ['a', 'b']);
    proxy.nack(await proxy.next(), 'a is bad', ['a', 'b']);
    source.set([endpointsOf('a', 1), endpointsOf('b', 2)]);
    expect(shown(await proxy.next())).toBe('eds: a b');
  });
});

describe('state of the world: make before break', () => {
  test('a listener comes once the proxy has judged the cluster it refers to', async () => {
    const { source, proxy } = await fixture();
    source.set([clusterOf('a'), endpointsOf('a'), listenerOf('in', 'a')]);
    proxy.ask('cds');
    proxy.ask('lds');
    const clusters = await proxy.next();
    expect(shown(clusters)).toBe('cds: a');
    // The endpoints for which the cluster warms do not wait.
    proxy.ask('eds', ['a']);
    expect(await proxy.soFar()).toEqual(['eds: a']);
    proxy.ack(clusters);
    expect(shown(await proxy.next())).toBe('lds: in');
  });

  test('a cluster goes only after the listeners and routes that used it have been confirmed without it', async () => {
    const { source, proxy } = await fixture();
    source.set([clusterOf('old'), httpListenerOf('in', 'r'), routesOf('r', 'old')]);
    proxy.ask('cds');
    proxy.ack(await proxy.next());
    proxy.ask('lds');
    proxy.ack(await proxy.next());
    proxy.ask('rds', ['r']);
    proxy.ack(await proxy.next(), ['r']);
    source.set([clusterOf('new'), httpListenerOf('in', 'r'), routesOf('r', 'new')]);
    const both = await proxy.next();
    expect(shown(both)).toBe('cds: new old');
    proxy.ack(both);
    const routes = await proxy.next();
    expect(shown(routes)).toBe('rds: r');
    proxy.ack(routes, ['r']);
    expect(shown(await proxy.next())).toBe('cds: new');
  });

  test('a refused listener keeps the clusters of the one before', async () => {
    const { source, proxy } = await fixture();
    source.set([clusterOf('old'), listenerOf('in', 'old')]);
    proxy.ask('cds');
    proxy.ack(await proxy.next());
    proxy.ask('lds');
    const accepted = await proxy.next();
    proxy.ack(accepted);
    source.set([clusterOf('new'), listenerOf('in', 'new')]);
    proxy.ack(await proxy.next());
    proxy.nack(await proxy.next(), 'bad listener', [], accepted.versionInfo);
    expect(await proxy.soFar()).toEqual([]);
    source.set([clusterOf('new'), listenerOf('in', 'new', 'good')]);
    proxy.ack(await proxy.next());
    expect(shown(await proxy.next())).toBe('cds: new');
  });

  test('a listener that needs no new cluster does not wait for one that is slow to warm', async () => {
    const { source, proxy } = await fixture();
    source.set([clusterOf('a'), listenerOf('in', 'a')]);
    proxy.ask('cds');
    proxy.ack(await proxy.next());
    proxy.ask('lds');
    proxy.ack(await proxy.next());
    source.set([
      clusterOf('a'),
      clusterOf('slow'),
      listenerOf('in', 'a', 'released'),
      listenerOf('out', 'slow'),
    ]);
    expect(shown(await proxy.next())).toBe('cds: a slow');
    const first = await proxy.next();
    expect(shown(first)).toBe('lds: in');
    expect(await proxy.soFar()).toEqual([]);
  });

  test('a listener waits for a silent proxy no longer than the gate', async () => {
    const { source, proxy, clock } = await fixture();
    source.set([clusterOf('a'), listenerOf('in', 'a')]);
    proxy.ask('cds');
    proxy.ask('lds');
    expect(shown(await proxy.next())).toBe('cds: a');
    expect(await proxy.soFar()).toEqual([]);
    clock.advance(5000);
    expect(shown(await proxy.next())).toBe('lds: in');
  });

  test('clusters that never warm are mended by a newer answer, once the gate has been waited for', async () => {
    const { source, proxy, clock, server } = await fixture();
    source.set([clusterOf('stuck')]);
    proxy.ask('cds');
    const stuck = await proxy.next();
    source.set([clusterOf('mended')]);
    expect(await proxy.soFar()).toEqual([]);
    clock.advance(5000);
    const mended = await proxy.next();
    expect(shown(mended)).toBe('cds: mended');
    // The late word on the first is not one on the second.
    proxy.ack(stuck);
    expect(await proxy.soFar()).toEqual([]);
    expect(server.statuses()[0]?.perType.get('cds')?.accepted).toBeUndefined();
    const confirmed = new Promise((resolve) =>
      server.onStatus(({ state }) => state === 'confirmed' && resolve(undefined)),
    );
    proxy.ack(mended);
    await confirmed;
  });
});
