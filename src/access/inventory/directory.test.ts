import { describe, expect, test } from 'vitest';
import { Directory } from './directory.ts';
import type { Fact, PodFact, ServiceFact, WorkloadFact } from './facts.ts';

const S = 1000;

function pod(name: string, over: Partial<PodFact> = {}): PodFact {
  return {
    fact: 'pod',
    namespace: 'shop',
    name,
    uid: `uid-${name}`,
    serviceAccount: 'default',
    workload: name,
    ips: ['10.0.0.1'],
    hostNetwork: false,
    labels: {},
    ports: [],
    images: ['app:1'],
    ...over,
  };
}

function workload(name: string, over: Partial<WorkloadFact> = {}): WorkloadFact {
  return {
    fact: 'workload',
    kind: 'Deployment',
    namespace: 'shop',
    name,
    serviceAccount: 'default',
    labels: { app: name },
    ports: [],
    images: [],
    hostNetwork: false,
    marks: {},
    declares: [],
    configMaps: [],
    ...over,
  };
}

function service(name: string, over: Partial<ServiceFact> = {}): ServiceFact {
  return {
    fact: 'service',
    namespace: 'shop',
    name,
    clusterIps: [],
    selector: { app: name },
    ports: [{ port: 80, targetPort: 8080 }],
    ...over,
  };
}

