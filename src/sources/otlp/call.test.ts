import { describe, expect, test } from 'vitest';
import { type Line, read, request, sentences } from './testing.ts';

const SERVER = 2;
const CLIENT = 3;
const PRODUCER = 4;
const CONSUMER = 5;

/** Sentences of a client span in `web` and a server span in `api` below it. */
function call(
  client: Line['says'],
  server: Line['says'],
  more: { client?: Partial<Line>; server?: Partial<Line> } = {},
): string[] {
  const lines: Line[] = [
    { service: 'web', id: 'c', kind: CLIENT, says: client ?? {}, ...more.client },
    { service: 'api', id: 's', parent: 'c', kind: SERVER, says: server ?? {}, ...more.server },
  ];
  return sentences(read([request(lines)]).tally);
}

describe('an HTTP call between two services', () => {
  const route = { 'http.request.method': 'GET', 'http.route': '/orders/{id}' };
  test.each<[string, Line['says'], Line['says'], string]>([
    [
      'new conventions',
      {},
      { ...route, 'url.path': '/orders/7', 'server.port': 8080 },
      'GET /orders/{id} :8080',
    ],
    [
      'old conventions',
      {},
      { 'http.method': 'get', 'http.target': '/a/7?q=1', 'net.host.port': 81 },
      'GET /a/7 :81',
    ],
    [
      'an old absolute URL',
      {},
      { 'http.method': 'GET', 'http.url': 'http://u:p@api:80/a/b?x#y' },
      'GET /a/b',
    ],
    ['the method from the caller', { 'http.method': 'PUT' }, { 'http.route': '/x' }, 'PUT /x'],
    [
      'the path from the caller',
      { 'url.full': 'https://api/x/9?s=1' },
      { 'http.request.method': 'GET' },
      'GET /x/9',
    ],
    ['a bare catch-all and a path', {}, { ...route, 'http.route': '/*', 'url.path': '/a' }, 'GET /a'],
    [
      'a bare catch-all and the caller’s path',
      { 'url.full': 'http://a/b' },
      { ...route, 'http.route': '/*' },
      'GET /b',
    ],
    ['a bare catch-all alone', {}, { ...route, 'http.route': '/**' }, 'GET /{rest=**}'],
    ['no path at all', {}, { 'http.method': 'GET' }, 'GET /{rest=**}'],
    ['no template of the caller', route, { 'network.local.port': 81 }, 'GET /{rest=**} :81'],
    ['the caller’s path, not its template', { ...route, 'url.path': '/orders/7' }, {}, 'GET /orders/7'],
    ['a raw brace', {}, { 'http.method': 'GET', 'url.path': '/a/{b}' }, 'GET /a/%7Bb%7D'],
    [
      'the socket’s own port first',
      {},
      { ...route, 'server.port': 80, 'network.local.port': 8080 },
      'GET /orders/{id} :8080',
    ],
    ['not the caller’s port', { 'server.port': 80 }, route, 'GET /orders/{id}'],
    ['not the port that a server’s peer has', {}, { ...route, 'net.peer.port': 51234 }, 'GET /orders/{id}'],
  ])('is read with %s', (_name, client, server, action) => {
    expect(call(client, server)).toEqual([`1 web -> api: ${action} ok`]);
  });

  test('ends in error by the callee’s status, its code, or the code that the caller saw', () => {
    const bad = ['1 web -> api: GET /orders/{id} error'];
    expect(call({}, { ...route, 'http.response.status_code': 404 })).toEqual(bad);
    expect(call({}, { ...route, 'http.status_code': 500 })).toEqual(bad);
    expect(call({}, route, { server: { raw: { status: { code: 2 } } } })).toEqual(bad);
    expect(call({}, route, { server: { raw: { status: { code: 'STATUS_CODE_ERROR' } } } })).toEqual(bad);
    expect(call({ 'http.status_code': 503 }, route)).toEqual(bad);
    expect(call({ 'http.status_code': 503 }, { ...route, 'http.status_code': 200 })).toEqual([
      '1 web -> api: GET /orders/{id} ok',
    ]);
  });

  test('is not described by what a span says of another call', () => {
    // The parent is a server span: its route is of the call that came in to `web`.
    expect(call(route, {}, { client: { kind: SERVER } })).toEqual([
      '1 unknown-caller: e:unknown -> web: GET /orders/{id} (GET /orders/{id})',
      '1 web -> api: tcp ok',
    ]);
    // The child is a client span: `api` left no server span, and its own call goes on to somewhere else.
    expect(call({}, { ...route, 'server.address': 'db' }, { server: { kind: CLIENT } })).toEqual([
      '1 client-only: api -> h:shop/db: GET /orders/{id} (GET /orders/{id})',
      '1 web -> api: tcp ok',
    ]);
  });
});

