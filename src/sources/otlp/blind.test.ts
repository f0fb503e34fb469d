import { describe, expect, test } from 'vitest';
import { type Line, read, request, sentences } from './testing.ts';

const SERVER = 2;
const CLIENT = 3;

describe('a call that nobody answered', () => {
  const alone = (says: Line['says'], more: Partial<Line> = {}): string[] =>
    sentences(read([request([{ service: 'web', id: 'c', kind: CLIENT, says: says ?? {}, ...more }])]).tally);
  test.each<[Line['says'], string]>([
    [
      { 'db.system': 'redis', 'db.operation': 'GET', 'net.peer.name': 'redis-cart', 'net.peer.port': 6379 },
      'h:shop/redis-cart: redis GET (tcp :6379)',
    ],
    [
      { 'db.system': 'mysql', 'db.name': 'shop', 'server.address': 'db.prod.example.org' },
      'h:/db.prod.example.org: SQL on shop',
    ],
    [{ 'db.system.name': 'postgresql', 'db.query.text': "select 'secret'" }, 'e:unknown: SQL'],
    [{ 'http.method': 'GET', 'http.url': 'http://pay:8080/x?token=1' }, 'h:shop/pay: GET /x (GET /x :8080)'],
    [{ 'http.method': 'GET', 'url.full': 'https://[2001:db8::1]/x' }, 'i:2001:db8::1: GET /x (GET /x :443)'],
    [
      { 'rpc.system': 'grpc', 'rpc.service': 'p.S', 'rpc.method': 'M', 'network.peer.address': '10.0.0.7' },
      'known: p.S/M (p.S/M)',
    ],
    [{ 'db.system': 'redis', 'server.address': 'Redis-Cart:6380' }, 'h:shop/redis-cart: redis (tcp :6380)'],
    [{ 'db.system': 'mysql', 'server.address': '/run/mysqld.sock' }, 'e:unknown: SQL'],
    [{ 'peer.service': 'legacy' }, 'h:shop/legacy: operation'],
  ])('is a blind spot: %j', (says, text) => {
    expect(alone(says)).toEqual([`1 client-only: web -> ${text}`]);
  });

  test('says so where it failed, unless an answer came', () => {
    const says = { 'http.method': 'GET', 'http.url': 'http://pay/x' };
    const raw = { status: { code: 2 } };
    expect(alone(says, { raw })).toEqual(['1 client-only: web -> h:shop/pay: GET /x, failed (GET /x :80)']);
    expect(alone({ ...says, 'http.status_code': 500 }, { raw })).toEqual([
      '1 client-only: web -> h:shop/pay: GET /x (GET /x :80)',
    ]);
  });

  test('is known by the conventions’ span name where kind and attributes were lost', () => {
    expect(alone({}, { kind: 1, name: 'SELECT ts.orders' })).toEqual([
      '1 client-only: web -> e:unknown: SQL on ts',
    ]);
    expect(alone({}, { kind: 1, name: 'sql.conn.query' })).toEqual(['1 client-only: web -> e:unknown: SQL']);
    expect(alone({}, { kind: 1, name: 'select the best' })).toEqual([]);
  });

  test('is not one that stays in the process', () => {
    expect(alone({ 'db.system': 'sqlite', 'db.name': 'cache' })).toEqual([]);
  });

  const nest = (middle: Partial<Line>, inner: Partial<Line>, last?: Partial<Line>): string[] =>
    sentences(
      read([
        request([
          { service: 'web', id: '1', kind: CLIENT, says: { 'server.address': 'a' }, name: 'outer' },
          { service: 'web', id: '2', parent: '1', kind: 1, ...middle },
          { service: 'web', id: '3', parent: '2', kind: CLIENT, name: 'inner', ...inner },
          ...(last === undefined ? [] : [{ service: 'api', id: '4', parent: '3', kind: SERVER, ...last }]),
        ]),
      ]).tally,
    );
  test('is told once where two libraries recorded it, by the one nearer to the network', () => {
    expect(nest({}, {})).toEqual(['1 client-only: web -> e:unknown: inner']);
    expect(nest({}, {}, {})).toEqual(['1 web -> api: tcp ok']);
    expect(
      nest({ kind: CLIENT, says: { 'server.address': 'b' } }, { says: { 'server.address': 'b' } }),
    ).toEqual(['1 client-only: web -> h:shop/a: outer', '1 client-only: web -> h:shop/b: inner']);
    // Work that a served request starts is not the call above it; that one was answered by the server span.
    expect(nest({ kind: SERVER }, {})).toEqual(['1 client-only: web -> e:unknown: inner']);
  });
});

describe('a caller that left no span', () => {
  const root = (says: Line['says'], more: Partial<Line> = {}): string[] =>
    sentences(read([request([{ service: 'web', id: 's', kind: SERVER, says: says ?? {}, ...more }])]).tally);
  test('is unknown, or known by the address of its socket', () => {
    const get = { 'http.method': 'GET', 'http.route': '/' };
    expect(root(get)).toEqual(['1 unknown-caller: e:unknown -> web: GET / (GET /)']);
    expect(root({ ...get, 'client.address': '203.0.113.9' })).toEqual([
      '1 unknown-caller: i:203.0.113.9 -> web: GET / (GET /)',
    ]);
    expect(root({ ...get, 'client.address': '203.0.113.9', 'net.sock.peer.addr': '10.0.0.7' })).toEqual([
      '1 unknown-caller: known -> web: GET / (GET /)',
    ]);
    expect(root({ ...get, 'net.peer.ip': '127.0.0.1' })).toEqual([
      '1 unknown-caller: e:unknown -> web: GET / (GET /)',
    ]);
  });

  test('is missing where the span names a parent that never came', () => {
    const orphan = { parent: 'gone' };
    expect(root({}, orphan)).toEqual([
      '1 missing-parent: e:unknown -> web: operation',
      '1 unknown-caller: e:unknown -> web: operation',
    ]);
    expect(root({}, { ...orphan, kind: 1 })).toEqual(['1 missing-parent: e:unknown -> web: operation']);
  });

  test('is not looked for above work that a service began itself', () => {
    expect(root({}, { kind: 1 })).toEqual([]);
  });
});

describe('sampling', () => {
  const sampled = (raw: Line['raw'], says: Line['says'] = {}): string[] =>
    sentences(
      read([
        request([
          { service: 'web', id: '1', raw: raw ?? {}, says },
          { service: 'web', id: '2', raw: raw ?? {}, says },
        ]),
      ]).tally,
    );
  test('is told once for a service, and changes no count', () => {
    const tenth = ['1 sampled: e:unknown -> web: 10 % of traces kept'];
    expect(sampled({ traceState: 'a=b,ot=th:e6666666666668;rv:1' })).toEqual(tenth);
    expect(sampled({}, { 'sampling.probability': '0.1' })).toEqual(tenth);
    expect(sampled({ traceState: 'ot=p:2;r:3' })).toEqual([
      '1 sampled: e:unknown -> web: 25 % of traces kept',
    ]);
  });

  test('is not told where all is kept', () => {
    expect(sampled({ traceState: 'ot=th:0' })).toEqual([]);
    expect(sampled({ traceState: 'xot=th:8' })).toEqual([]);
    expect(sampled({}, { 'sampling.probability': 1 })).toEqual([]);
  });
});
