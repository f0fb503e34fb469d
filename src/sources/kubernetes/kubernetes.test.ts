import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { container, declared, deployment, json, read, service } from './fixtures.ts';
import { source } from './index.ts';

const boutique = fileURLToPath(
  new URL('../../../../shared/data/online-boutique/manifests.yaml', import.meta.url),
);
if (!existsSync(boutique)) {
  console.log('Skipped: the declared graph of Online Boutique, because ../shared/data is not there.');
}

describe('Online Boutique', () => {
  test.skipIf(!existsSync(boutique))('declares exactly what its manifests say', () => {
    const text = readFileSync(boutique);
    const result = read(text);
    expect(source.detect(text.toString().slice(0, 65_536))).toBe(1);
    expect(result.tally).toMatchObject({ read: 24, accepted: 24 });
    expect(result.skips).toEqual([]);
    expect(declared(result)).toEqual([
      'cartservice -> redis-cart:6379',
      'checkoutservice -> cartservice:7070',
      'checkoutservice -> currencyservice:7000',
      'checkoutservice -> emailservice:8080',
      'checkoutservice -> paymentservice:50051',
      'checkoutservice -> productcatalogservice:3550',
      'checkoutservice -> shippingservice:50051',
      'frontend -> adservice:9555',
      'frontend -> cartservice:7070',
      'frontend -> checkoutservice:5050',
      'frontend -> currencyservice:7000',
      'frontend -> productcatalogservice:3550',
      'frontend -> recommendationservice:8080',
      'frontend -> shippingservice:50051',
      'loadgenerator -> frontend:8080',
      'recommendationservice -> productcatalogservice:3550',
    ]);
    expect([...result.directory.unresolved()]).toEqual([]);
    const redis = [...result.directory.declared()].find((d) => d.where.includes('REDIS_ADDR'));
    expect(redis).toEqual({
      from: { namespace: 'default', workload: 'cartservice', serviceAccount: 'default' },
      to: { kind: 'workload', namespace: 'default', workload: 'redis-cart', serviceAccount: 'default' },
      port: 6379,
      where: 'env REDIS_ADDR of container server in Deployment cartservice',
      by: 'container',
    });
    expect(result.directory.solePort('default', 'frontend')).toBe(8080);
  });
});

