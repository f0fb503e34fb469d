import { EventEmitter } from 'node:events';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from 'vitest';
import { InterlockError, parseSpiffeId } from '../access/index.ts';
import { discovery } from '../proto/envoy/index.ts';
import type { ProxyStatus } from './proxies.ts';
import {
  clusterOf,
  DeltaClient,
  httpListenerOf,
  listenerOf,
  routesOf,
  type Served,
  served,
  type ServedOptions,
  WEB,
  WholeClient,
} from './testing.test-helper.ts';
import { type Kind, typeOfKind } from './types.ts';

const open: Served[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.close();
});

async function fixture(options: ServedOptions = {}) {
  const made = await served(options);
  open.push(made);
  const changes: ProxyStatus[] = [];
  const waiting: { is: (status: ProxyStatus) => boolean; resolve: (status: ProxyStatus) => void }[] = [];
  made.server.onStatus((status) => {
    changes.push(status);
    for (const { is, resolve } of waiting) if (is(status)) resolve(status);
  });
  /** The first status, from now on, of which this is true. */
  const until = (is: (status: ProxyStatus) => boolean) =>
    new Promise<ProxyStatus>((resolve) => waiting.push({ is, resolve }));
  return { ...made, changes, until, proxy: new WholeClient(made.client) };
}

const inState = (state: string) => (status: ProxyStatus) => status.state === state;

