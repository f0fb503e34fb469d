import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AT, type Line, read, request, sentences } from './testing.ts';

const SERVER = 2;
const CLIENT = 3;
const PRODUCER = 4;
const CONSUMER = 5;

/** A trace with every kind of span, link and gap in it. */
const MIXED: Line[] = [
  {
    service: 'web',
    id: 'a',
    kind: SERVER,
    says: { 'http.method': 'GET', 'http.route': '/' },
    resource: { 'k8s.pod.name': 'w1' },
  },
  {
    service: 'web',
    id: 'b',
    parent: 'a',
    kind: CLIENT,
    says: { 'server.address': 'api' },
    resource: { 'k8s.pod.name': 'w1' },
  },
  { service: 'web', id: 'c', parent: 'b', kind: 1, resource: { 'k8s.pod.name': 'w1' } },
  { service: 'web', id: 'd', parent: 'c', kind: CLIENT, resource: { 'k8s.pod.name': 'w1' } },
  { service: 'api', id: 'e', parent: 'd', kind: SERVER, says: { 'http.method': 'GET', 'url.path': '/x' } },
  {
    service: 'api',
    id: 'f',
    parent: 'e',
    kind: CLIENT,
    says: { 'db.system': 'redis', 'net.peer.port': 6379 },
  },
  {
    service: 'api',
    id: 'f2',
    parent: 'e',
    kind: CLIENT,
    says: { 'db.system': 'redis', 'net.peer.port': 6380 },
  },
  { service: 'api', id: 'g', parent: 'e', kind: PRODUCER, name: 'orders send' },
  { service: 'mail', id: 'h', parent: 'g', kind: CONSUMER, name: 'orders process' },
  { service: 'mail', id: 'i', parent: 'gone', kind: SERVER },
  { service: 'api', id: 'j', parent: 'e', kind: CLIENT, says: { 'server.address': 'mail' } },
  {
    service: 'mail',
    id: 'k',
    parent: 'j',
    kind: SERVER,
    raw: { status: { code: 2 }, startTimeUnixNano: `${AT - 9_000_000}000000` },
  },
];

/** Everything that a tally holds, in an order of its own. */
function everything(texts: readonly string[]): unknown {
  const { tally } = read(texts);
  const accesses = [...tally.accesses()].map(({ from, to, action, side, evidence }) => ({
    key: JSON.stringify([from, to, action, side]),
    counts: [...evidence.counts].sort(([a], [b]) => a - b),
    seen: [evidence.firstSeen, evidence.lastSeen],
    instances: [...evidence.instances].sort(),
  }));
  accesses.sort((a, b) => (a.key < b.key ? -1 : 1));
  return [accesses, [...tally.blindSpots()], tally.read, tally.accepted, tally.firstSeen, tally.lastSeen];
}

test('any order of the spans, and any way to share them out to lines, gives the same tally', () => {
  const whole = everything([request(MIXED)]);
  const shuffled = fc.shuffledSubarray(MIXED, { minLength: MIXED.length });
  fc.assert(
    fc.property(
      shuffled,
      fc.array(fc.nat(4), { minLength: MIXED.length, maxLength: MIXED.length }),
      (lines, cuts) => {
        const texts: Line[][] = [[]];
        for (const [i, line] of lines.entries()) {
          if (cuts[i] === 0) texts.push([]);
          texts.at(-1)?.push(line);
        }
        expect(everything(texts.map(request))).toEqual(whole);
      },
    ),
    { numRuns: 200 },
  );
});

describe('a later command', () => {
  const two = (first: readonly Line[], second: readonly Line[]): string[] => {
    const one = read([request(first)]);
    return sentences(one.tally, read([request(second)], { carry: one.carry }).tally);
  };
  test('brings the callee of an open client span, or the parent of an orphan, and the blind spots go', () => {
    const client: Line = { service: 'web', id: 'c', kind: CLIENT, says: { 'http.url': 'http://api/x' } };
    const server: Line = {
      service: 'api',
      id: 's',
      parent: 'c',
      kind: SERVER,
      says: { 'http.method': 'GET' },
    };
    expect(two([client], [server])).toEqual(['1 web -> api: GET /x ok']);
    expect(two([server], [client])).toEqual(['1 web -> api: GET /x ok']);
    expect(two([server], [server])).toEqual(sentences(read([request([server])]).tally));
  });

  test('completes what was cut where each half waits for the other', () => {
    const waits = new Set(['b', 'd', 'g', 'j', 'i']);
    const first = MIXED.filter(({ id }) => waits.has(id) || id === 'a');
    const second = MIXED.filter((line) => !first.includes(line));
    // `a` is complete after the first command, so only `b` and `e` may hang on it: they came with it or not at all.
    expect(two(first, second)).toEqual(sentences(read([request(MIXED)]).tally));
    expect(two(second, first)).toEqual(sentences(read([request(MIXED)]).tally));
  });

  test('starts afresh, and says so, where the data of the earlier one is not readable', () => {
    for (const carry of [7, {}, { version: 99 }, { version: 1, spans: [[1, 2]] }]) {
      const { tally } = read([request([{ service: 'web', id: '1' }])], { carry });
      expect(tally.accepted).toBe(1);
      expect([...tally.skips()].map(({ count }) => count)).toEqual([1]);
    }
  });
});

describe('more spans than may be held at once', () => {
  const client = (i: number): Line => ({
    service: 'web',
    id: `c${i}`,
    kind: CLIENT,
    says: { 'server.address': 'api' },
  });
  const server = (i: number): Line => ({ service: 'api', id: `s${i}`, parent: `c${i}`, kind: SERVER });
  const range = Array.from({ length: 40 }, (_, i) => i);

  test('are still joined where both sides are near each other', () => {
    const lines = range.flatMap((i) => [server(i), client(i)]);
    const { tally } = read(
      lines.map((line) => request([line])),
      { limits: { window: 8, waiting: 8 } },
    );
    expect(sentences(tally)).toEqual(['40 web -> api: tcp ok']);
  });

  test('are let go, oldest first, and the orphans among them counted', () => {
    const lines = [...range.map(server), ...range.map(client)];
    const { tally } = read(
      lines.map((line) => request([line])),
      { limits: { window: 8, waiting: 8 } },
    );
    const skipped = [...tally.skips()].reduce((sum, { count }) => sum + count, 0);
    expect(skipped).toBeGreaterThan(0);
    expect(tally.read).toBe(tally.accepted + skipped);
    const calls = [...tally.accesses()].reduce(
      (sum, { evidence }) => sum + [...evidence.counts.values()].reduce((a, b) => a + b, 0),
      0,
    );
    // Nothing is invented, and every server span is either a call or told as a blind spot.
    const told = [...tally.blindSpots()].find(({ kind }) => kind === 'missing-parent')?.count ?? 0;
    expect(calls + told).toBe(40);
  });
});