describe('resolving', () => {
  const directory = new Directory([
    workload('cart', { serviceAccount: 'cart-sa', ports: [{ name: 'grpc', port: 7070 }] }),
    workload('web-v1', { labels: { app: 'web' } }),
    workload('web-v2', { labels: { app: 'web' } }),
    workload('job', { kind: 'CronJob', namespace: 'ops', serviceAccount: 'a' }),
    workload('job', { kind: 'Deployment', namespace: 'ops', serviceAccount: 'b' }),
    workload('twice', { namespace: 'one' }),
    workload('twice', { namespace: 'two' }),
    workload('redis', { kind: 'StatefulSet', labels: { app: 'redis' } }),
    service('cart', { ports: [{ port: 7070, targetPort: 'grpc' }] }),
    service('web'),
    service('redis', { clusterIps: ['None'] }),
    service('db', { selector: {} }),
    service('mail', { selector: {}, externalName: 'smtp.example.com.' }),
    service('alias', { selector: {}, externalName: 'cart.shop.svc.cluster.local' }),
    service('loop', { selector: {}, externalName: 'pool.shop.svc' }),
    service('pool', { selector: {}, externalName: 'loop.shop.svc' }),
    service('idle', { selector: { app: 'nothing' } }),
  ]);
  const cart = { kind: 'workload', namespace: 'shop', workload: 'cart', serviceAccount: 'cart-sa' };

  test.each([
    [
      'a SPIFFE ID wins',
      { spiffeId: 'spiffe://x.org/a', workload: 'cart' },
      { kind: 'spiffe', id: 'spiffe://x.org/a' },
    ],
    [
      'a broken SPIFFE ID names nobody',
      { spiffeId: 'spiffe://X/a' },
      { kind: 'outside', from: 'spiffe://X/a' },
    ],
    ['a workload brings its account', { namespace: 'shop', workload: 'cart' }, cart],
    ['a workload is found without a namespace when there is one', { workload: 'cart' }, cart],
    [
      'an account in the data stays',
      { namespace: 'shop', workload: 'cart', serviceAccount: 'old' },
      { ...cart, serviceAccount: 'old' },
    ],
    [
      'an unknown workload is one',
      { workload: 'new' },
      { kind: 'workload', namespace: 'default', workload: 'new' },
    ],
    [
      'an account alone is one',
      { serviceAccount: 'x' },
      { kind: 'workload', namespace: 'default', serviceAccount: 'x' },
    ],
    ['a Service leads to its workload', { namespace: 'shop', host: 'cart' }, cart],
    ['a full name', { host: 'cart.shop.svc.cluster.local' }, cart],
    ['a name with a namespace, a port and a root dot', { host: 'Cart.shop:7070' }, cart],
    ['a name for the cluster', { namespace: 'ops', host: 'cart.shop.svc.' }, cart],
    ['an ExternalName of a Service is followed', { host: 'alias.shop' }, cart],
    [
      'a pod of a headless Service',
      { host: 'redis-0.redis.shop.svc.cluster.local' },
      { kind: 'workload', namespace: 'shop', workload: 'redis', serviceAccount: 'default' },
    ],
    [
      'an ExternalName outside',
      { namespace: 'shop', host: 'mail' },
      { kind: 'outside', from: 'smtp.example.com' },
    ],
    ['ExternalNames in a circle', { namespace: 'shop', host: 'loop' }, { kind: 'outside', from: 'loop' }],
    [
      'a Service without selector',
      { namespace: 'shop', host: 'db' },
      { kind: 'outside', from: 'db.shop.svc' },
    ],
    ['a host outside', { host: 'API.stripe.com' }, { kind: 'outside', from: 'api.stripe.com' }],
    ['an address outside', { ip: '203.0.113.7' }, { kind: 'outside', from: '203.0.113.7' }],
    ['an entity', { entity: 'world', ip: '203.0.113.7' } as const, { kind: 'outside', from: 'world' }],
    ['the API server', { host: 'kubernetes.default.svc' }, { kind: 'outside', from: 'kube-apiserver' }],
    ['nothing', {}, { kind: 'outside', from: 'unknown' }],
    [
      'a pod that no inventory has, by its Deployment',
      { namespace: 'shop', pod: 'cart-5c7d8f9b6d-x2x4z' },
      cart,
    ],
    [
      'a pod of an unknown Deployment',
      { namespace: 'shop', pod: 'pay-5c7d8f9b6d-x2x4z' },
      { kind: 'workload', namespace: 'shop', workload: 'pay' },
    ],
    [
      'a StatefulSet’s pod',
      { namespace: 'shop', pod: 'redis-0' },
      { kind: 'workload', namespace: 'shop', workload: 'redis', serviceAccount: 'default' },
    ],
  ])('%s', (_, end, expected) => {
    expect(directory.resolve(end, 0, 0)).toEqual(expected);
  });

  test.each([
    ['a Service that selects two workloads', { namespace: 'shop', host: 'web' }],
    ['a Service that selects none that is known', { namespace: 'shop', host: 'idle' }],
    ['a name that two kinds share under different accounts', { namespace: 'ops', workload: 'job' }],
    ['a workload of two namespaces, without a namespace', { workload: 'twice' }],
    ['a pod whose name only resembles a workload’s', { namespace: 'shop', pod: 'redis-master' }],
  ])('never guesses %s', (_, end) => {
    expect(directory.resolve(end, 0, 0).kind).toBe('ambiguous');
  });

  test('never guesses an address whose holder at that time is not known', () => {
    const known = new Directory([pod('a', { start: 10 * S, end: 20 * S })]);
    expect(known.resolve({ ip: '10.0.0.1' }, 30 * S, 30 * S).kind).toBe('ambiguous');
    expect(known.resolve({ ip: '10.0.0.1' }, 15 * S, 15 * S)).toMatchObject({ workload: 'a' });
  });

  test('takes a pod for what it ran under, not for what its manifest says today', () => {
    const known = new Directory([
      workload('cart', { serviceAccount: 'new' }),
      pod('cart-1', { workload: 'cart', serviceAccount: 'old', start: 0 }),
    ]);
    expect(known.resolve({ namespace: 'shop', pod: 'cart-1' }, 5, 5)).toMatchObject({
      serviceAccount: 'old',
    });
  });

  test('lets a workload that only ended pods tell of count while they lived', () => {
    const known = new Directory([
      service('web'),
      workload('web'),
      pod('old-1', { workload: 'old', labels: { app: 'web' }, start: 0, end: 10 * S }),
    ]);
    expect(known.resolve({ namespace: 'shop', host: 'web' }, 5 * S, 5 * S).kind).toBe('ambiguous');
    expect(known.resolve({ namespace: 'shop', host: 'web' }, 50 * S, 50 * S)).toMatchObject({
      workload: 'web',
    });
  });

  test('treats names such as __proto__ as names', () => {
    const known = new Directory([
      service('web', { selector: JSON.parse('{"__proto__":"x"}') }),
      workload('web'),
    ]);
    expect(known.resolve({ namespace: 'shop', host: 'web' }, 0, 0).kind).toBe('ambiguous');
    expect(known.resolve({ namespace: '__proto__', workload: 'constructor' }, 0, 0)).toEqual({
      kind: 'workload',
      namespace: '__proto__',
      workload: 'constructor',
    });
  });
});

