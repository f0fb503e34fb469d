import { describe, expect, test } from 'vitest';
import { compile, decide, explain } from '../../src/policy/index.ts';
import { loadDecisions } from './load.ts';

const decisions = loadDecisions();

describe('the corpus of decisions', () => {
  test('is large, and holds every kind of verdict', () => {
    expect(decisions.length).toBeGreaterThanOrEqual(200);
    expect(new Set(decisions.map(({ verdict }) => verdict.decidedBy)).size).toBe(5);
  });

  test.each(decisions.map((decision) => [`${decision.file}: ${decision.name}`, decision] as const))(
    'decide gives it: %s',
    (_, { policies, request, verdict, at }) => {
      const set = compile(policies);
      expect(decide(set, request, at)).toEqual(verdict);
      const { sentence, ...explained } = explain(set, request, at);
      expect(explained.verdict).toEqual(verdict);
      expect(sentence).toMatch(verdict.allowed ? /^Allowed/ : /^Denied/);
      expect(explained.nearest !== undefined).toBe(
        verdict.decidedBy === 'no-rule' &&
          policies.some((p) => p.spec.protects.workload === request.to && p.spec.rules.length > 0),
      );
    },
  );
});