describe('what is known of a proxy', () => {
  test('it has confirmed a snapshot once it accepted everything of it', async () => {
    const { source, proxy, until, server, clock } = await fixture();
    const { version } = source.set([clusterOf('a', '', { isEds: false }), listenerOf('in', 'a')]);
    proxy.ask('cds');
    proxy.ack(await proxy.next());
    expect(await proxy.soFar()).toEqual([]);
    // Its listeners are what enforces: without them nothing is confirmed.
    expect(server.statuses()[0]).toMatchObject({ state: 'waiting', snapshot: version });
    const confirmed = until(inState('confirmed'));
    proxy.ask('lds');
    const answer = await proxy.next();
    clock.advance(40);
    proxy.ack(answer);
    const status = await confirmed;
    expect(status).toMatchObject({ confirmed: version, protocol: 'whole', since: clock.now() });
    expect(status.node).toMatchObject({ spiffeId: WEB, id: 'one', cluster: 'c', userAgent: 'test' });
    expect(status.perType.get('lds')).toEqual({ sent: answer.versionInfo, accepted: answer.versionInfo });
    expect(server.confirmations(version)).toMatchObject([{ at: clock.now(), state: 'confirmed' }]);
    expect(server.confirmations(version + 1)).toEqual([{ node: status.node, state: 'confirmed' }]);
  });

  test('a listener whose routes were not asked for is not confirmed', async () => {
    const { source, proxy, until, server } = await fixture();
    source.set([httpListenerOf('in', 'r'), routesOf('r', 'static')]);
    proxy.ask('lds');
    proxy.ack(await proxy.next());
    expect(await proxy.soFar()).toEqual([]);
    expect(server.statuses()[0]?.state).toBe('waiting');
    const confirmed = until(inState('confirmed'));
    proxy.ask('rds', ['r']);
    proxy.ack(await proxy.next(), ['r']);
    await confirmed;
  });

  test('a snapshot that changes nothing for it is confirmed at once', async () => {
    const { source, proxy, until } = await fixture();
    source.set([listenerOf('in', 'a')]);
    const first = until(inState('confirmed'));
    proxy.ask('lds');
    proxy.ack(await proxy.next());
    await first;
    const second = until(({ confirmed }) => confirmed === 2);
    source.set([listenerOf('in', 'a')]);
    expect((await second).state).toBe('confirmed');
  });

  test.each(['whole', 'delta'] as const)(
    'a drill is answered, though nothing changes (%s)',
    async (protocol) => {
      const { source, client, until, server } = await fixture();
      source.set([listenerOf('in', 'a')]);
      const first = until(inState('confirmed'));
      const proxy = protocol === 'whole' ? new WholeClient(client) : new DeltaClient(client);
      proxy.ask('lds');
      proxy.ack((await proxy.next()) as never);
      await first;
      const { version } = source.set([listenerOf('in', 'a')], { prove: true });
      const answer = await proxy.next();
      expect(server.confirmations(version)[0]?.at).toBeUndefined();
      const proven = until(({ confirmed }) => confirmed === version);
      proxy.ack(answer as never);
      await proven;
    },
  );

  test('a refusal stands with the words of the proxy, and beside it what it still has', async () => {
    const { source, proxy, until, clock, events } = await fixture();
    source.set([listenerOf('in', 'a', '1')]);
    proxy.ask('lds');
    const good = await proxy.next();
    const before = until(inState('confirmed'));
    proxy.ack(good);
    await before;
    source.set([listenerOf('in', 'a', 'bad')]);
    const refused = until(inState('refused'));
    const bad = await proxy.next();
    proxy.nack(bad, `Error adding/updating listener in: ${'x'.repeat(5000)}`, [], good.versionInfo);
    const status = await refused;
    expect(status.confirmed).toBe(1);
    const listeners = status.perType.get('lds');
    expect(listeners).toMatchObject({
      accepted: good.versionInfo,
      refused: { version: bad.versionInfo, at: clock.now() },
    });
    expect(listeners?.refused?.message).toHaveLength(2000);
    expect(events.find(({ event }) => event === 'refused')?.detail).toMatch(/^lds: Error adding/);
    const mended = until(inState('confirmed'));
    source.set([listenerOf('in', 'a', '2')]);
    proxy.ack(await proxy.next());
    expect((await mended).perType.get('lds')?.refused).toBeUndefined();
  });

  test('a proxy that keeps its version without a word has refused too', async () => {
    const { source, proxy, until } = await fixture();
    source.set([listenerOf('in', 'a')]);
    proxy.ask('lds');
    const answer = await proxy.next();
    const refused = until(inState('refused'));
    proxy.ack({ ...answer, versionInfo: 'older' });
    expect((await refused).perType.get('lds')?.refused?.message).toMatch(/gave no reason.*"older"/);
  });

  test('a change of names after a refusal is no acceptance', async () => {
    const { source, proxy, server } = await fixture();
    source.set([routesOf('r', 'a')]);
    proxy.ask('rds', ['r']);
    const bad = await proxy.next();
    proxy.nack(bad, 'bad', ['r']);
    proxy.ask('rds', ['r', 's'], { responseNonce: bad.nonce, versionInfo: bad.versionInfo });
    expect(await proxy.soFar()).toEqual([]);
    expect(server.statuses()[0]?.state).toBe('refused');
  });

  test('a proxy that never answers is reported, and again when it does', async () => {
    const { source, proxy, until, clock } = await fixture();
    source.set([listenerOf('in', 'a')]);
    proxy.ask('lds');
    const answer = await proxy.next();
    const late = until(inState('unconfirmed'));
    clock.advance(10_000);
    expect((await late).since).toBe(clock.now());
    const confirmed = until(inState('confirmed'));
    proxy.ack(answer);
    await confirmed;
  });

  test('a proxy that left is remembered for a day, with what it confirmed', async () => {
    const { source, proxy, until, clock, server } = await fixture();
    const { version } = source.set([listenerOf('in', 'a')]);
    const confirmed = until(inState('confirmed'));
    proxy.ask('lds');
    proxy.ack(await proxy.next());
    await confirmed;
    const left = until(inState('left'));
    proxy.end();
    await left;
    expect(source.streams.size).toBe(0);
    expect(server.statuses()).toMatchObject([{ state: 'left', confirmed: version }]);
    expect(server.confirmations(version)[0]?.at).toBe(clock.now());
    clock.advance(24 * 3600 * 1000);
    expect(server.statuses()).toEqual([]);
  });

  test('a proxy that comes back over a new stream is one proxy', async () => {
    const { source, proxy, until, client, server } = await fixture();
    source.set([listenerOf('in', 'a')]);
    proxy.ask('lds');
    await proxy.next();
    const left = until(inState('left'));
    proxy.cancel();
    await left;
    const back = new WholeClient(client);
    back.ask('lds');
    await back.next();
    expect(server.statuses().map(({ state }) => state)).toEqual(['waiting']);
  });

  test('no more than so many of those that left are remembered', async () => {
    const { source, until, client, server } = await fixture({ limits: { left: 2 } });
    source.set([listenerOf('in', 'a')]);
    for (const id of ['1', '2', '3']) {
      const proxy = new WholeClient(client, id);
      proxy.ask('lds');
      await proxy.next();
      const left = until(({ state, node }) => state === 'left' && node.id === id);
      proxy.end();
      await left;
    }
    expect(server.statuses().map(({ node }) => node.id)).toEqual(['2', '3']);
  });
});

