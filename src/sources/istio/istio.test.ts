import { describe, expect, test } from 'vitest';
import { readLines, seen, skipped } from '../accesslog/testing.ts';
import { envoy } from '../envoy/index.ts';
import { istio } from './index.ts';

const WEB_TO_CART =
  '[2026-10-15T11:00:00.409Z] "GET /items/7?x=1 HTTP/1.1" 200 - via_upstream - "-" 0 135 4 4 "-" "curl/8.5.0" ' +
  '"84961386-6d84-929d-98bd-c5aee93b5c88" "cart:8000" "10.44.1.27:8080" outbound|8000||cart.shop.svc.cluster.local ' +
  '10.44.1.23:37652 10.0.45.184:8000 10.44.1.23:46520 - default';
const CART_FROM_WEB =
  '[2026-10-15T11:00:00.511Z] "GET /items/7?x=1 HTTP/1.1" 200 - via_upstream - "-" 0 135 2 1 "-" "curl/8.5.0" ' +
  '"84961386-6d84-929d-98bd-c5aee93b5c88" "cart:8000" "10.44.1.27:8080" inbound|8080|| 127.0.0.6:41854 ' +
  '10.44.1.27:8080 10.44.1.23:37652 outbound_.8000_._.cart.shop.svc.cluster.local default';

/** The text line of CART_FROM_WEB with parts of it replaced. */
function inbound(...changes: readonly (readonly [string, string])[]): string {
  return changes.reduce((line, [from, to]) => {
    expect(line).toContain(from);
    return line.replace(from, () => to);
  }, CART_FROM_WEB);
}

function one(line: string | object) {
  const tally = readLines(istio, [line]);
  expect(skipped(tally)).toEqual({});
  const [access, ...more] = seen(tally);
  expect(more).toEqual([]);
  return access;
}

describe("Istio's default text format", () => {
  test('one call is seen from both sides, on the port of the container', () => {
    expect(seen(readLines(istio, [WEB_TO_CART, CART_FROM_WEB]))).toEqual([
      expect.objectContaining({
        side: 'caller',
        from: 'i:10.44.1.23',
        to: 'h:/cart.shop.svc.cluster.local',
        action: 'GET /items/7 :8080',
        outcomes: { ok: 1 },
      }),
      expect.objectContaining({
        side: 'callee',
        from: 'i:10.44.1.23',
        to: 'i:10.44.1.27',
        action: 'GET /items/7 :8080',
        instances: ['10.44.1.23'],
      }),
    ]);
  });

  test('pods that the inventory knows are named, on both sides alike', () => {
    const attribution = {
      attribute: (ip: string) => ({
        namespace: 'shop',
        serviceAccount: ip === '10.44.1.23' ? 'web' : 'cart',
      }),
    };
    const ends = seen(readLines(istio, [WEB_TO_CART, CART_FROM_WEB], { attribution }));
    expect(ends.map(({ from, to }) => [from, to])).toEqual([
      ['w:shop/web//', 'w:shop/cart//'],
      ['w:shop/web//', 'w:shop/cart//'],
    ]);
  });

  test('behind a gateway, the address from x-forwarded-for is not taken for the caller', () => {
    const tally = readLines(istio, [inbound(['10.44.1.23:37652', '203.0.113.9:0'])]);
    expect(seen(tally)).toMatchObject([{ from: 'e:unknown', to: 'i:10.44.1.27' }]);
    expect([...tally.blindSpots()]).toMatchObject([{ kind: 'unknown-caller', count: 1 }]);
  });

  test.each([
    [
      'gRPC',
      [['"GET /items/7?x=1 HTTP/1.1"', '"POST /shop.Cart/AddItem HTTP/2"']],
      'shop.Cart/AddItem :8080',
      'ok',
    ],
    ['TCP', [['"GET /items/7?x=1 HTTP/1.1" 200 - via_upstream', '"- - -" 0 - -']], 'tcp :8080', 'ok'],
    [
      'TCP refused',
      [
        [
          '"GET /items/7?x=1 HTTP/1.1" 200 - via_upstream -',
          '"- - -" 0 - - rbac_access_denied_matched_policy[none]',
        ],
      ],
      'tcp :8080',
      'denied',
    ],
    [
      'refused',
      [['200 - via_upstream', '403 - rbac_access_denied_matched_policy[none]']],
      'GET /items/7 :8080',
      'denied',
    ],
    [
      'not reached',
      [
        [
          '200 - via_upstream - "-"',
          '503 UF upstream_reset_before_response_started{connection_failure} - "TLS error: \\"x\\" 1 2 "',
        ],
      ],
      'GET /items/7 :8080',
      'failed',
    ],
    [
      'the cluster’s port, where the redirected one is all there is',
      [['10.44.1.27:8080 10', '10.44.1.27:15006 10']],
      'GET /items/7 :8080',
      'ok',
    ],
    [
      'a passed-through port',
      [
        ['inbound|8080||', 'InboundPassthroughClusterIpv4'],
        ['10.44.1.27:8080 10', '10.44.1.27:9999 10'],
      ],
      'GET /items/7 :9999',
      'ok',
    ],
    ['quotes in a header', [['curl/8.5.0', 'a "b" c" "d']], 'GET /items/7 :8080', 'ok'],
    ['quotes in a path', [['/items/7?x=1', '/a"b"']], 'GET /a"b" :8080', 'ok'],
    ['UTF-8 in a path', [['/items/7?x=1', '/ü']], 'GET /ü :8080', 'ok'],
    ['a backslash is no escape', [['/items/7?x=1', '/\\u0041']], 'GET /\\u0041 :8080', 'ok'],
  ] as const)('%s', (_, changes, action, outcome) => {
    expect(one(inbound(...changes))).toMatchObject({ side: 'callee', action, outcomes: { [outcome]: 1 } });
  });

  test('a header that passes for the end of the line is not believed', () => {
    const forged = 'x" "y" "10.9.9.9:1" inbound|8080|| 127.0.0.6:1 10.9.9.9:8080 10.9.9.8:1 - default';
    expect(skipped(readLines(istio, [inbound(['curl/8.5.0', forged])]))).toEqual({
      'quotes in a header that make the line ambiguous': 1,
    });
    const server = 'a" "10.9.9.9:1" inbound|8080|| 127.0.0.6:1 10.9.9.9:8080 10.9.9.8:1 b';
    const spoofed = inbound(['outbound_.8000_._.cart.shop.svc.cluster.local', server]);
    expect(readLines(istio, [spoofed]).accepted).toBe(0);
  });

  const misfit = "a line that does not fit Istio's default text format";
  test.each([
    ['cut off', CART_FROM_WEB.slice(0, 120), misfit],
    ['cut off at the end', CART_FROM_WEB.slice(0, -10), misfit],
    ['a value too many', `${CART_FROM_WEB} more`, misfit],
    ['a server name with a space', inbound(['outbound_.8000', 'a b']), misfit],
    ['no quotes', '[2026-10-15T11:00:00.511Z] GET /', misfit],
    ['NUL', inbound(['/items', '/\u0000items']), misfit],
    [
      "the agent's own words",
      '2026-10-15T11:00:00.511Z\tinfo\tReadiness succeeded',
      'not an access-log line',
    ],
  ])('is skipped: %s', (_, line, reason) => {
    expect(skipped(readLines(istio, [line]))).toEqual({ [reason]: 1 });
  });

  test('every line cut off anywhere is skipped, or was whole', () => {
    for (let end = 0; end < CART_FROM_WEB.length - 'default'.length; end++) {
      expect(readLines(istio, [CART_FROM_WEB.slice(0, end)]).accepted).toBe(0);
    }
  });
});

