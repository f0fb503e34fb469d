import { describe, expect, test } from 'vitest';
import { actionText, endpointKey, outcomesOf, Tally } from '../../access/index.ts';
import { hubble } from './index.ts';

const START = Date.parse('2026-03-02T10:00:00Z');
const NOW = START + 86_400_000;

type Fields = Record<string, unknown>;

function stamp(ms = 0): string {
  return `${new Date(START + ms).toISOString().slice(0, -1)}450508Z`;
}

function pod(name: string, namespace = 'shop'): Fields {
  return {
    ID: 1501,
    identity: 39_459,
    cluster_name: 'kind',
    namespace,
    labels: [
      `k8s:app=${name}`,
      `k8s:io.cilium.k8s.policy.serviceaccount=${name}`,
      `k8s:io.kubernetes.pod.namespace=${namespace}`,
    ],
    pod_name: `${name}-6b5b787dc9-ds4j4`,
    workloads: [{ name, kind: 'Deployment' }],
  };
}

const FRONT = { ip: '10.0.1.13', end: pod('frontend') };
const CART = { ip: '10.0.2.7', end: pod('cart') };
const WORLD = {
  ip: '140.82.121.6',
  end: { identity: 16_777_220, labels: ['cidr:140.82.121.6/32', 'reserved:world'] },
};
const DNS = { ip: '10.0.0.10', end: pod('coredns', 'kube-system') };
const HEALTH = { ip: '10.0.0.44', end: { identity: 4, labels: ['reserved:health'] } };
const HOST = { ip: '10.0.0.1', end: { identity: 1, labels: ['reserved:host'] } };
type Party = { ip: string; end: Fields };

/** A trace event as Hubble prints it; `more` replaces fields, undefined removes them. */
function packet(from: Party, to: Party, ports: [number, number], flags: string[], more: Fields = {}): Fields {
  const set = Object.fromEntries(flags.map((flag) => [flag, true]));
  return {
    time: stamp(),
    uuid: '047846e8-5d33-4999-8a35-c01977527c0d',
    verdict: 'FORWARDED',
    IP: { source: from.ip, destination: to.ip, ipVersion: 'IPv4' },
    l4: { TCP: { source_port: ports[0], destination_port: ports[1], flags: set } },
    source: from.end,
    destination: to.end,
    Type: 'L3_L4',
    node_name: 'kind/worker',
    event_type: { type: 4 },
    traffic_direction: 'EGRESS',
    trace_observation_point: 'TO_STACK',
    is_reply: false,
    Summary: `TCP Flags: ${flags.join(', ')}`,
    ...more,
  };
}

const AT_CALLEE = { traffic_direction: 'INGRESS', trace_observation_point: 'TO_ENDPOINT' };

function http(type: string, more: Fields = {}, record: Fields = {}): Fields {
  const response = type === 'RESPONSE';
  const [from, to] = response ? [CART, FRONT] : [FRONT, CART];
  const ports: [number, number] = response ? [7070, 40_000] : [40_000, 7070];
  const url = 'http://cart.shop.svc.cluster.local:7070/cart/17?currency=EUR';
  return packet(from, to, ports, [], {
    l4: { TCP: { source_port: ports[0], destination_port: ports[1] } },
    Type: 'L7',
    l7: { type, http: { method: 'GET', url, protocol: 'HTTP/1.1', ...record } },
    event_type: { type: 129 },
    traffic_direction: 'INGRESS',
    trace_observation_point: undefined,
    is_reply: response,
    ...more,
  });
}

function read(...entries: (Fields | string)[]): Tally {
  const tally = new Tally('hubble');
  const reader = hubble.open(tally, { now: NOW });
  for (const [i, entry] of entries.entries()) {
    reader.line(Buffer.from(typeof entry === 'string' ? entry : JSON.stringify(entry)), i + 1);
  }
  reader.end();
  const skipped = [...tally.skips()].reduce((sum, skip) => sum + skip.count, 0);
  // Every line is taken in or counted as skipped.
  expect(tally.read).toBe(tally.accepted + skipped);
  return tally;
}

/** Each access as one line: `caller side: from -> to action = outcomes`. */
function accesses(tally: Tally): string[] {
  return [...tally.accesses()].map((access) => {
    const outcomes = Object.entries(outcomesOf(access.evidence)).filter(([, n]) => n > 0);
    const counted = outcomes.map(([outcome, n]) => `${n} ${outcome}`).join(', ');
    return `${access.side}: ${endpointKey(access.from)} -> ${endpointKey(access.to)} ${actionText(access.action)} = ${counted}`;
  });
}