describe('who may have a stream', () => {
  const failure = (proxy: WholeClient) =>
    proxy.next().then(String, (error: { code: number; details: string }) => error);

  test('a caller without an identity has none', async () => {
    const { client } = await fixture({
      identify: () => {
        throw new InterlockError('untrusted', 'peer', 'this call needs a certificate');
      },
    });
    const proxy = new WholeClient(client);
    proxy.ask('lds');
    expect(await failure(proxy)).toMatchObject({
      code: status.UNAUTHENTICATED,
      details: 'this call needs a certificate',
    });
  });

  test('the source may refuse a node; a fault of its own says nothing of itself', async () => {
    const faults = [
      new InterlockError('forbidden', 'one', 'the node is of another identity'),
      new Error('secret'),
    ];
    const { client, server } = await fixture({
      source: {
        open: () => {
          throw faults.shift();
        },
      },
    });
    const expected = [
      { code: status.PERMISSION_DENIED, details: 'the node is of another identity' },
      { code: status.INTERNAL, details: 'a fault of the control plane' },
    ];
    for (const error of expected) {
      const proxy = new WholeClient(client);
      proxy.ask('lds');
      expect(await failure(proxy)).toMatchObject(error);
    }
    expect(server.statuses()).toEqual([]);
  });

  test.each([
    ['no node', (proxy: WholeClient) => proxy.ask('lds', [], { node: undefined })],
    ['a node without a name', (proxy: WholeClient) => proxy.ask('lds', [], { node: { id: '' } })],
    ['no type', (proxy: WholeClient) => proxy.ask('lds', [], { typeUrl: '' })],
    [
      'another node than before',
      (proxy: WholeClient) => {
        proxy.ask('lds');
        proxy.ask('lds', [], { node: { id: 'two', cluster: 'c' } });
      },
    ],
  ])('a stream with %s ends', async (_, write) => {
    const { proxy } = await fixture();
    write(proxy);
    expect(await failure(proxy)).toMatchObject({ code: status.INVALID_ARGUMENT });
  });

  test('the same node may be repeated, with other metadata', async () => {
    const { proxy, source } = await fixture();
    source.set([listenerOf('in', 'a')]);
    proxy.ask('lds', [], { node: { id: 'one', metadata: { a: 1 } } });
    const { nonce } = await proxy.next();
    proxy.ask('lds', [], { node: { id: 'one', metadata: { a: 2 } }, responseNonce: nonce, versionInfo: '' });
    expect(await proxy.soFar()).toEqual([]);
  });

  test('a stream on which nothing comes ends', async () => {
    const { proxy, clock, events, until } = await fixture();
    const second = until(() => true);
    // Opens the stream without a request: the headers alone.
    const quiet = new WholeClient(open[0]?.client ?? expect.fail());
    proxy.ask('lds');
    await second;
    clock.advance(10_000);
    expect(await failure(quiet)).toMatchObject({ code: status.INVALID_ARGUMENT });
    expect(events.map(({ event }) => event)).toEqual(['connected', 'ended']);
  });

  test('one identity has so many streams, and one more when one ends', async () => {
    const { proxy, client, source, until } = await fixture({ limits: { streamsPerIdentity: 1 } });
    source.set([listenerOf('in', 'a')]);
    proxy.ask('lds');
    await proxy.next();
    const second = new WholeClient(client, 'two');
    second.ask('lds');
    expect(await failure(second)).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    const left = until(inState('left'));
    proxy.end();
    await left;
    const third = new WholeClient(client, 'three');
    third.ask('lds');
    await third.next();
  });

  test('streams of an identity that was revoked end, and all when the control plane stops', async () => {
    const { proxy, client, source, server } = await fixture();
    source.set([listenerOf('in', 'a')]);
    proxy.ask('lds');
    await proxy.next();
    const other = parseSpiffeId('spiffe://example.org/other');
    server.end(({ spiffeId }) => spiffeId === other, new InterlockError('untrusted', other, 'revoked'));
    expect(await proxy.soFar()).toEqual([]);
    server.end(({ spiffeId }) => spiffeId === WEB, new InterlockError('untrusted', WEB, 'revoked'));
    expect(await failure(proxy)).toMatchObject({ code: status.UNAUTHENTICATED, details: 'revoked' });
    server.close();
    const late = new WholeClient(client);
    late.ask('lds');
    expect(await failure(late)).toMatchObject({ code: status.UNAVAILABLE });
  });
});

