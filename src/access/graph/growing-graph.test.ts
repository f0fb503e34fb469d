import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Action } from '../action.ts';
import { type Endpoint, endpointKey } from '../endpoint.ts';
import { copyOfEvidence, type Evidence, emptyEvidence, HOUR_MS, mergeEvidence } from '../evidence.ts';
import { workload } from '../inventory/facts.test-helper.ts';
import type { Fact, PodFact, ServiceFact } from '../inventory/facts.ts';
import { actionKey } from '../action.ts';
import { drained } from '../steps.ts';
import { type BlindSpot, Tally } from '../tally.ts';
import type { RecordedAccess, Side } from '../tally-access.ts';
import { buildGraph } from './build-graph.ts';
import type { AccessGraph } from './graph.ts';
import { GrowingGraph, type GrownRecord } from './growing-graph.ts';

const T0 = Date.UTC(2026, 9, 19);
const id = (name: string) => ({ spiffeId: `spiffe://example.org/ns/shop/sa/${name}` });

/** Records as the control plane holds them: one that is added to is replaced. */
class Book {
  readonly records = new Map<string, RecordedAccess>();

  add(calls: readonly Call[]): GrownRecord[] {
    const tallies = new Map<string, Tally>();
    for (const { from, to, action, side, source, hour, n } of calls) {
      const tally = tallies.get(source) ?? new Tally(source);
      tallies.set(source, tally);
      tally.access(from, to, action, side).add(T0 + hour * HOUR_MS, 'ok', `pod-${n}`, n);
    }
    const before = new Map<string, RecordedAccess | undefined>();
    for (const access of [...tallies.values()].flatMap((tally) => [...tally.accesses()])) {
      const { from, to, action, side, evidence } = access;
      const key = `${endpointKey(from)}\n${endpointKey(to)}\n${side}\n${actionKey(action)}`;
      const known = this.records.get(key);
      if (!before.has(key)) before.set(key, known);
      const sum = mergeEvidence(copyOfEvidence(known?.evidence ?? emptyEvidence()), evidence);
      this.records.set(key, { ...(known ?? { from, to, action, side }), evidence: sum });
    }
    return [...before].map(([key, each]) => ({ before: each, now: this.#get(key) }));
  }

  #get(key: string): RecordedAccess {
    const record = this.records.get(key);
    if (record === undefined) throw new TypeError('it was just put there');
    return record;
  }
}

interface Call {
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly action: Action;
  readonly side: Side;
  readonly source: string;
  readonly hour: number;
  readonly n: number;
}

const evidenceShown = ({ counts, instances, sources, ...rest }: Evidence) => ({
  ...rest,
  counts: [...counts],
  instances: [...instances],
  sources: [...sources],
});
/** Everything in it, as plain data. */
const shown = ({ accesses, workloads, ...rest }: AccessGraph) => ({
  ...rest,
  workloads: [...workloads],
  accesses: accesses.map(({ evidence, ...access }) => ({ ...access, evidence: evidenceShown(evidence) })),
});

const service: ServiceFact = {
  fact: 'service',
  namespace: 'shop',
  name: 'cart',
  clusterIps: ['10.1.0.1'],
  selector: { app: 'cart' },
  ports: [{ port: 80, targetPort: 8080 }],
};
/** The address of the mail's pod until the third hour, and then of the web's. */
const pod = (name: string, start: number, end?: number): PodFact => ({
  fact: 'pod',
  namespace: 'shop',
  name: `${name}-1`,
  ips: ['10.0.0.5'],
  workload: name,
  serviceAccount: name,
  labels: { app: name },
  images: [],
  ports: [],
  hostNetwork: false,
  start: T0 + start * HOUR_MS,
  ...(end === undefined ? {} : { end: T0 + end * HOUR_MS }),
});
const FACTS: readonly Fact[] = [
  workload('cart'),
  workload('web', { declares: [{ host: 'cart', port: 80, where: 'env CART', by: 'container' }] }),
  workload('mail', { serviceAccount: 'default' }),
  service,
  pod('mail', 0, 3),
  pod('web', 3),
];
const SPOT: BlindSpot = {
  kind: 'client-only',
  from: id('web'),
  to: id('cart'),
  what: 'GET /a',
  count: 3,
  firstSeen: T0,
  lastSeen: T0,
};

const endpoints: readonly Endpoint[] = [
  id('web'),
  id('cart'),
  id('mail'),
  id('stranger'),
  { ip: '10.0.0.5' },
  { ip: '10.9.9.9' },
  { namespace: 'shop', workload: 'cart' },
  { namespace: 'shop', serviceAccount: 'default' },
  { namespace: 'shop', workload: 'late', serviceAccount: 'default' },
  { namespace: 'shop', host: 'cart' },
];
const actions: readonly Action[] = [
  { kind: 'http', port: 8080, method: 'GET', path: '/a' },
  { kind: 'http', port: 80, method: 'GET', path: '/b' },
  { kind: 'tcp', port: 8080 },
  { kind: 'tcp', port: 0 },
];
const call = fc.record<Call>({
  from: fc.constantFrom(...endpoints),
  to: fc.constantFrom(...endpoints),
  action: fc.constantFrom(...actions),
  side: fc.constantFrom<Side>('caller', 'callee'),
  source: fc.constantFrom('proxy', 'envoy'),
  hour: fc.integer({ min: 0, max: 6 }),
  n: fc.integer({ min: 1, max: 9 }),
});
const batches = fc.array(fc.array(call, { maxLength: 4 }), { maxLength: 8 });

describe('a graph that grows', () => {
  test('says what one says that is made of everything at once, whatever comes in whatever order', () => {
    let kept = 0;
    let anew = 0;
    const first = fc.array(call, { maxLength: 6 });
    fc.assert(
      fc.property(first, batches, fc.boolean(), fc.boolean(), (start, rest, hasFacts, hasSpot) => {
        const book = new Book();
        book.add(start);
        const recorded = () => ({
          trustDomain: 'example.org',
          accesses: [...book.records.values()],
          blindSpots: hasSpot ? [SPOT] : [],
          facts: hasFacts ? FACTS : [],
          events: 7,
          lost: 1,
        });
        let growing = drained(GrowingGraph.of(recorded()));
        for (const batch of rest) {
          const before = growing.graph(recorded());
          const text = JSON.stringify(shown(before));
          if (drained(growing.grow(book.add(batch)))) kept++;
          else {
            anew++;
            growing = drained(GrowingGraph.of(recorded()));
          }
          expect(JSON.stringify(shown(before))).toBe(text);
          const now = growing.graph(recorded());
          expect(shown(now)).toEqual(shown(buildGraph(recorded())));
          expect([...growing.byCallee.values()].flat()).toEqual(now.accesses);
        }
      }),
      { numRuns: 150 },
    );
    expect(kept).toBeGreaterThan(0);
    expect(anew).toBeGreaterThan(0);
  });

  test('lays out the callees of what is new alone: the others keep their very accesses', () => {
    const book = new Book();
    const of = (from: string, to: string, hour = 0): Call => ({
      from: id(from),
      to: id(to),
      action: { kind: 'http', port: 8080, method: 'GET', path: '/a' },
      side: 'callee',
      source: 'proxy',
      hour,
      n: 1,
    });
    book.add([of('web', 'cart'), of('web', 'mail')]);
    const nothing = { blindSpots: [], facts: [], events: 0, lost: 0 };
    const all = { trustDomain: 'example.org', accesses: [...book.records.values()], ...nothing };
    const growing = drained(GrowingGraph.of(all));
    const before = growing.byCallee;
    expect(drained(growing.grow(book.add([of('web', 'cart', 1), of('cart', 'late')])))).toBe(true);
    const now = growing.byCallee;
    const [cart = '', late = '', mail = ''] = ['cart', 'late', 'mail'].map((name) => id(name).spiffeId);
    expect([...now.keys()]).toEqual([cart, late, mail]);
    expect(now.get(mail)).toBe(before.get(mail));
    expect(now.get(cart)).not.toBe(before.get(cart));
    expect(growing.graph(nothing).coverage.hours).toHaveLength(2);
  });
});
