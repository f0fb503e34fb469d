import { afterEach, describe, expect, test } from 'vitest';
import {
  clusterOf,
  DeltaClient,
  endpointsOf,
  httpListenerOf,
  listenerOf,
  routesOf,
  type Served,
  served,
  shown,
} from './testing.test-helper.ts';

const open: Served[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.close();
});

async function fixture() {
  const made = await served();
  open.push(made);
  return { ...made, proxy: new DeltaClient(made.client) };
}

describe('delta: what is asked for', () => {
  test('a first request without names asks for everything; a name beside it, and neither without', async () => {
    const { source, proxy } = await fixture();
    source.set([clusterOf('a'), clusterOf('b')]);
    proxy.ask('cds');
    const all = await proxy.next();
    expect(shown(all)).toBe('cds: a b');
    proxy.ack(all);
    proxy.ask('cds', { resourceNamesSubscribe: ['a'] });
    // It is asked for again, so it is sent again.
    proxy.ack(await proxy.next());
    proxy.ask('cds', { resourceNamesUnsubscribe: ['*'] });
    expect(await proxy.soFar()).toEqual([]);
    source.set([clusterOf('a', 'new'), clusterOf('b', 'new')]);
    const one = await proxy.next();
    expect(shown(one)).toBe('cds: a');
    proxy.ack(one);
    proxy.ask('cds', { resourceNamesUnsubscribe: ['a', 'never asked for'] });
    expect(await proxy.soFar()).toEqual([]);
    source.set([clusterOf('a', 'newer'), clusterOf('b', 'newer')]);
    expect(await proxy.soFar()).toEqual([]);
  });

  test('a name that leaves the list while everything is asked for is sent again, or named as gone', async () => {
    const { source, proxy } = await fixture();
    source.set([clusterOf('a'), clusterOf('b')]);
    proxy.ask('cds', { resourceNamesSubscribe: ['*', 'a', 'missing'] });
    const first = await proxy.next();
    expect(shown(first)).toBe('cds: -missing a b');
    proxy.ack(first, { resourceNamesUnsubscribe: ['a'] });
    const kept = await proxy.next();
    expect(shown(kept)).toBe('cds: a');
    proxy.ack(kept, { resourceNamesUnsubscribe: ['missing'] });
    expect(shown(await proxy.next())).toBe('cds: -missing');
  });

  test('what is asked for and not there is said once to be gone, and sent when it comes', async () => {
    const { source, proxy } = await fixture();
    source.set([]);
    proxy.ask('eds', { resourceNamesSubscribe: ['later'] });
    const gone = await proxy.next();
    expect(shown(gone)).toBe('eds: -later');
    proxy.ack(gone);
    source.set([clusterOf('other')]);
    expect(await proxy.soFar()).toEqual([]);
    source.set([endpointsOf('later')]);
    expect(shown(await proxy.next())).toBe('eds: later');
  });

  test('a name that is asked for twice is sent twice, for the proxy may have forgotten it', async () => {
    const { source, proxy } = await fixture();
    source.set([endpointsOf('a')]);
    proxy.ask('eds', { resourceNamesSubscribe: ['a'] });
    proxy.ack(await proxy.next());
    proxy.ask('eds', { resourceNamesSubscribe: ['a'] });
    expect(shown(await proxy.next())).toBe('eds: a');
  });

  test('names count even where the nonce beside them is of an older answer, or none', async () => {
    const { source, proxy } = await fixture();
    source.set([endpointsOf('a'), endpointsOf('b')]);
    proxy.ask('eds', { resourceNamesSubscribe: ['a'] });
    const first = await proxy.next();
    proxy.ask('eds', { resourceNamesSubscribe: ['b'], responseNonce: 'of another stream' });
    expect(await proxy.soFar()).toEqual([]);
    proxy.ack(first);
    expect(shown(await proxy.next())).toBe('eds: b');
  });
});