describe('a gRPC call between two services', () => {
  const grpc = { 'rpc.system': 'grpc' };
  test.each<[string, Line['says'], Line['says'], string]>([
    [
      'service and method',
      {},
      { ...grpc, 'rpc.service': 'p.S', 'rpc.method': 'M', 'server.port': 7070 },
      'p.S/M :7070',
    ],
    ['the caller’s words', { ...grpc, 'rpc.service': 'p.S', 'rpc.method': 'M' }, {}, 'p.S/M'],
    ['the newest form of the method', {}, { 'rpc.system.name': 'grpc', 'rpc.method': 'p.S/M' }, 'p.S/M'],
    [
      'a proxy’s path',
      {},
      { 'http.method': 'POST', 'http.url': 'http://x:1/p.S/M', 'grpc.status_code': '0' },
      'p.S/M',
    ],
    [
      'the path where the caller says gRPC',
      { ...grpc },
      { 'http.method': 'POST', 'url.path': '/p.S/M' },
      'p.S/M',
    ],
  ])('is read from %s', (_name, client, server, action) => {
    expect(call(client, server)).toEqual([`1 web -> api: ${action} ok`]);
  });

  test.each([
    ['/p.S/M', 'p.S/M'],
    ['p.S/M', 'p.S/M'],
    ['grpc.p.S/M', 'p.S/M'],
    ['grpc.health.v1.Health/Check', 'grpc.health.v1.Health/Check'],
  ])('is read from the span name %s where only the system is known', (name, action) => {
    expect(call({}, grpc, { server: { name } })).toEqual([`1 web -> api: ${action} ok`]);
    expect(call({}, {}, { server: { name } })).toEqual(['1 web -> api: tcp ok']);
  });

  test('ends in error by its status, as a number or a name', () => {
    const said = { ...grpc, 'rpc.service': 'p.S', 'rpc.method': 'M' };
    for (const [key, value] of [
      ['rpc.grpc.status_code', 7],
      ['rpc.grpc.status_code', '14'],
      ['rpc.response.status_code', 'UNAVAILABLE'],
    ] as const) {
      expect(call({}, { ...said, [key]: value })).toEqual(['1 web -> api: p.S/M error']);
    }
    expect(call({}, { ...said, 'rpc.grpc.status_code': 0 })).toEqual(['1 web -> api: p.S/M ok']);
    expect(call({}, { ...said, 'rpc.response.status_code': 'OK' })).toEqual(['1 web -> api: p.S/M ok']);
  });
});