describe('a Service’s address', () => {
  test('is the Service, whenever it was seen', () => {
    const directory = new Directory([service('cart', { clusterIps: ['10.96.0.7'] }), workload('cart')]);
    expect(directory.attribute('10.96.0.7', 1, 2)).toEqual({ namespace: 'shop', host: 'cart' });
    expect(directory.resolve({ ip: '10.96.0.7' }, 1, 2)).toMatchObject({
      kind: 'workload',
      workload: 'cart',
    });
    expect(directory.containerPort({ ip: '10.96.0.7' }, 80)).toBe(8080);
  });
});

describe('ports', () => {
  const directory = new Directory([
    workload('cart', {
      ports: [
        { name: 'grpc', port: 7070 },
        { name: 'admin', port: 9000 },
      ],
    }),
    workload('redis', { ports: [{ port: 6379 }] }),
    service('cart', { ports: [{ name: 'grpc', port: 80, targetPort: 'grpc' }] }),
    service('cart-admin', { selector: { app: 'cart' }, ports: [{ port: 81, targetPort: 'nope' }] }),
    service('redis', { clusterIps: ['None'], ports: [{ port: 6379, targetPort: 6379 }] }),
    service('alias', { selector: {}, externalName: 'cart.shop.svc.cluster.local', ports: [] }),
  ]);

  test('are translated from the Service’s to the container’s, by number or by name', () => {
    expect(directory.containerPort({ namespace: 'shop', host: 'cart' }, 80)).toBe(7070);
    expect(directory.containerPort({ host: 'cart.shop.svc' }, 80)).toBe(7070);
    expect(directory.containerPort({ namespace: 'shop', host: 'alias' }, 80)).toBe(7070);
    expect(directory.containerPort({ namespace: 'shop', workload: 'cart' }, 80)).toBe(7070);
    expect(directory.containerPort({ namespace: 'shop', host: 'redis' }, 6379)).toBe(6379);
  });

  test('are not guessed where the Service has no such port or the name leads nowhere', () => {
    expect(directory.containerPort({ namespace: 'shop', host: 'cart' }, 7070)).toBeUndefined();
    expect(directory.containerPort({ namespace: 'shop', host: 'cart-admin' }, 81)).toBeUndefined();
    expect(directory.containerPort({ namespace: 'shop', host: 'nobody' }, 80)).toBeUndefined();
  });

  test('of a headless Service are the container’s already, where its name gives the pods’ addresses', () => {
    const headless = { clusterIps: ['None'], ports: [{ port: 80, targetPort: 8080 }] };
    const listening = (...ports: number[]) =>
      new Directory([workload('db', { ports: ports.map((port) => ({ port })) }), service('db', headless)]);
    expect(listening(80, 8080).containerPort({ namespace: 'shop', host: 'db' }, 80)).toBe(80);
    expect(listening(8080).containerPort({ namespace: 'shop', host: 'db' }, 80)).toBe(8080);
    expect(listening(8080).containerPort({ namespace: 'shop', host: 'db' }, 9000)).toBe(9000);
  });

  test('are the workload’s only one when all its Services lead to one', () => {
    expect(directory.solePort('shop', 'redis')).toBe(6379);
    expect(directory.solePort('shop', 'cart')).toBeUndefined();
    expect(directory.solePort('shop', 'nobody')).toBeUndefined();
  });
});

