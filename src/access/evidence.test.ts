import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  addCall,
  addInstance,
  callsThatReached,
  type Evidence,
  emptyEvidence,
  HOUR_MS,
  hourOfWeek,
  mergeEvidence,
  OUTCOMES,
  outcomesOf,
} from './evidence.ts';

const calls = fc.array(
  fc.record({
    at: fc.integer({ min: 0, max: 4_000_000_000_000 }),
    outcome: fc.constantFrom(...OUTCOMES),
    n: fc.integer({ min: 1, max: 1000 }),
    instance: fc.string({ maxLength: 4 }),
    source: fc.constantFrom('otlp', 'envoy', 'hubble'),
  }),
  { maxLength: 60 },
);

type Call = { at: number; outcome: (typeof OUTCOMES)[number]; n: number; instance: string; source: string };

function evidenceOf(list: readonly Call[]): Evidence {
  const evidence = emptyEvidence();
  for (const call of list) {
    addCall(evidence, call.at, call.outcome, call.n);
    addInstance(evidence, call.instance);
    evidence.sources.add(call.source);
  }
  return evidence;
}

function comparable(e: Evidence) {
  const sorted = <T>(values: Iterable<T>) => [...values].toSorted();
  return {
    ...e,
    counts: [...e.counts].toSorted(([a], [b]) => a - b),
    instances: sorted(e.instances),
    sources: sorted(e.sources),
  };
}

const merged = (...parts: Evidence[]) => comparable(parts.reduce(mergeEvidence, emptyEvidence()));

describe('evidence', () => {
  test('merges to the same result in any order and grouping', () => {
    fc.assert(
      fc.property(calls, calls, calls, (a, b, c) => {
        const [x, y, z] = [() => evidenceOf(a), () => evidenceOf(b), () => evidenceOf(c)];
        const all = comparable(evidenceOf([...a, ...b, ...c]));
        expect(merged(x(), y(), z())).toEqual(all);
        expect(merged(z(), x(), y())).toEqual(all);
        expect(merged(mergeEvidence(x(), mergeEvidence(y(), z())))).toEqual(all);
        expect(merged(x(), emptyEvidence())).toEqual(comparable(x()));
      }),
    );
  });

  test('counts failed and denied calls, and does not take them for calls that reached the callee', () => {
    const evidence = emptyEvidence();
    for (const outcome of OUTCOMES) addCall(evidence, 0, outcome, 2);
    expect(outcomesOf(evidence)).toEqual({ ok: 2, error: 2, failed: 2, denied: 2 });
    expect(callsThatReached(evidence)).toBe(4);
  });

  test('numbers the hours of the week from Monday 00:00 UTC', () => {
    expect(hourOfWeek(Date.UTC(2026, 10, 16, 0) / HOUR_MS)).toBe(0);
    expect(hourOfWeek(Date.UTC(2026, 10, 22, 23) / HOUR_MS)).toBe(167);
  });
});