function skips(tally: Tally): Record<string, number> {
  return Object.fromEntries([...tally.skips()].map(({ reason, count }) => [reason, count]));
}

const FRONT_TO_CART = 'w:shop/frontend/frontend -> w:shop/cart/cart';

describe('connections', () => {
  test('one connection is counted once at each end, at however many points its packets were seen', () => {
    const syn = (more: Fields) => packet(FRONT, CART, [40_000, 7070], ['SYN'], more);
    const tally = read(
      syn({ event_type: { type: 5 } }),
      syn({}),
      { flow: syn(AT_CALLEE), node_name: 'kind/worker2', time: stamp() },
      packet(CART, FRONT, [7070, 40_000], ['SYN', 'ACK'], { is_reply: true }),
      packet(FRONT, CART, [40_000, 7070], ['ACK', 'PSH']),
      packet(FRONT, CART, [40_000, 7070], ['ACK', 'FIN'], AT_CALLEE),
      syn({ time: stamp(3000) }),
    );
    expect(accesses(tally)).toEqual([
      `caller: ${FRONT_TO_CART} tcp :7070 = 1 ok`,
      `callee: ${FRONT_TO_CART} tcp :7070 = 1 ok`,
    ]);
    expect(skips(tally)).toEqual({
      'a further packet of a connection that is counted': 4,
      'a reply, not a call': 1,
    });
    const [first] = tally.accesses();
    expect([...(first?.evidence.instances ?? [])]).toEqual(['frontend-6b5b787dc9-ds4j4']);
    expect(first?.evidence.firstSeen).toBe(START);
  });

  test('the same ports used again later are another connection', () => {
    const tally = read(
      packet(FRONT, CART, [40_000, 7070], ['SYN']),
      packet(FRONT, CART, [40_000, 7070], ['SYN'], { time: stamp(61_000) }),
      packet(FRONT, CART, [40_001, 7070], ['SYN'], { time: stamp(61_000) }),
    );
    expect(accesses(tally)).toEqual([`caller: ${FRONT_TO_CART} tcp :7070 = 3 ok`]);
  });

  test('a connection that was open before the recording began counts, once for each hour of its use', () => {
    const data = (ms: number) => packet(FRONT, CART, [40_000, 7070], ['ACK', 'PSH'], { time: stamp(ms) });
    const tally = read(data(0), data(5000), data(1_800_000), data(3_600_000), data(3_700_000));
    expect(accesses(tally)).toEqual([`caller: ${FRONT_TO_CART} tcp :7070 = 2 ok`]);
  });

  test('a policy that drops at the callee denies what the caller saw leave', () => {
    const tally = read(
      packet(FRONT, CART, [40_000, 7070], ['SYN']),
      packet(FRONT, CART, [40_000, 7070], ['SYN'], {
        ...AT_CALLEE,
        verdict: 'DROPPED',
        drop_reason_desc: 'POLICY_DENIED',
        is_reply: undefined,
        event_type: { type: 1, sub_type: 133 },
      }),
    );
    expect(accesses(tally)).toEqual([
      `caller: ${FRONT_TO_CART} tcp :7070 = 1 denied`,
      `callee: ${FRONT_TO_CART} tcp :7070 = 1 denied`,
    ]);
  });

  test('a drop for another reason, an error and a refusal are failures; AUDIT let the connection pass', () => {
    const one = (port: number, more: Fields) => packet(FRONT, CART, [40_000, port], ['SYN'], more);
    const tally = read(
      one(1, { verdict: 'DROPPED', drop_reason_desc: 'STALE_OR_UNROUTABLE_IP' }),
      one(2, { verdict: 'ERROR' }),
      one(3, {}),
      packet(CART, FRONT, [3, 40_000], ['RST', 'ACK'], { is_reply: true }),
      one(4, { verdict: 'AUDIT', event_type: { type: 5 } }),
      one(5, { verdict: 2, drop_reason: 181 }),
      one(6, { verdict: 'REDIRECTED' }),
    );
    expect(accesses(tally).map((line) => line.slice(line.indexOf(' tcp')))).toEqual([
      ' tcp :1 = 1 failed',
      ' tcp :2 = 1 failed',
      ' tcp :3 = 1 failed',
      ' tcp :4 = 1 ok',
      ' tcp :5 = 1 denied',
      ' tcp :6 = 1 ok',
    ]);
  });

  test('a SYN sent again that passed makes up for one that was dropped, and no order of the ends matters', () => {
    const syn = (ms: number, more: Fields) =>
      packet(FRONT, CART, [40_000, 7070], ['SYN'], { time: stamp(ms), ...more });
    const drop = { verdict: 'DROPPED', drop_reason_desc: 'POLICY_DENIED' };
    const sent = [syn(0, {}), syn(1000, {})];
    const dropped = [syn(1, { ...AT_CALLEE, ...drop }), syn(1001, { ...AT_CALLEE, ...drop })];
    const passed = [syn(1, { ...AT_CALLEE, ...drop }), syn(1001, AT_CALLEE)];
    const outcomes = (...lines: Fields[]) =>
      accesses(read(...lines))
        .map((line) => line.replace(/:.*=/, ':'))
        .toSorted();
    for (const [arrived, outcome] of [
      [dropped, 'denied'],
      [passed, 'ok'],
    ] as const) {
      expect(outcomes(...sent, ...arrived)).toEqual([`callee: 1 ${outcome}`, `caller: 1 ${outcome}`]);
      expect(outcomes(...arrived, ...sent)).toEqual([`callee: 1 ${outcome}`, `caller: 1 ${outcome}`]);
    }
  });

  test('a reset of a connection that stood does not undo it', () => {
    const tally = read(
      packet(FRONT, CART, [40_000, 7070], ['SYN']),
      packet(CART, FRONT, [7070, 40_000], ['SYN', 'ACK'], { is_reply: true }),
      packet(CART, FRONT, [7070, 40_000], ['RST'], { is_reply: true }),
    );
    expect(accesses(tally)).toEqual([`caller: ${FRONT_TO_CART} tcp :7070 = 1 ok`]);
  });

  test('only an authentication by SPIRE that let the connection pass is mutual; encryption alone is not', () => {
    const syn = (port: number, more: Fields) => packet(FRONT, CART, [port, 7070], ['SYN'], more);
    const tally = read(
      syn(40_000, {}),
      syn(40_000, { auth_type: 'SPIRE', event_type: { type: 5 } }),
      syn(40_001, { IP: { source: FRONT.ip, destination: CART.ip, encrypted: true } }),
      syn(40_002, { auth_type: 'SPIRE', verdict: 'DROPPED', drop_reason_desc: 'AUTH_REQUIRED' }),
    );
    const [access] = tally.accesses();
    expect(access?.evidence.mutual).toBe(1);
    expect(accesses(tally)).toEqual([`caller: ${FRONT_TO_CART} tcp :7070 = 2 ok, 1 denied`]);
  });

  test('a SYN held back for authentication counts as passed once the handshake came about', () => {
    const tally = read(
      packet(FRONT, CART, [40_000, 7070], ['SYN'], { verdict: 'DROPPED', drop_reason_desc: 'AUTH_REQUIRED' }),
      packet(FRONT, CART, [40_000, 7070], ['SYN'], { time: stamp(1000) }),
      packet(CART, FRONT, [7070, 40_000], ['SYN', 'ACK'], { is_reply: true, time: stamp(1001) }),
    );
    expect(accesses(tally)).toEqual([`caller: ${FRONT_TO_CART} tcp :7070 = 1 ok`]);
  });

  test('an old dump without is_reply is read by flags and ports, and not at all where neither tells', () => {
    const old = { is_reply: undefined, trace_observation_point: undefined };
    const bare = (from: Party, to: Party, ports: [number, number]) =>
      packet(from, to, ports, [], {
        ...old,
        l4: { TCP: { source_port: ports[0], destination_port: ports[1] } },
      });
    const { labels, workloads: _, ...rest } = pod('frontend');
    const tally = read(
      bare({ ip: FRONT.ip, end: { ...rest, labelsList: labels } }, CART, [40_000, 7070]),
      bare(FRONT, CART, [40_000, 7070]),
      bare(CART, FRONT, [7070, 40_000]),
      bare(CART, FRONT, [7071, 40_000]),
      packet(CART, FRONT, [7072, 40_000], ['ACK'], { ...old, reply: true }),
      bare(FRONT, CART, [50_000, 50_001]),
    );
    expect(accesses(tally)).toEqual([
      'caller: w:shop/frontend//frontend-6b5b787dc9-ds4j4 -> w:shop/cart/cart tcp :7070 = 1 ok',
    ]);
    expect(skips(tally)).toEqual({
      'a further packet of a connection that is counted': 1,
      'a reply, not a call': 3,
      'a packet that may be a call or a reply: the recording does not say': 1,
    });
  });

  test('where is_reply is missing, SYN alone opens a connection and SYN with ACK answers one', () => {
    const old = { is_reply: undefined };
    const tally = read(
      packet(FRONT, CART, [7070, 7071], ['SYN'], old),
      packet(CART, FRONT, [40_000, 7072], ['SYN', 'ACK'], old),
    );
    expect(accesses(tally)).toEqual([`caller: ${FRONT_TO_CART} tcp :7071 = 1 ok`]);
    expect(skips(tally)).toEqual({ 'a reply, not a call': 1 });
  });

  test("a packet to a Service's own address counts only where its translated connection was not seen", () => {
    const service = { ip: '10.96.0.20', end: { identity: 2, labels: ['reserved:world'] } };
    const before = (port: number) =>
      packet(FRONT, service, [port, 80], ['SYN'], {
        trace_observation_point: 'FROM_ENDPOINT',
        destination_service: { name: 'cart', namespace: 'shop' },
      });
    const tally = read(before(40_000), packet(FRONT, CART, [40_000, 7070], ['SYN']), before(40_001));
    expect(accesses(tally)).toEqual([
      `caller: ${FRONT_TO_CART} tcp :7070 = 1 ok`,
      'caller: w:shop/frontend/frontend -> h:/cart.shop.svc.cluster.local tcp :80 = 1 ok',
    ]);
  });

  test("a socket's connect counts only where its packets were not seen", () => {
    const connect = (port: number, point: string) =>
      packet(FRONT, CART, [0, port], [], {
        verdict: 'TRANSLATED',
        l4: { TCP: { destination_port: port } },
        Type: 'SOCK',
        sock_xlate_point: point,
        traffic_direction: undefined,
        is_reply: undefined,
      });
    const tally = read(
      connect(7070, 'SOCK_XLATE_POINT_PRE_DIRECTION_FWD'),
      connect(7070, 'SOCK_XLATE_POINT_POST_DIRECTION_FWD'),
      packet(FRONT, CART, [40_000, 7070], ['SYN']),
      connect(9999, 'SOCK_XLATE_POINT_POST_DIRECTION_FWD'),
      connect(9999, 'SOCK_XLATE_POINT_POST_DIRECTION_REV'),
    );
    expect(accesses(tally)).toEqual([
      `caller: ${FRONT_TO_CART} tcp :7070 = 1 ok`,
      `caller: ${FRONT_TO_CART} tcp :9999 = 1 ok`,
    ]);
  });
});