describe('what a proxy may cost', () => {
  const deep = (levels: number): { [key: string]: never } =>
    JSON.parse(`${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`);
  const failure = (proxy: WholeClient) =>
    proxy.next().then(String, (error: { code: number; details: string }) => error);

  test.each([
    ['too many names', { resourceNames: Array.from({ length: 11 }, String) }],
    ['a long name', { resourceNames: ['x'.repeat(101)] }],
    ['a long node name', { node: { id: 'x'.repeat(101) } }],
    ['much metadata', { node: { id: 'one', metadata: { a: 'x'.repeat(1001) } } }],
    ['deep metadata', { node: { id: 'one', metadata: deep(17) } }],
    ['many bytes', { resourceLocators: [{ name: 'x'.repeat(5000) }] }],
  ])('a request with %s ends its stream', async (_, init) => {
    const { proxy } = await fixture({
      limits: { names: 10, nameLength: 100, metadataBytes: 1000, requestBytes: 4000 },
    });
    proxy.ask('eds', [], init);
    expect(await failure(proxy)).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
  });

  test('metadata brings no more than its own keys', async () => {
    const { client, until } = await fixture();
    const proxy = new WholeClient(client, 'one');
    const connected = until(() => true);
    proxy.ask('lds', [], {
      node: { id: 'one', metadata: JSON.parse('{"__proto__":{"admin":true},"b":[{"c":null}]}') },
    });
    const { metadata } = (await connected).node;
    expect(metadata['b']).toEqual([{ c: null }]);
    expect('admin' in metadata).toBe(false);
  });

  test('many names, asked for bit by bit, are too many', async () => {
    const { client, source } = await fixture({ limits: { names: 10 } });
    source.set([]);
    const proxy = new DeltaClient(client);
    for (const start of [0, 8]) {
      const resourceNamesSubscribe = Array.from({ length: 8 }, (_, i) => String(start + i));
      proxy.ask('eds', { resourceNamesSubscribe });
    }
    await proxy.next();
    await expect(proxy.next()).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED });
  });

  test('bytes that are no request end the stream', async () => {
    const { client } = await fixture();
    const call = client.makeBidiStreamRequest(
      '/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources',
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => bytes,
    );
    const error = new Promise((resolve) => call.on('error', resolve));
    call.write(Buffer.from([0x0a, 0xff, 0xff, 0xff, 0x7f, 0x01]));
    expect(await error).toMatchObject({ code: status.INVALID_ARGUMENT });
  });

  test('a proxy that asks without end is read at the pace that is its own', async () => {
    const { source, proxy, clock, events } = await fixture({
      limits: { requestsPerSecond: 1, requestBurst: 10 },
    });
    source.set([routesOf('r', 'a')]);
    for (let i = 0; i < 100; i++) proxy.ask('rds', ['r'], { responseNonce: i === 0 ? '' : 'stale' });
    await proxy.next();
    // The clock stands still, and so does the stream; as time passes it is served.
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    while (!events.some(({ event }) => event === 'slowed')) await turn();
    const served = proxy.soFar();
    const state = { isServed: false };
    const watch = served.finally(() => {
      state.isServed = true;
    });
    while (!state.isServed) {
      clock.advance(1000);
      await turn();
    }
    expect(await watch).toEqual([]);
    expect(events.filter(({ event }) => event === 'slowed').length).toBeGreaterThan(10);
  });

  test('nothing is made for a proxy that does not read; what it gets then is the newest', async () => {
    const { source, server } = await fixture();
    const call = new SlowCall();
    server.implementation()['streamAggregatedResources']?.(call as never, undefined as never);
    source.set([clusterOf('a'), listenerOf('in', 'elsewhere', '1')]);
    call.emit('data', request('cds', { node: { id: 'slow' } }));
    expect(call.answers).toHaveLength(1);
    call.emit('data', request('lds', {}));
    // It says that it took what it cannot have read.
    call.emit('data', request('cds', { responseNonce: '1' }));
    source.set([clusterOf('a', '2'), listenerOf('in', 'elsewhere', '2')]);
    const newest = source.set([clusterOf('a', '3'), listenerOf('in', 'elsewhere', '3')]);
    expect(call.answers).toHaveLength(1);
    call.isFull = false;
    call.emit('drain');
    expect(call.answers.map(({ versionInfo }) => versionInfo).slice(1)).toEqual(
      (['cds', 'lds'] as const).map((kind) => newest.byType.get(kind)?.version),
    );
  });
});

/** A stream whose reader has taken nothing yet. */
class SlowCall extends EventEmitter {
  readonly answers: discovery.DiscoveryResponse[] = [];
  isFull = true;

  write(bytes: Uint8Array): boolean {
    this.answers.push(fromBinary(discovery.DiscoveryResponseSchema, bytes));
    return !this.isFull;
  }

  sendMetadata(): void {}
}

function request(kind: Kind, init: MessageInitShape<typeof discovery.DiscoveryRequestSchema>): Uint8Array {
  const message = create(discovery.DiscoveryRequestSchema, init);
  message.typeUrl = typeOfKind(kind).url;
  return toBinary(discovery.DiscoveryRequestSchema, message);
}