describe('declarations', () => {
  const calls = (podSpec: object, ...more: object[]) =>
    declared(
      read(
        json(
          service('cart'),
          deployment('cart', { containers: [container()] }),
          deployment('web', podSpec),
          ...more,
        ),
      ),
    );

  test('come from variables, arguments, hooks, probes and init containers, each counted for what it is', () => {
    expect(calls({ containers: [container({ env: [{ name: 'A', value: 'http://cart' }] })] })).toEqual([
      'web -> cart:8080',
    ]);
    expect(calls({ containers: [container({ args: ['--cart-host', 'cart', '--cart-port=80'] })] })).toEqual([
      'web -> cart:8080',
    ]);
    expect(calls({ containers: [container({ command: ['sh', '-c', 'curl http://cart:80/x'] })] })).toEqual([
      'web -> cart:8080',
    ]);
    const hook = { lifecycle: { preStop: { exec: { command: ['curl', 'cart:80'] } } } };
    expect(calls({ containers: [container(hook)] })).toEqual(['web -> cart:8080']);
    const probes = {
      readinessProbe: { httpGet: { host: 'cart', port: 80 } },
      livenessProbe: { exec: { command: ['nc', 'cart:80'] } },
    };
    expect(calls({ containers: [container(probes)] })).toEqual([
      'web -> cart:8080 (probe)',
      'web -> cart:8080 (probe)',
    ]);
    const init = container({ name: 'wait', env: [{ name: 'A', value: 'cart:80' }] });
    expect(calls({ containers: [container()], initContainers: [init] })).toEqual(['web -> cart:8080 (init)']);
    expect(
      calls({ containers: [container()], initContainers: [{ ...init, restartPolicy: 'Always' }] }),
    ).toEqual(['web -> cart:8080']);
  });

  test('follow references to earlier variables, and no others', () => {
    const env = [
      { name: 'H', value: 'cart' },
      { name: 'A', value: '$(H):80' },
      { name: 'B', value: '$$(H):80' },
      { name: 'C', value: '$(LATER):80' },
      { name: 'LATER', value: 'cart' },
    ];
    expect(calls({ containers: [container({ env })] })).toEqual(['web -> cart:8080']);
    expect(calls({ containers: [container({ env: env.slice(0, 1), args: ['--to=$(H):80'] })] })).toEqual([
      'web -> cart:8080',
    ]);
  });

  test('do not grow without bound by references', () => {
    const env = Array.from({ length: 40 }, (_, i) => ({
      name: `V${i}`,
      value: i === 0 ? 'cart:80' : `$(V${i - 1}) `.repeat(40),
    }));
    expect(calls({ containers: [container({ env })] }).length).toBeGreaterThan(0);
  });

  test('of config maps count where they are read: a variable, all of it, or a mounted volume', () => {
    const map = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'app' },
      data: {
        CART_HOST: 'cart',
        CART_PORT: '80',
        'nginx.conf': 'proxy_pass http://other:80;',
        'x.txt': 'cart:80',
      },
    };
    const other = [map, service('other'), deployment('other', { containers: [container()] })];
    const key = { name: 'X', valueFrom: { configMapKeyRef: { name: 'app', key: 'CART_HOST' } } };
    expect(calls({ containers: [container({ env: [key] })] }, ...other)).toEqual(['web -> cart:8080']);
    expect(
      calls({ containers: [container({ envFrom: [{ configMapRef: { name: 'app' } }] })] }, ...other),
    ).toEqual(['web -> cart:8080', 'web -> cart:8080', 'web -> other:8080']);
    const volumes = [
      { name: 'v', configMap: { name: 'app', items: [{ key: 'nginx.conf', path: 'nginx.conf' }] } },
      { name: 'unmounted', configMap: { name: 'app' } },
    ];
    const mount = { volumeMounts: [{ name: 'v', mountPath: '/etc' }] };
    expect(calls({ containers: [container(mount)], volumes }, ...other)).toEqual(['web -> other:8080']);
    expect(
      calls(
        { containers: [container()], initContainers: [container({ name: 'i', ...mount })], volumes },
        ...other,
      ),
    ).toEqual(['web -> other:8080 (init)']);
    const projected = [{ name: 'v', projected: { sources: [{ configMap: { name: 'app' } }] } }];
    expect(calls({ containers: [container(mount)], volumes: projected }, ...other)).toHaveLength(3);
  });

  test('are never taken from Secrets, whose contents appear nowhere', () => {
    const secret = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 's' },
      stringData: { P: 'hunter2:80' },
    };
    const env = [{ name: 'P', valueFrom: { secretKeyRef: { name: 's', key: 'P' } } }];
    const url = { name: 'U', value: 'amqp://user:hunter2@cart:80' };
    const text = json(
      secret,
      service('cart'),
      deployment('web', { containers: [container({ env: [...env, url] })] }),
    );
    const result = read(text);
    expect(result.skips).toEqual(['1 x Secret: never read @1: Secret s']);
    expect(JSON.stringify([result.facts, result.skips])).not.toContain('hunter2');
    const broken = read(`${JSON.stringify(service('cart'))}\n{"kind":"Secret","stringData":{"P":"hunter2\n`);
    expect(broken.skips.join()).toContain('broken JSON');
    expect(broken.skips.join()).not.toContain('hunter2');
  });

  test('keep no value of a config map', () => {
    const data = { 'a.properties': 'password=hunter2\nurl=http://u:hunter2@cart/' };
    const { facts } = read(json({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'app' }, data }));
    expect(facts).toEqual([
      {
        fact: 'configMap',
        namespace: 'default',
        name: 'app',
        hosts: [{ key: 'a.properties', host: 'cart', port: 80 }],
      },
    ]);
  });
});