describe('declarations', () => {
  const declares = (host: string, port?: number) => [
    {
      host,
      ...(port === undefined ? {} : { port }),
      where: 'env X of container c',
      by: 'container' as const,
    },
  ];
  const facts = (own: WorkloadFact['declares'], more: Fact[] = []) =>
    new Directory([
      workload('web', { declares: own, configMaps: [] }),
      workload('cart'),
      service('cart', { clusterIps: ['10.96.0.7'] }),
      service('two', {
        selector: { app: 'cart' },
        ports: [1, 2].map((port) => ({ port, targetPort: port })),
      }),
      ...more,
    ]);
  const from = { namespace: 'shop', workload: 'web', serviceAccount: 'default' };
  const cart = { kind: 'workload', namespace: 'shop', workload: 'cart', serviceAccount: 'default' };

  test.each([
    ['host and port', 'cart', 80, 8080],
    ['full name', 'cart.shop.svc.cluster.local', 80, 8080],
    ['clusterIP', '10.96.0.7', 80, 8080],
    ['the only port', 'cart', undefined, 8080],
    ['no port of several', 'two', undefined, 0],
  ])('name a Service by %s', (_, host, port, expected) => {
    const directory = facts(declares(host, port));
    const where = 'env X of container c in Deployment web';
    expect([...directory.declared()]).toEqual([{ from, to: cart, port: expected, where, by: 'container' }]);
    expect([...directory.unresolved()]).toEqual([]);
  });

  test.each([
    ['a bare name', 'gone', 80, true],
    ['a name in the cluster', 'gone.other.svc', 80, true],
    ['a name in a known namespace', 'gone.shop', 80, true],
    ['a port that the Service does not have', 'cart', 81, true],
    ['a host in the world', 'api.stripe.com', 443, false],
    ['an address', '10.1.2.3', 443, false],
    ['a bare word without a port', 'berlin', undefined, false],
    ['the API server', 'kubernetes.default.svc', 443, false],
  ])('that name %s resolve to nothing', (_, host, port, listed) => {
    const directory = facts(declares(host, port));
    expect([...directory.declared()]).toEqual([]);
    expect([...directory.unresolved()].map((u) => u.host)).toEqual(listed ? [host] : []);
  });

  test('come from config maps, and only from the keys that are read', () => {
    const map: Fact = {
      fact: 'configMap',
      namespace: 'shop',
      name: 'app',
      hosts: [
        { host: 'cart', port: 80, key: 'CART' },
        { host: 'two', port: 1, key: 'TWO' },
      ],
    };
    const use = { name: 'app', by: 'init' as const, where: 'envFrom of init container i' };
    const all = new Directory([workload('web', { configMaps: [use] }), service('cart'), service('two'), map]);
    expect([...all.declared()].map((d) => d.where)).toEqual([
      'key CART of config map app, envFrom of init container i in Deployment web',
    ]);
    const one = facts([], [map, workload('api', { configMaps: [{ ...use, key: 'TWO' }] })]);
    expect([...one.declared()].map((d) => [d.from.workload, d.port, d.by])).toEqual([['api', 1, 'init']]);
  });
});

describe('deployedAt', () => {
  const at = (...pods: [start: number | undefined, image: string][]) =>
    new Directory(
      pods.map(([start, image], i) =>
        pod(`p${i}`, { workload: 'cart', images: [image], ...(start === undefined ? {} : { start }) }),
      ),
    ).deployedAt('shop', 'cart');

  test('is the first start of the newest images', () => {
    expect(at([10, 'a:1'], [20, 'a:2'], [30, 'a:2'])).toBe(20);
    expect(at([30, 'a:2'], [10, 'a:1'], [20, 'a:2'])).toBe(20);
    expect(at([10, 'a:1'], [20, 'a:1'])).toBe(10);
  });

  test('is not known from one pod, or from none', () => {
    expect(at([10, 'a:1'])).toBeUndefined();
    expect(at([undefined, 'a:1'], [10, 'a:1'])).toBeUndefined();
    expect(at()).toBeUndefined();
  });
});

describe('workloads', () => {
  test('are known from their pods where no manifest is', () => {
    const directory = new Directory([
      pod('cart-1', { workload: 'cart', workloadKind: 'Deployment', start: 1, ports: [{ port: 1 }] }),
      pod('cart-2', { workload: 'cart', workloadKind: 'Deployment', start: 2, ports: [{ port: 2 }] }),
    ]);
    expect(directory.workload('shop', 'cart')).toMatchObject({ kind: 'Deployment', ports: [{ port: 2 }] });
    expect([...directory.workloads()].map((w) => w.name)).toEqual(['cart']);
  });

  test('are their manifest’s, not what a pod shows, and take the kind that pods name for a bare one', () => {
    const bare = workload('cart', { kind: 'Pod', images: ['from-pod'] });
    const owned = pod('cart-1', { workload: 'cart', workloadKind: 'StatefulSet', start: 1 });
    expect(new Directory([bare, owned]).workload('shop', 'cart')).toMatchObject({
      kind: 'StatefulSet',
      images: ['from-pod'],
    });
    const manifest = workload('cart', { images: ['from-manifest'] });
    expect([...new Directory([bare, owned, manifest]).workloads()]).toEqual([manifest]);
  });
});
