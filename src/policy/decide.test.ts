import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { judge, policiesArb, requestArb, timeArb } from '../../test/corpus/generators.ts';
import { referenceVerdict } from '../../test/corpus/reference.ts';
import { compile, DECIDED_BY, decide } from './index.ts';

describe('decide', () => {
  test('equals a naive reference evaluator', () => {
    const seen = new Map<string, number>();
    const count = (what: string) => seen.set(what, (seen.get(what) ?? 0) + 1);
    fc.assert(
      fc.property(
        policiesArb({ conditions: true, ends: true }),
        fc.array(requestArb, { minLength: 20, maxLength: 40 }),
        timeArb,
        (policies, requests, at) => {
          const set = compile(policies);
          for (const request of requests) {
            const verdict = decide(set, request, at);
            expect(verdict).toEqual(referenceVerdict(policies, request, judge, at));
            if (verdict.allowed !== decide(set, request, 0).allowed) count('ended');
            count(verdict.decidedBy);
            if (verdict.conditionUnknown === true) count(`${verdict.decidedBy} unknown`);
          }
        },
      ),
      { numRuns: 1000 },
    );
    // A generator that never meets a rule would prove nothing.
    for (const by of [...DECIDED_BY, 'deny unknown', 'no-rule unknown', 'ended']) {
      expect(seen.get(by) ?? 0, by).toBeGreaterThan(20);
    }
  });
});
