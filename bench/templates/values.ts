/** Seeded values for route parameters, as they stand in real access logs. */

/** A generator of numbers in [0, 1) (mulberry32), the same for the same seed. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const list = (text: string): readonly string[] => text.split(/\s+/).filter((w) => w !== '');

const FIXED: Record<string, readonly string[]> = {
  station:
    list(`shanghai nan%20jing su%20zhou wuxi zhenjiang shanghaihongqiao taiyuan shijiazhuang xuzhou jinan beijing
    hangzhou jiaxingnan`),
  trainType: list('GaoTieOne GaoTieTwo DongCheOne ZhiDa TeKuai KuaiSu'),
  config: list(
    'DirectTicketAllocationProportion MaxSeatsPerCoach RebookingFee NightTrainShare BoardingGateCloses SeatHoldTime',
  ),
  surname:
    list(`smith davis franklin escobito mcTavish estaban rodriquez black coleman schroeder nakamura okafor lindqvist
    moreau papadopoulos ivanova castellanos haugen brennan delacroix`),
  city: list(`berlin paris london madrid rome vienna prague warsaw lisbon dublin oslo helsinki athens budapest zurich
    copenhagen stockholm amsterdam brussels san-francisco new-york buenos-aires`),
  currency: list('EUR USD GBP JPY CHF SEK NOK DKK PLN CZK HUF AUD CAD NZD CNY INR BRL ZAR'),
  language: list('en de fr es it pt-BR nl sv ja zh-CN ko pl'),
  namespace: list(
    'default kube-system monitoring payments checkout team-a team-b ingress-nginx logging staging',
  ),
  component: list(`frontend cartservice checkoutservice adservice redis-cart emailservice prometheus grafana
    coredns kube-proxy loki tempo payments-api ledger-writer`),
  bucket: list('acme-backups acme-media web-assets tf-state billing-exports ml-datasets logs-eu-west-1'),
  realm: list('master acme partners staff suppliers'),
  index: list('products logs-2026.11.01 logs-2026.11.02 logs-2026.11.03 sessions catalog-v3 audit-2026'),
  project: list('OPS WEB PAY SEC DATA MOB'),
  genre: list('jazz techno folk opera reggae fado polka dub blues'),
};

const FIRST =
  list(`octo alice bob carol dave erin frank grace heidi ivan judy mallory niaj olivia peggy rupert sybil
  trent victor wendy yusuf zoe anders bjarne chidi dmitri esra farid`);
const SECOND = list('cat fox smith dev codes hub lab tan wu lee berg stone');
const ADJECTIVES = list('red quick silent northern tiny ancient golden rapid hollow bright curly wooden');
const THINGS = list('lantern harbor teapot engine compass kettle garden bicycle notebook anchor');
const TOOLS = list('parser toolkit dotfiles linux react compiler kernel website playground demo engine');

const pick = (from: readonly string[], n: number): string => from[n % from.length] as string; // n % length is inside

const HEX = '0123456789abcdef';
const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const CAPTCHA = '23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghjkmnpqrstuvwxyz';

type Maker = (draw: () => number, rank: number) => string;

const letters = (alphabet: string, draw: () => number, length: number): string => {
  let text = '';
  for (let i = 0; i < length; i++) text += alphabet[Math.floor(draw() * alphabet.length)];
  return text;
};
const whole = (draw: () => number, below: number): number => Math.floor(draw() * below);
const two = (n: number): string => String(n).padStart(2, '0');

function uuid(draw: () => number): string {
  const h = letters(HEX, draw, 30);
  return `${h.slice(0, 8)}-${h.slice(8, 12)}-4${h.slice(12, 15)}-a${h.slice(15, 18)}-${h.slice(18, 30)}`;
}

/** Kind of parameter -> how its values are made, and how many there are. */
const MADE: Record<string, readonly [size: number, make: Maker]> = {
  uuid: [400, uuid],
  int: [400, (draw) => String(1 + whole(draw, 99_999))],
  year: [8, (_, rank) => String(2019 + rank)],
  month: [12, (_, rank) => two(rank + 1)],
  one: [1, () => '1'],
  status: [7, (_, rank) => String(rank)],
  date: [40, (draw) => `2023-${two(1 + whole(draw, 12))}-${two(1 + whole(draw, 28))}`],
  trip: [24, (draw) => `${pick(['G', 'D', 'Z', 'T', 'K'], whole(draw, 5))}${1000 + whole(draw, 900)}`],
  money: [200, (draw) => (whole(draw, 50_000) / 100).toFixed(whole(draw, 3))],
  captcha: [2000, (draw) => letters(CAPTCHA, draw, 4)],
  email: [200, (draw, rank) => `${pick(FIRST, rank)}${whole(draw, 90)}@mail.example.com`],
  sha: [300, (draw) => letters(HEX, draw, 40)],
  gist: [300, (draw) => letters(HEX, draw, 32)],
  login: [
    150,
    (draw, rank) =>
      `${pick(FIRST, rank)}${draw() < 0.6 ? pick(SECOND, whole(draw, 99)) : ''}${draw() < 0.2 ? whole(draw, 99) : ''}`,
  ],
  repo: [
    120,
    (draw, rank) =>
      rank % 3 === 0
        ? pick(TOOLS, whole(draw, 99))
        : `${pick(ADJECTIVES, whole(draw, 99))}-${pick(TOOLS, rank)}`,
  ],
  slug: [
    150,
    (draw, rank) =>
      `${pick(ADJECTIVES, rank)}-${pick(THINGS, whole(draw, 99))}${draw() < 0.3 ? `-${whole(draw, 30)}` : ''}`,
  ],
  semver: [40, (draw) => `v${whole(draw, 4)}.${whole(draw, 20)}.${whole(draw, 10)}`],
  pod: [
    150,
    (draw, rank) =>
      `${pick(FIXED['component'] ?? [], rank)}-${letters('bcdf2456789', draw, 9)}-${letters('bcdfghjklmnpqrstvwxz2456789', draw, 5)}`,
  ],
  node: [12, (draw) => `ip-10-0-${whole(draw, 200)}-${whole(draw, 200)}.ec2.internal`],
  sku: [200, (draw) => `SKU-${10_000 + whole(draw, 80_000)}`],
  image: [200, (draw) => `${letters(HEX, draw, 16)}.${pick(['png', 'jpg', 'webp'], whole(draw, 3))}`],
  ip: [200, (draw) => `${1 + whole(draw, 220)}.${whole(draw, 255)}.${whole(draw, 255)}.${whole(draw, 255)}`],
  base62: [300, (draw) => letters(BASE62, draw, 22)],
  issueKey: [200, (draw, rank) => `${pick(FIXED['project'] ?? [], rank)}-${1 + whole(draw, 3000)}`],
  iban: [100, (draw) => `DE${letters('0123456789', draw, 20)}`],
  title: [
    120,
    (draw, rank) => `${capital(pick(ADJECTIVES, rank))}_${capital(pick(THINGS, whole(draw, 99)))}`,
  ],
  function: [30, (draw, rank) => `${pick(TOOLS, rank)}-${pick(THINGS, whole(draw, 99))}-fn`],
  isbn: [
    200,
    (draw) =>
      `978-${whole(draw, 9)}-${letters('0123456789', draw, 4)}-${letters('0123456789', draw, 4)}-${whole(draw, 9)}`,
  ],
};
const STRIPE = new Set(['cus', 'card', 'ch', 'pi', 'in', 'evt', 'sub']);

const capital = (word: string): string => word.slice(0, 1).toUpperCase() + word.slice(1);

/** All values of a kind of parameter, the most frequent first. Throws for a kind that is not known. */
export function valuesOfKind(kind: string, draw: () => number): readonly string[] {
  const fixed = FIXED[kind];
  if (fixed !== undefined) return fixed;
  const made = MADE[kind];
  if (made !== undefined) {
    return [...new Set(Array.from({ length: made[0] }, (_, rank) => made[1](draw, rank)))];
  }
  if (STRIPE.has(kind)) return Array.from({ length: 300 }, () => `${kind}_${letters(BASE62, draw, 16)}`);
  throw new RangeError(`no values for a parameter of kind "${kind}"`);
}

/** Draws an index below `size` with the weight 1 / (index + 1): Zipf's law. */
export function zipf(draw: () => number, size: number): number {
  let sum = 0;
  for (let i = 1; i <= size; i++) sum += 1 / i;
  let at = draw() * sum;
  for (let i = 0; i < size; i++) {
    at -= 1 / (i + 1);
    if (at < 0) return i;
  }
  return size - 1;
}
