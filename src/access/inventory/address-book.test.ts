import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Directory } from './directory.ts';
import type { Fact, PodFact } from './facts.ts';

const S = 1000;

function pod(name: string, over: Partial<PodFact> = {}): PodFact {
  return {
    fact: 'pod',
    namespace: 'shop',
    name,
    uid: `uid-${name}`,
    serviceAccount: 'default',
    workload: name,
    ips: ['10.0.0.1'],
    hostNetwork: false,
    labels: {},
    ports: [],
    images: ['app:1'],
    ...over,
  };
}

const holderOf = (facts: Fact[], at: number, to = at) =>
  new Directory(facts).attribute('10.0.0.1', at, to)?.workload;

describe('an address', () => {
  test('belongs to the pod that held it at that time', () => {
    const facts = [pod('a', { start: 10 * S, end: 20 * S }), pod('b', { start: 30 * S })];
    expect(holderOf(facts, 15 * S)).toBe('a');
    expect(holderOf(facts, 35 * S)).toBe('b');
    expect(new Directory(facts).attribute('10.0.0.1', 15 * S, 15 * S)).toEqual({
      namespace: 'shop',
      workload: 'a',
      serviceAccount: 'default',
      pod: 'a',
    });
  });

  test('belongs to nobody before the first start, between two holders, and over a change of holders', () => {
    const facts = [pod('a', { start: 10 * S, end: 20 * S }), pod('b', { start: 30 * S })];
    expect(holderOf(facts, 9 * S)).toBeUndefined();
    expect(holderOf(facts, 25 * S)).toBeUndefined();
    expect(holderOf(facts, 15 * S, 35 * S)).toBeUndefined();
  });

  test('is given up by a pod without a known end when the next one starts', () => {
    const facts = [pod('a', { start: 10 * S }), pod('b', { start: 30 * S })];
    expect(holderOf(facts, 29 * S)).toBe('a');
    expect(holderOf(facts, 31 * S)).toBe('b');
  });

  test('is nobody’s in the second in which it changed hands, because times are whole seconds', () => {
    const facts = [pod('a', { start: 10 * S, end: 30 * S }), pod('b', { start: 30 * S })];
    expect(holderOf(facts, 30 * S + 500)).toBeUndefined();
    expect(holderOf(facts, 31 * S)).toBe('b');
  });

  test('is nobody’s while two claim it, and while a pod of unknown start may have held it', () => {
    expect(
      holderOf([pod('a', { start: 10 * S, end: 40 * S }), pod('b', { start: 30 * S })], 35 * S),
    ).toBeUndefined();
    const facts = [pod('a'), pod('b', { start: 30 * S })];
    expect(holderOf(facts, 20 * S)).toBeUndefined();
    expect(holderOf(facts, 40 * S)).toBe('b');
  });

  test('of a node or a hostNetwork pod is the host, never the pod', () => {
    const directory = new Directory([
      { fact: 'node', name: 'n1', ips: ['192.168.0.1'] },
      pod('proxy', { ips: ['192.168.0.1'], hostNetwork: true, start: 10 * S }),
      pod('agent', { ips: ['192.168.0.2'], hostNetwork: true, start: 10 * S }),
      pod('other', { ips: ['192.168.0.2'], hostNetwork: true, start: 20 * S }),
    ]);
    for (const ip of ['192.168.0.1', '192.168.0.2']) {
      expect(directory.attribute(ip, 30 * S, 30 * S)).toEqual({ entity: 'host', ip });
      expect(directory.resolve({ ip }, 30 * S, 30 * S)).toEqual({ kind: 'outside', from: 'host' });
    }
  });

  test('is the same however it is spelt', () => {
    const directory = new Directory([pod('a', { ips: ['fd00::a:1'], start: 0 })]);
    expect(directory.attribute('FD00:0:0:0:0:0:A:1', 5, 5)?.workload).toBe('a');
    expect(new Directory([pod('a', { start: 0 })]).attribute('::ffff:10.0.0.1', 5, 5)?.workload).toBe('a');
  });

  test('is attributed as a naive reading of the rules attributes it', () => {
    const times = fc.option(fc.integer({ min: 0, max: 12 }), { nil: undefined });
    const pods = fc.array(fc.record({ start: times, end: times }), { maxLength: 6 });
    const query = fc.tuple(fc.integer({ min: -4, max: 60 }), fc.integer({ min: 0, max: 20 }));
    let attributed = 0;
    fc.assert(
      fc.property(pods, fc.array(query, { minLength: 1, maxLength: 8 }), (list, queries) => {
        const facts = list.map(({ start, end }, i) =>
          pod(`p${i}`, {
            ...(start === undefined ? {} : { start: start * S }),
            ...(end === undefined ? {} : { end: end * S }),
          }),
        );
        const directory = new Directory(facts);
        for (const [first, length] of queries) {
          const [from, to] = [first * 250, (first + length) * 250];
          const expected = naiveHolder(facts, from, to);
          if (expected !== undefined) attributed++;
          expect(directory.attribute('10.0.0.1', from, to)?.pod).toBe(expected);
        }
      }),
      { numRuns: 500 },
    );
    expect(attributed).toBeGreaterThan(100);
  });
});

/** At every quarter of a second of the span, who may have held the address; one and the same pod, or nobody. */
function naiveHolder(pods: readonly PodFact[], from: number, to: number): string | undefined {
  const possible = new Set<PodFact>();
  for (let at = from; at <= to; at += 250) {
    let someone = false;
    for (const p of pods) {
      const start = p.start ?? -Infinity;
      const later = pods.map((q) => q.start).filter((s) => s !== undefined && s > start) as number[];
      const end = p.end === undefined ? Math.min(...later) : Math.max(p.end, start);
      if (start <= at && at < end + S) {
        possible.add(p);
        someone = true;
      }
    }
    if (!someone) return undefined;
  }
  const [sole] = possible;
  return possible.size === 1 && sole?.start !== undefined ? sole.name : undefined;
}
