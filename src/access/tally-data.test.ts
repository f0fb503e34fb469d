import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Action } from './action.ts';
import { OUTCOMES } from './evidence.ts';
import { Tally } from './tally.ts';
import { absorbTally, exportTally } from './tally-data.ts';

const ACTIONS: readonly Action[] = [
  { kind: 'http', port: 1, method: 'GET', path: '/' },
  { kind: 'http', port: 1, method: 'GET', path: '/x' },
  { kind: 'http', port: 1, method: 'POST', path: '/' },
  { kind: 'http', port: 2, method: 'GET', path: '/' },
  { kind: 'grpc', port: 1, service: 'a.B', method: 'Get' },
  { kind: 'grpc', port: 1, service: 'a.B', method: 'Set' },
  { kind: 'grpc', port: 1, service: 'a.C', method: 'Get' },
  { kind: 'tcp', port: 1 },
];

const record = fc.record({
  from: fc.constantFrom('a', 'b'),
  to: fc.constantFrom('c', 'd'),
  action: fc.constantFrom(...ACTIONS),
  side: fc.constantFrom('caller', 'callee'),
  at: fc.integer({ min: 0, max: 4_000_000_000_000 }),
  outcome: fc.constantFrom(...OUTCOMES),
  instance: fc.string({ maxLength: 2 }),
  skip: fc.constantFrom('none', 'not JSON', 'no time'),
});
type Record = typeof record extends fc.Arbitrary<infer T> ? T : never;

function add(
  tally: Tally,
  { from, to, action, side, at, outcome, instance, skip }: Record,
  line: number,
): void {
  const ends = [{ workload: from }, { workload: to }] as const;
  tally.read++;
  if (skip !== 'none') {
    tally.skip(skip, line, `line ${line}`);
    tally.lose(from, 1);
    return;
  }
  tally.accepted++;
  tally.cover(at);
  const counter = tally.access(...ends, action, side);
  counter.add(at, outcome, instance);
  counter.evidence.mutual++;
  tally.blindSpot({ kind: 'l4-only', from: ends[0], to: ends[1], what: action.kind }, at);
  tally.fact(`node ${to}`, { fact: 'node', name: to, ips: [] });
}

function comparable(tally: Tally) {
  const inOrder = <T>(values: Iterable<T>, key: (value: T) => string) =>
    [...values].toSorted((x, y) => (key(x) < key(y) ? -1 : 1));
  const { groups: _groups, names: _names, numbers: _numbers, ...data } = exportTally(tally);
  return {
    ...data,
    accesses: inOrder(tally.accesses(), (it) => JSON.stringify([it.from, it.to, it.action, it.side])).map(
      (it) => ({
        ends: [it.from, it.to, it.action, it.side],
        evidence: { ...it.evidence },
      }),
    ),
    blindSpots: inOrder(data.blindSpots, (it) => JSON.stringify([it.from, it.to, it.what])),
    skips: inOrder(data.skips, (it) => it.reason),
    facts: inOrder(data.facts, (it) => JSON.stringify(it)),
    lost: inOrder(data.lost, ([by]) => by),
  };
}

test('a tally read in parts, sent as data and added up in any order equals one that was read whole', () => {
  fc.assert(
    fc.property(
      fc.array(record, { maxLength: 60 }),
      fc.array(fc.nat(3), { minLength: 60, maxLength: 60 }),
      (records, shares) => {
        const whole = new Tally('envoy');
        const parts = Array.from({ length: 4 }, () => new Tally('envoy'));
        for (const [i, each] of records.entries()) {
          add(whole, each, i + 1);
          add(parts[shares[i] ?? 0] as Tally, each, i + 1);
        }
        const sum = new Tally('envoy');
        for (const part of parts.toReversed()) absorbTally(sum, structuredClone(exportTally(part)));
        expect(comparable(sum)).toEqual(comparable(whole));
      },
    ),
  );
});