describe('requests', () => {
  test('a request is counted once, without its query, and its response tells how it ended', () => {
    const tally = read(http('REQUEST'), http('RESPONSE', {}, { code: 503 }), http('REQUEST'));
    expect(accesses(tally)).toEqual([`callee: ${FRONT_TO_CART} GET /cart/17 :7070 = 1 ok, 1 error`]);
  });

  test('an older response that repeats the ends of its request is matched too', () => {
    const old = { ...http('REQUEST'), is_reply: undefined };
    const response = { type: 'RESPONSE', latency_ns: '1200', http: { ...httpOf(old), code: 404 } };
    expect(accesses(read(old, { ...old, l7: response }))).toEqual([
      `callee: ${FRONT_TO_CART} GET /cart/17 :7070 = 1 error`,
    ]);
  });

  test('a response alone stands for the request that is not in the recording', () => {
    expect(accesses(read(http('RESPONSE', {}, { code: 200 })))).toEqual([
      `callee: ${FRONT_TO_CART} GET /cart/17 :7070 = 1 ok`,
    ]);
  });

  test('a request that the proxy refused is denied, whatever it answered', () => {
    const denied = [`callee: ${FRONT_TO_CART} GET /cart/17 :7070 = 1 denied`];
    const refused = http('RESPONSE', { verdict: 'DROPPED' }, { code: 403 });
    expect(
      accesses(read(http('REQUEST', { verdict: 'DROPPED' }), http('RESPONSE', {}, { code: 403 }))),
    ).toEqual(denied);
    expect(accesses(read(http('REQUEST'), refused))).toEqual(denied);
    expect(accesses(read(refused))).toEqual(denied);
  });

  test('a gRPC call is told by its content type, or by HTTP/2 and a service with a package', () => {
    const url = 'http://cart:7070/hipstershop.CartService/GetCart';
    const headers = [{ key: 'Content-Type', value: 'application/grpc+proto' }];
    const tally = read(
      http('REQUEST', {}, { method: 'POST', url, protocol: 'HTTP/2', headers }),
      http('REQUEST', {}, { method: 'POST', url, protocol: 'HTTP/2' }),
      http('REQUEST', {}, { method: 'POST', url: 'http://cart:7070/orders/create', protocol: 'HTTP/2' }),
      http('REQUEST', {}, { method: 'POST', url, headers: [{ key: 'content-type', value: 'text/plain' }] }),
    );
    expect(accesses(tally)).toEqual([
      `callee: ${FRONT_TO_CART} hipstershop.CartService/GetCart :7070 = 2 ok`,
      `callee: ${FRONT_TO_CART} POST /orders/create :7070 = 1 ok`,
      `callee: ${FRONT_TO_CART} POST /hipstershop.CartService/GetCart :7070 = 1 ok`,
    ]);
  });

  test('paths stay raw: dots, escapes and braces are not tidied up', () => {
    const tally = read(
      http('REQUEST', {}, { url: 'http://cart:7070/a/../b%2Fc//{x}' }),
      http('REQUEST', {}, { url: 'http://cart:7070?q=1' }),
      http('REQUEST', {}, { url: '/plain#top' }),
    );
    expect([...tally.accesses()].map(({ action }) => actionText(action))).toEqual([
      'GET /a/../b%2Fc//%7Bx%7D :7070',
      'GET / :7070',
      'GET /plain :7070',
    ]);
  });
});