describe('workloads', () => {
  test('keep their marks, labels, TCP ports and account', () => {
    const marks = { annotations: { 'interlock.dev/tier': 'critical', other: 'x' } };
    const ports = [
      { name: 'http', containerPort: 80 },
      { containerPort: 53, protocol: 'UDP' },
    ];
    const spec = { serviceAccountName: 'sa', hostNetwork: true, containers: [container({ ports })] };
    const { facts } = read(json(deployment('web', spec, { namespace: 'shop', ...marks })));
    expect(facts).toEqual([
      {
        fact: 'workload',
        kind: 'Deployment',
        namespace: 'shop',
        name: 'web',
        serviceAccount: 'sa',
        labels: { app: 'web' },
        ports: [{ name: 'http', port: 80 }],
        images: ['app:1'],
        hostNetwork: true,
        marks: { 'interlock.dev/tier': 'critical' },
        declares: [],
        configMaps: [],
      },
    ]);
  });

  test('of every kind are read, a CronJob with its schedule', () => {
    const template = { metadata: { labels: { app: 'x' } }, spec: { containers: [container()] } };
    const object = (apiVersion: string, kind: string, spec: object) => ({
      apiVersion,
      kind,
      metadata: { name: kind.toLowerCase() },
      spec,
    });
    const { facts, tally } = read(
      json(
        ...['Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet'].map((kind) =>
          object('apps/v1', kind, { template }),
        ),
        object('v1', 'ReplicationController', { template }),
        object('batch/v1', 'Job', { template }),
        object('batch/v1', 'CronJob', {
          schedule: '0 3 * * 1',
          timeZone: 'Europe/Berlin',
          jobTemplate: { spec: { template } },
        }),
        { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'pod' }, spec: template.spec },
      ),
    );
    expect(tally.accepted).toBe(8);
    expect(facts.map((fact) => (fact.fact === 'workload' ? fact.kind : fact.fact)).toSorted()).toEqual([
      'CronJob',
      'DaemonSet',
      'Deployment',
      'Job',
      'Pod',
      'ReplicaSet',
      'ReplicationController',
      'StatefulSet',
    ]);
    expect(facts.find((fact) => fact.fact === 'workload' && fact.kind === 'CronJob')).toMatchObject({
      schedule: '0 3 * * 1',
      timeZone: 'Europe/Berlin',
      labels: { app: 'x' },
    });
  });
});

describe('Services', () => {
  const factOf = (spec: object) =>
    read(json({ apiVersion: 'v1', kind: 'Service', metadata: { name: 's' }, spec })).facts[0];

  test('keep TCP ports, their targets by number or name, and their own addresses', () => {
    expect(
      factOf({
        clusterIP: '10.96.0.1',
        selector: { app: 's' },
        ports: [
          { port: 80, targetPort: 'http' },
          { port: 81 },
          { port: 82, targetPort: '8082' },
          { port: 53, protocol: 'UDP' },
        ],
      }),
    ).toEqual({
      fact: 'service',
      namespace: 'default',
      name: 's',
      clusterIps: ['10.96.0.1'],
      selector: { app: 's' },
      ports: [
        { port: 80, targetPort: 'http' },
        { port: 81, targetPort: 81 },
        { port: 82, targetPort: 8082 },
      ],
    });
    expect(factOf({ clusterIP: 'None', clusterIPs: ['None'] })).toMatchObject({
      clusterIps: ['None'],
      selector: {},
    });
    expect(factOf({ type: 'ExternalName', externalName: 'db.example.com' })).toMatchObject({
      externalName: 'db.example.com',
    });
  });

  test('lead to named container ports of the workload that they select', () => {
    const web = deployment('web', { containers: [container({ env: [{ name: 'A', value: 'cart:80' }] })] });
    const cart = deployment('cart', {
      containers: [container({ ports: [{ name: 'grpc', containerPort: 7070 }] })],
    });
    expect(declared(read(json(service('cart', 80, 'grpc'), web, cart)))).toEqual(['web -> cart:7070']);
  });

  test('without a selector, or of another name, are outside', () => {
    const web = deployment('web', { containers: [container({ args: ['mail:25', 'old-db:5432'] })] });
    const mail = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'mail' },
      spec: { type: 'ExternalName', externalName: 'smtp.example.com' },
    };
    const endpoints = {
      apiVersion: 'v1',
      kind: 'Endpoints',
      metadata: { name: 'old-db' },
      subsets: [{ addresses: [{ ip: '192.0.2.1' }], ports: [{ port: 5432 }] }],
    };
    expect(declared(read(json(web, mail, endpoints)))).toEqual([
      'web -> old-db.default.svc:5432',
      'web -> smtp.example.com:25',
    ]);
  });

  test('are not replaced by their endpoints, in whatever order they come', () => {
    const slice = (targetRef: object) => ({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'cart-x', labels: { 'kubernetes.io/service-name': 'cart' } },
      endpoints: [{ addresses: ['10.0.0.1'], ...targetRef }],
      ports: [{ port: 1 }],
    });
    const own = read(json(slice({}), service('cart')));
    expect(own.facts).toHaveLength(1);
    expect(own.facts[0]).toMatchObject({ selector: { app: 'cart' } });
    const managed = read(json(service('cart'), slice({ targetRef: { kind: 'Pod', name: 'p' } })));
    expect(managed.skips).toEqual([
      "1 x EndpointSlice of pods: the Service's selector says the same @1: EndpointSlice cart-x",
    ]);
  });
});