describe("Istio's default JSON", () => {
  const json = {
    start_time: '2026-10-15T11:00:00.511Z',
    route_name: 'default',
    method: 'GET',
    path: '/items/7?x=1',
    protocol: 'HTTP/1.1',
    response_code: 200,
    response_flags: '-',
    response_code_details: 'via_upstream',
    connection_termination_details: null,
    bytes_received: 0,
    bytes_sent: 135,
    authority: 'cart:8000',
    upstream_host: '10.44.1.27:8080',
    upstream_cluster: 'inbound|8080||',
    upstream_local_address: '127.0.0.6:41854',
    downstream_local_address: '10.44.1.27:8080',
    downstream_remote_address: '10.44.1.23:37652',
    requested_server_name: 'outbound_.8000_._.cart.shop.svc.cluster.local',
  };

  test('says what the text line says', () => {
    expect(one(json)).toEqual(one(CART_FROM_WEB));
    expect(seen(readLines(istio, [json, CART_FROM_WEB]))).toMatchObject([{ outcomes: { ok: 2 } }]);
  });

  test('at a waypoint, the workload behind it is the callee', () => {
    const id = (name: string) => `spiffe://example.org/ns/shop/sa/${name}`;
    const line = {
      ...json,
      upstream_cluster: 'inbound-vip|8000|http|cart.shop.svc.cluster.local',
      upstream_host: 'envoy://connect_originate/10.44.1.27:8080',
      downstream_peer_uri_san: id('web'),
      downstream_local_uri_san: id('waypoint'),
    };
    expect(one({ ...line, upstream_peer_uri_san: id('cart') })).toMatchObject({
      side: 'callee',
      from: 'web',
      to: 'cart',
      action: 'GET /items/7 :8080',
    });
    expect(one(line)).toMatchObject({ to: 'h:/cart.shop.svc.cluster.local', action: 'GET /items/7 :8080' });
  });

  test('is told from Envoy’s by the names of its clusters, and the text line by its shape', () => {
    const text = JSON.stringify(json);
    expect(istio.detect(text)).toBeGreaterThan(envoy.detect(text));
    const plain = JSON.stringify({ ...json, upstream_cluster: 'cart' });
    expect([istio.detect(plain), envoy.detect(plain) > 0]).toEqual([0, true]);
    expect(istio.detect(`2026-10-15\tinfo\tstarting\n${CART_FROM_WEB}\n[2026-1`)).toBeGreaterThan(0.9);
    expect(envoy.detect(CART_FROM_WEB)).toBe(0);
    expect(istio.detect('[error] "a b c" 1 2 3 "x"')).toBe(0);
  });
});