describe('ends', () => {
  test('an address outside is named by the DNS answer that its caller got, and stays an address without one', () => {
    const answer = (asker: Party, query: string) =>
      packet(DNS, asker, [53, 41_000], [], {
        l4: { UDP: { source_port: 53, destination_port: 41_000 } },
        Type: 'L7',
        l7: { type: 'RESPONSE', dns: { query, ips: [WORLD.ip], rcode: 0 } },
        is_reply: true,
      });
    const tally = read(
      packet(CART, WORLD, [40_000, 443], ['SYN']),
      answer(FRONT, 'API.github.com.'),
      answer(CART, 'github.com.'),
      packet(FRONT, WORLD, [40_000, 443], ['SYN']),
      packet(HOST, WORLD, [40_000, 443], ['SYN'], { traffic_direction: undefined }),
    );
    expect(accesses(tally)).toEqual([
      'caller: w:shop/cart/cart -> i:140.82.121.6/world tcp :443 = 1 ok',
      'caller: w:shop/frontend/frontend -> h:/api.github.com tcp :443 = 1 ok',
      'caller: i:10.0.0.1/host -> i:140.82.121.6/world tcp :443 = 1 ok',
    ]);
  });

  test('reserved identities are named, by label or by number, with their address', () => {
    const identities: [Fields, string][] = [
      [{ identity: 4, labels: ['reserved:health'] }, 'health'],
      [{ identity: 7, labels: ['reserved:kube-apiserver', 'reserved:remote-node'] }, 'kube-apiserver'],
      [{ identity: 1, labels: ['reserved:host', 'reserved:kube-apiserver'] }, 'kube-apiserver'],
      [{ identity: 6 }, 'remote-node'],
      [{ identity: 8 }, 'ingress'],
      [{ identity: 10, labels: ['reserved:world-ipv6'] }, 'world'],
      [{ identity: 5, labels: ['reserved:init'] }, 'init'],
      [{ identity: 3, labels: ['reserved:unmanaged'] }, 'unmanaged'],
      [{ identity: 16_777_300 }, 'world'],
      [{}, 'unknown'],
    ];
    for (const [end, entity] of identities) {
      const tally = read(packet({ ip: '10.9.9.9', end }, CART, [40_000, 7070], ['SYN'], AT_CALLEE));
      const [access] = tally.accesses();
      expect({ end, from: access?.from }).toEqual({ end, from: { ip: '10.9.9.9', entity } });
    }
  });

  test("the kubelet's probe and Cilium's health check are callers of their own", () => {
    const tally = read(
      packet(HOST, CART, [40_000, 8080], ['SYN'], AT_CALLEE),
      packet(HEALTH, CART, [40_000, 4240], ['SYN'], AT_CALLEE),
    );
    expect(accesses(tally)).toEqual([
      'callee: i:10.0.0.1/host -> w:shop/cart/cart tcp :8080 = 1 ok',
      'callee: i:10.0.0.44/health -> w:shop/cart/cart tcp :4240 = 1 ok',
    ]);
  });

  test('the workload behind a ReplicaSet or Job is named, and a SPIFFE ID in a label wins', () => {
    const end = (more: Fields) => ({ ip: '10.3.3.3', end: { ...pod('x'), labels: [], ...more } });
    const from = (more: Fields) => {
      const [access] = read(packet(end(more), CART, [40_000, 7070], ['SYN'])).accesses();
      return endpointKey(access?.from ?? {});
    };
    expect(from({ workloads: [{ kind: 'ReplicaSet', name: 'web-6c965d68c9' }] })).toBe('w:shop//web');
    expect(from({ workloads: [{ kind: 'Job', name: 'report-29481120' }] })).toBe('w:shop//report');
    expect(from({ workloads: [{ kind: 'Deployment', name: 'web-6c965d68c9' }] })).toBe(
      'w:shop//web-6c965d68c9',
    );
    expect(from({ labels: ['spire:id=spiffe://example.org/ns/shop/sa/x'] })).toBe(
      'spiffe://example.org/ns/shop/sa/x',
    );
  });

  test('a label that does not come from Kubernetes cannot claim a service account', () => {
    const labels = ['container:io.cilium.k8s.policy.serviceaccount=admin'];
    const [access] = read(
      packet({ ip: '10.3.3.3', end: { ...pod('x'), labels } }, CART, [40_000, 7070], ['SYN']),
    ).accesses();
    expect(access?.from).toEqual({ namespace: 'shop', workload: 'x' });
  });

  test('an end that Cilium does not know is looked up in the inventory by address and time', () => {
    const tally = new Tally('hubble', {
      attribute: (ip, from) =>
        ip === '10.5.5.5' && from === START ? { namespace: 'shop', workload: 'legacy' } : undefined,
    });
    const reader = hubble.open(tally, { now: NOW });
    const flow = packet({ ip: '10.5.5.5', end: { identity: 3 } }, CART, [40_000, 7070], ['SYN'], AT_CALLEE);
    reader.line(Buffer.from(JSON.stringify(flow)), 1);
    expect(accesses(tally)).toEqual(['callee: w:shop//legacy -> w:shop/cart/cart tcp :7070 = 1 ok']);
  });
});