describe('who called whom', () => {
  test('is named by the workload, the service account and the pod that the resource states', () => {
    const { tally } = read([
      request([
        {
          service: 'svc-a',
          id: 'c',
          kind: CLIENT,
          resource: {
            'k8s.deployment.name': 'web',
            'k8s.pod.name': 'web-1',
            'k8s.serviceaccount.name': 'wsa',
          },
        },
        {
          service: 'api',
          id: 's',
          parent: 'c',
          kind: SERVER,
          resource: { 'spiffe.id': 'spiffe://x.org/ns/a/sa/b' },
        },
      ]),
    ]);
    const [access] = [...tally.accesses()];
    expect(access?.from).toEqual({ namespace: 'shop', serviceAccount: 'wsa', workload: 'web' });
    expect(access?.to).toEqual({ spiffeId: 'spiffe://x.org/ns/a/sa/b' });
    expect([...(access?.evidence.instances ?? [])]).toEqual(['web-1']);
    expect(access?.side).toBe('callee');
    expect([...(access?.evidence.sources ?? [])]).toEqual(['otlp']);
  });

  test('is the identity that a proxy verified, before anything else', () => {
    const says = {
      'source.principal': 'cluster.local/ns/shop/sa/w',
      'destination.principal': 'spiffe://cluster.local/ns/shop/sa/a',
    };
    expect(call({}, says)).toEqual([
      '1 spiffe://cluster.local/ns/shop/sa/w -> spiffe://cluster.local/ns/shop/sa/a: tcp ok',
    ]);
    const alone = {
      service: 'api',
      id: 's',
      kind: SERVER,
      says: { ...says, 'http.method': 'GET', 'url.path': '/' },
    };
    expect(sentences(read([request([alone])]).tally)).toEqual([
      '1 spiffe://cluster.local/ns/shop/sa/w -> api: GET / ok',
    ]);
  });

  test('is never what the caller says of itself or of the callee', () => {
    const says = {
      'source.principal': 'spiffe://x.org/ns/shop/sa/other',
      'destination.principal': 'spiffe://x.org/ns/shop/sa/vault',
    };
    expect(call(says, {})).toEqual(['1 web -> api: tcp ok']);
  });

  test('is not asked within one service, one pod, or one instance', () => {
    const pod = (name: string): Record<string, string> => ({ 'k8s.pod.name': name });
    const pair = (a: Partial<Line>, b: Partial<Line>): string[] => call({}, {}, { client: a, server: b });
    expect(pair({}, { service: 'web' })).toEqual([]);
    expect(pair({ resource: pod('p') }, { resource: pod('p') })).toEqual([]);
    expect(pair({ resource: pod('p') }, { service: 'web', resource: pod('p') })).toEqual([]);
    expect(pair({ resource: pod('p') }, { service: 'web', resource: pod('q') })).toEqual([
      '1 web -> web: tcp ok',
    ]);
    expect(pair({}, { resource: { 'k8s.namespace.name': 'other' } })).toEqual([
      '1 web -> w:other//api: tcp ok',
    ]);
  });
});

describe('a message between two services is a blind spot and no access', () => {
  const linked = ['1 messaging: web -> api: orders'];
  test('by its attributes, its kinds, or the conventions’ span name', () => {
    expect(call({}, { 'messaging.system': 'kafka', 'messaging.destination.name': 'orders' })).toEqual(linked);
    expect(call({}, {}, { client: { kind: PRODUCER, name: 'orders publish' } })).toEqual(linked);
    expect(call({}, { 'messaging.destination': 'orders' }, { server: { kind: CONSUMER } })).toEqual(linked);
    expect(call({}, {}, { client: { name: '<default> send' }, server: { name: 'orders process' } })).toEqual(
      linked,
    );
  });

  test('but a push over HTTP is a call', () => {
    const push = { 'http.method': 'POST', 'url.path': '/in', 'messaging.destination.name': 'orders' };
    expect(call({}, push, { client: { kind: PRODUCER } })).toEqual(['1 web -> api: POST /in ok']);
  });

  test('also where only one end is recorded', () => {
    const says = {
      'messaging.system': 'kafka',
      'messaging.destination.name': 'orders',
      'server.address': 'kafka',
    };
    const spans: Line[] = [
      { service: 'web', id: '1', kind: PRODUCER, says },
      { service: 'api', id: '2', kind: CONSUMER, says },
    ];
    expect(sentences(read([request(spans)]).tally)).toEqual([
      '1 messaging: e:unknown -> api: orders',
      '1 messaging: web -> h:shop/kafka: orders',
    ]);
  });
});