describe('delta: what is sent', () => {
  test('only what changed, and the names of what is gone', async () => {
    const { source, proxy } = await fixture();
    source.set([listenerOf('a', 'x'), listenerOf('b', 'x'), listenerOf('c', 'x')]);
    proxy.ask('lds');
    proxy.ack(await proxy.next());
    source.set([listenerOf('a', 'x'), listenerOf('b', 'x', 'new')]);
    const next = await proxy.next();
    expect(shown(next)).toBe('lds: -c b');
    expect(next.resources[0]?.version).not.toBe('');
    expect(next.systemVersionInfo).not.toBe('');
  });

  test('a proxy that comes back is sent what differs from what it kept', async () => {
    const { source, proxy, client } = await fixture();
    source.set([listenerOf('same', 'x'), listenerOf('changed', 'x'), listenerOf('gone', 'x')]);
    proxy.ask('lds');
    const { resources } = await proxy.next();
    const initialResourceVersions = Object.fromEntries(resources.map(({ name, version }) => [name, version]));
    source.set([listenerOf('same', 'x'), listenerOf('changed', 'x', 'new'), listenerOf('new', 'x')]);
    const back = new DeltaClient(client);
    back.ask('lds', { initialResourceVersions });
    expect(shown(await back.next())).toBe('lds: -gone changed new');
  });

  test('a proxy that comes back with everything is sent nothing, and counts as confirmed', async () => {
    const { source, proxy, client, server } = await fixture();
    const snapshot = source.set([listenerOf('same', 'x')]);
    proxy.ask('lds');
    const [resource] = (await proxy.next()).resources;
    const confirmed = new Promise<number | undefined>((resolve) =>
      server.onStatus(({ state, confirmed }) => state === 'confirmed' && resolve(confirmed)),
    );
    const back = new DeltaClient(client);
    back.ask('lds', { initialResourceVersions: { same: resource?.version ?? '' } });
    expect(await confirmed).toBe(snapshot.version);
    expect(await back.soFar()).toEqual([]);
  });

  test('after a refusal nothing is sent until something changes, and then all that was refused', async () => {
    const { source, proxy } = await fixture();
    source.set([listenerOf('good', 'x'), listenerOf('bad', 'x', '1')]);
    proxy.ask('lds');
    proxy.nack(await proxy.next(), 'bad is bad');
    expect(await proxy.soFar()).toEqual([]);
    source.set([listenerOf('good', 'x'), listenerOf('bad', 'x', '1'), clusterOf('unrelated')]);
    expect(await proxy.soFar()).toEqual([]);
    source.set([listenerOf('good', 'x'), listenerOf('bad', 'x', '2')]);
    expect(shown(await proxy.next())).toBe('lds: bad good');
  });

  test('what was refused and is as before again is sent again', async () => {
    const { source, proxy } = await fixture();
    source.set([listenerOf('in', 'x', '1')]);
    proxy.ask('lds');
    proxy.ack(await proxy.next());
    source.set([listenerOf('in', 'x', 'bad')]);
    proxy.nack(await proxy.next(), 'bad');
    source.set([listenerOf('in', 'x', '1')]);
    expect(shown(await proxy.next())).toBe('lds: in');
  });
});

describe('delta: make before break', () => {
  test('endpoints go after their clusters, those after the routes, and those after the listeners', async () => {
    const { source, proxy } = await fixture();
    source.set([clusterOf('c'), endpointsOf('c'), httpListenerOf('in', 'r'), routesOf('r', 'c')]);
    proxy.ask('cds');
    proxy.ack(await proxy.next());
    proxy.ask('eds', { resourceNamesSubscribe: ['c'] });
    proxy.ack(await proxy.next());
    proxy.ask('lds');
    proxy.ack(await proxy.next());
    proxy.ask('rds', { resourceNamesSubscribe: ['r'] });
    proxy.ack(await proxy.next());
    source.set([]);
    for (const gone of ['lds: -in', 'rds: -r', 'cds: -c', 'eds: -c']) {
      const next = await proxy.next();
      expect(shown(next)).toBe(gone);
      proxy.ack(next);
    }
  });

  test('a proxy that comes back keeps its clusters until its listeners are those of today', async () => {
    const { source, proxy } = await fixture();
    source.set([clusterOf('new'), listenerOf('in', 'new')]);
    proxy.ask('cds', { initialResourceVersions: { old: 'v' } });
    proxy.ask('lds', { initialResourceVersions: { in: 'v' } });
    for (const expected of ['cds: new', 'lds: in', 'cds: -old']) {
      const next = await proxy.next();
      expect(shown(next)).toBe(expected);
      proxy.ack(next);
    }
  });

  test('the first answer of listeners is whole, for Envoy begins to work with it', async () => {
    const { source, proxy } = await fixture();
    source.set([clusterOf('a'), listenerOf('in', 'a'), listenerOf('other', 'elsewhere')]);
    proxy.ask('cds');
    const clusters = await proxy.next();
    proxy.ask('lds');
    expect(await proxy.soFar()).toEqual([]);
    proxy.ack(clusters);
    expect(shown(await proxy.next())).toBe('lds: in other');
  });
});