describe('what is no call', () => {
  test('UDP is counted apart, and a workload that is called by it is a blind spot', () => {
    const udp = (from: Party, to: Party, ports: [number, number], reply: boolean) =>
      packet(from, to, ports, [], {
        l4: { UDP: { source_port: ports[0], destination_port: ports[1] } },
        is_reply: reply,
      });
    const tally = read(
      udp(FRONT, DNS, [41_000, 53], false),
      udp(FRONT, DNS, [41_001, 53], false),
      udp(DNS, FRONT, [53, 41_000], true),
      udp(FRONT, WORLD, [41_000, 443], false),
      packet(FRONT, CART, [0, 0], [], { l4: { ICMPv4: { type: 8 } } }),
    );
    expect(accesses(tally)).toEqual([]);
    expect(skips(tally)).toEqual({
      'UDP: not a connection that Interlock governs yet': 4,
      'ICMP: not a connection that Interlock governs yet': 1,
    });
    expect([...tally.blindSpots()].map(({ to, what, count }) => [endpointKey(to), what, count])).toEqual([
      ['w:kube-system/coredns/coredns', 'DNS over UDP to port 53, which no policy can name', 2],
    ]);
  });

  test('lost events add up by node and place; other entries of the stream are counted and named', () => {
    const lost = (n: unknown, more: Fields = {}) => ({
      lost_events: { source: 'HUBBLE_RING_BUFFER', num_events_lost: n, cpu: 1 },
      node_name: 'kind/worker',
      time: stamp(),
      ...more,
    });
    const tally = read(
      lost('12'),
      lost(3),
      { lostEvents: { source: 'PERF_EVENT_RING_BUFFER', numEventsLost: '1' } },
      { node_status: { state_change: 'NODE_CONNECTED', node_names: ['kind/worker'] } },
      { agent_event: { type: 'AGENT_STARTED' } },
      { debug_event: { type: 'DBG_CT_LOOKUP' } },
    );
    expect(Object.fromEntries(tally.lost)).toEqual({
      'kind/worker HUBBLE_RING_BUFFER': 15,
      PERF_EVENT_RING_BUFFER: 1,
    });
    expect(Object.keys(skips(tally))).toEqual([
      'not a flow: node_status',
      'not a flow: agent_event',
      'not a flow: debug_event',
    ]);
  });
});

function httpOf(flow: Fields): Fields {
  // The builder above put it there.
  return (flow['l7'] as { http: Fields }).http;
}
