import {
  type Action,
  addCall,
  addInstance,
  HOUR_MS,
  parseSpiffeId,
  type SpiffeId,
  Tally,
} from '../../src/access/index.ts';

/** Workloads of the shop. */
export const NAMES = [
  'web',
  'catalogue',
  'cart',
  'checkout',
  'payment',
  'shipping',
  'mail',
  'recommendation',
] as const;
export type ShopName = (typeof NAMES)[number];

/** A path as an attacker would choose it: wherever it is shown, it has to be text. */
export const HOSTILE = '/<img src=x onerror="window.interlockHacked=1">';

export function shopId(name: string, namespace = 'shop'): SpiffeId {
  return parseSpiffeId(`spiffe://example.org/ns/${namespace}/sa/${name}`);
}

type Call = readonly [
  from: string,
  to: ShopName,
  action: Action,
  perHour: number,
  when?: 'office' | 'night' | 'once',
];

const http = (method: string, path: string): Action => ({ kind: 'http', port: 8080, method, path });
const grpc = (service: string, method: string): Action => ({ kind: 'grpc', port: 9000, service, method });

/** Who calls whom, how often in an hour, and when. */
export const CALLS: readonly Call[] = [
  ['web', 'catalogue', http('GET', '/products'), 900],
  ['web', 'catalogue', http('GET', '/products/42'), 700],
  ['web', 'cart', http('POST', '/carts/7/items'), 120],
  ['web', 'cart', http('GET', '/carts/7'), 300],
  ['web', 'checkout', grpc('shop.Checkout', 'Place'), 40],
  ['web', 'recommendation', http('GET', '/similar'), 500],
  ['checkout', 'cart', http('GET', '/carts/7'), 40],
  ['checkout', 'payment', grpc('shop.Payment', 'Charge'), 40],
  ['checkout', 'shipping', grpc('shop.Shipping', 'Quote'), 60, 'office'],
  ['checkout', 'mail', http('POST', '/send'), 38],
  ['recommendation', 'catalogue', http('GET', '/products'), 50, 'office'],
  ['report', 'payment', grpc('shop.Payment', 'List'), 2, 'night'],
  ['report', 'cart', http('DELETE', '/carts/stale'), 1, 'night'],
  ['web', 'catalogue', http('GET', HOSTILE), 1, 'once'],
];

function happens(hour: number, when: Call[4]): boolean {
  const at = new Date(hour * HOUR_MS);
  if (when === 'office')
    return at.getUTCDay() >= 1 && at.getUTCDay() <= 5 && at.getUTCHours() >= 7 && at.getUTCHours() < 19;
  return when === 'night' ? at.getUTCHours() === 2 : true;
}

/** What collectors saw of the shop in so many days up to `now`. */
export function shopEvidence(now: number, days = 12): Tally {
  const tally = new Tally('otlp');
  const last = Math.floor(now / HOUR_MS);
  const first = last - days * 24;
  for (const [from, to, action, perHour, when] of CALLS) {
    const caller = { spiffeId: shopId(from, from === 'report' ? 'batch' : 'shop') };
    const { evidence } = tally.access(caller, { spiffeId: shopId(to) }, action, 'callee');
    for (let hour = when === 'once' ? last - 1 : first; hour < last; hour++) {
      if (!happens(hour, when)) continue;
      // More by day than by night.
      const n = Math.max(1, Math.round(perHour * (0.4 + 0.6 * Math.sin(((hour % 24) / 24) * Math.PI))));
      addCall(evidence, hour * HOUR_MS + 60_000, 'ok', n);
      evidence.mutual += n;
    }
    for (let k = 0; k < (when === 'once' ? 1 : 3); k++) addInstance(evidence, `10.0.${k}.7`);
  }
  tally.cover(first * HOUR_MS);
  tally.cover(now);
  tally.accepted = CALLS.length;
  return tally;
}
