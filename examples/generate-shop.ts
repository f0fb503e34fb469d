// Writes the recording of the example shop: sixteen days of access logs as the callees' Envoys would print them.
// The same seed gives the same bytes, so that CI can tell whether the file in the repository is this one.

const DAY = 86_400_000;
const START = Date.UTC(2026, 9, 17);
const DAYS = 16;

/** A small seeded generator of numbers in [0, 1): mulberry32. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

type Random = () => number;

interface Route {
  readonly from: string;
  readonly to: string;
  readonly port: number;
  readonly method: string;
  readonly path: (random: Random) => string;
  /** Calls on a usual day. */
  readonly perDay: number;
  /** gRPC status, where it is a gRPC call. */
  readonly grpc?: true;
}

const hex = (random: Random, n: number) =>
  Array.from({ length: n }, () => Math.floor(random() * 16).toString(16)).join('');
const uuid = (r: Random) => `${hex(r, 8)}-${hex(r, 4)}-4${hex(r, 3)}-a${hex(r, 3)}-${hex(r, 12)}`;
const number = (random: Random, max: number) => Math.floor(random() ** 2 * max) + 1;

const ROUTES: readonly Route[] = [
  { from: 'web', to: 'catalogue', port: 8080, method: 'GET', path: () => '/products', perDay: 40 },
  {
    from: 'web',
    to: 'catalogue',
    port: 8080,
    method: 'GET',
    path: (r) => `/products/${number(r, 400)}`,
    perDay: 60,
  },
  { from: 'web', to: 'catalogue', port: 8080, method: 'GET', path: () => '/products/featured', perDay: 15 },
  {
    from: 'web',
    to: 'cart',
    port: 7070,
    method: 'POST',
    path: () => '/shop.Cart/GetCart',
    perDay: 50,
    grpc: true,
  },
  {
    from: 'web',
    to: 'cart',
    port: 7070,
    method: 'POST',
    path: () => '/shop.Cart/AddItem',
    perDay: 20,
    grpc: true,
  },
  { from: 'web', to: 'checkout', port: 8080, method: 'POST', path: () => '/orders', perDay: 8 },
  { from: 'web', to: 'checkout', port: 8080, method: 'GET', path: (r) => `/orders/${uuid(r)}`, perDay: 12 },
  {
    from: 'checkout',
    to: 'cart',
    port: 7070,
    method: 'POST',
    path: () => '/shop.Cart/GetCart',
    perDay: 8,
    grpc: true,
  },
  {
    from: 'checkout',
    to: 'cart',
    port: 7070,
    method: 'POST',
    path: () => '/shop.Cart/EmptyCart',
    perDay: 8,
    grpc: true,
  },
  { from: 'checkout', to: 'payment', port: 8080, method: 'POST', path: () => '/charges', perDay: 8 },
  {
    from: 'checkout',
    to: 'payment',
    port: 8080,
    method: 'GET',
    path: (r) => `/charges/ch_${hex(r, 16)}`,
    perDay: 5,
  },
  { from: 'checkout', to: 'mail', port: 8080, method: 'POST', path: () => '/messages', perDay: 8 },
];

function line(at: number, route: Route, random: Random, more: Record<string, unknown> = {}): string {
  const id = (name: string) => `spiffe://shop.example/ns/shop/sa/${name}`;
  const pod = 1 + Math.floor(random() * 3);
  return JSON.stringify({
    start_time: new Date(at).toISOString(),
    method: route.method,
    path: route.path(random),
    protocol: route.grpc ? 'HTTP/2' : 'HTTP/1.1',
    response_code: 200,
    response_flags: '-',
    ...(route.grpc ? { grpc_status: '0' } : {}),
    bytes_sent: Math.floor(random() * 4000),
    duration: Math.floor(random() * 80),
    downstream_remote_address: `10.0.1.${pod}:${40000 + Math.floor(random() * 9999)}`,
    downstream_local_address: `10.0.2.10:${route.port}`,
    downstream_peer_uri_san: id(route.from),
    downstream_local_uri_san: id(route.to),
    ...more,
  });
}

/** How busy the shop is: little at night, less on Sunday. 1 on average. */
function busy(at: number): number {
  const hour = new Date(at).getUTCHours();
  const rhythm = hour < 6 ? 0.3 : hour < 9 ? 0.9 : hour < 21 ? 1.45 : 0.8;
  return new Date(at).getUTCDay() === 0 ? rhythm * 0.7 : rhythm;
}

/** The lines of the recording, in the order of their times. */
export function shopLines(seed = 20261017): string[] {
  const random = generator(seed);
  const lines: { at: number; text: string }[] = [];
  const say = (at: number, route: Route, more?: Record<string, unknown>) =>
    lines.push({ at, text: line(at, route, random, more) });
  for (let hour = 0; hour < DAYS * 24; hour++) {
    const start = START + (hour * DAY) / 24;
    for (const route of ROUTES) {
      const expected = (route.perDay / 24) * busy(start);
      let n = Math.floor(expected) + (random() < expected % 1 ? 1 : 0);
      while (n-- > 0) {
        const more = random() < 0.01 ? { response_code: 503, response_flags: 'UF' } : undefined;
        say(start + random() * (DAY / 24), route, more);
      }
    }
  }
  for (let day = 0; day < DAYS; day++) {
    const route = { from: 'report', to: 'checkout', port: 8080, method: 'GET', perDay: 1 };
    const date = new Date(START + (day - 1) * DAY).toISOString().slice(0, 10);
    say(START + day * DAY + 9_000_000 + random() * 60_000, { ...route, path: () => `/reports/${date}` });
  }
  // What a reviewer must decide: a path used once, and a caller without an identity.
  const odd = { from: 'web', to: 'payment', port: 8080, method: 'DELETE', perDay: 0 };
  say(START + 11.4 * DAY, { ...odd, path: () => '/charges/ch_4a1f09be77c2d310' });
  const { downstream_peer_uri_san: _, ...nobody } = JSON.parse(
    line(START, { ...odd, from: '-', to: 'catalogue', method: 'GET', path: () => '/metrics' }, random),
  ) as Record<string, unknown>;
  for (let i = 0; i < 2 * DAYS; i++) {
    const at = START + (i / 2) * DAY + 60_000;
    lines.push({
      at,
      text: JSON.stringify({
        ...nobody,
        start_time: new Date(at).toISOString(),
        downstream_remote_address: '10.0.9.7:51000',
      }),
    });
  }
  return lines.toSorted((a, b) => a.at - b.at).map(({ text }) => text);
}
