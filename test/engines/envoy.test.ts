import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { engine } from '../../src/engines/envoy/index.ts';
import { type AccessPolicy, type AccessRequest, compile, type PolicySet } from '../../src/policy/index.ts';
import { policiesArb, requestArb, timeArb } from '../corpus/generators.ts';
import { loadDecisions } from '../corpus/load.ts';
import { askEnvoy, complete, type EnvoyDocument, servedAs } from '../evaluators/envoy-document.ts';
import { agreement, isReal, verdictFor } from './agreement.ts';

const NOTHING_KNOWN = { shadow: false, workload: () => undefined };

function documentsOf(policies: readonly AccessPolicy[], shadow = false) {
  const { documents, losses } = engine.render(policies, { ...NOTHING_KNOWN, shadow });
  const byWorkload = new Map(
    // The engine's documents are of this shape: the evaluator throws for anything else.
    documents.map(({ content }) => [content['workload'], content as unknown as EnvoyDocument]),
  );
  return { byWorkload, losses };
}

type Documents = ReturnType<typeof documentsOf>;

/** How Envoy's answer stands to decide's; undefined where nothing protects the workload. */
function compare({ byWorkload, losses }: Documents, set: PolicySet, request: AccessRequest, at?: number) {
  const document = byWorkload.get(request.to);
  if (document === undefined) return undefined;
  const verdict = verdictFor(set, request, servedAs(document, request.action.port), at);
  const outcome = askEnvoy(document, request, false, at);
  return { verdict, outcome, losses, how: agreement(verdict, outcome.allowed, losses, outcome.policyId) };
}

const realRequests = (minLength: number, maxLength: number) =>
  fc.array(requestArb.map(complete).filter(isReal), { minLength, maxLength });

describe('the envoy rendering', () => {
  const decisions = loadDecisions().map((decision) => ({ ...decision, request: complete(decision.request) }));
  const real = decisions.filter(({ request }) => isReal(request));

  test.each(real.map((decision) => [`${decision.file}: ${decision.name}`, decision] as const))(
    'gives the verdict of the corpus, or says why not: %s',
    (_, { policies, request, at }) => {
      const result = compare(documentsOf(policies), compile(policies), request, at);
      if (result === undefined) return;
      expect(['equal', 'explained'], JSON.stringify(result)).toContain(result.how);
    },
  );

  test('leaves out of the corpus only what is no request', () => {
    expect(real.length).toBeGreaterThan(decisions.length * 0.8);
  });

  const ending = policiesArb({ conditions: true, ends: true });

  test('never allows what decide denies, and every difference is a declared narrower loss', () => {
    const seen = new Map<string, number>();
    const count = (what: string) => seen.set(what, (seen.get(what) ?? 0) + 1);
    fc.assert(
      fc.property(ending, realRequests(20, 40), timeArb, (policies, requests, at) => {
        const [documents, set] = [documentsOf(policies), compile(policies)];
        for (const request of requests) {
          const result = compare(documents, set, request, at);
          if (result === undefined) continue;
          const { verdict, outcome, losses, how } = result;
          expect(['equal', 'explained'], JSON.stringify({ ...result, request, policies })).toContain(how);
          count(`${how} ${verdict.allowed ? 'allow' : 'deny'}`);
          if (how !== 'equal' || outcome.policyId === undefined || verdict.rule === undefined) continue;
          const named = outcome.policyId.endsWith(`/${verdict.policy}/${verdict.rule}`);
          // Another id than decide's is possible only where some rule was changed by a declared loss.
          if (!named) expect(losses.some(({ effect }) => effect === 'narrower')).toBe(true);
          count(named ? 'same rule' : 'other rule');
        }
      }),
      { numRuns: 400 },
    );
    for (const what of ['equal allow', 'equal deny', 'explained allow', 'same rule']) {
      expect(seen.get(what) ?? 0, what).toBeGreaterThan(0);
    }
  });

  test('says in shadow what the enforcing one would do, and enforces nothing', () => {
    fc.assert(
      fc.property(ending, realRequests(5, 10), timeArb, (policies, requests, at) => {
        const [enforced, shadow] = [documentsOf(policies), documentsOf(policies, true)];
        expect(JSON.stringify([...shadow.byWorkload.values()])).not.toContain('"rules":{"action"');
        for (const request of requests) {
          const [now, later] = [enforced.byWorkload.get(request.to), shadow.byWorkload.get(request.to)];
          if (now === undefined || later === undefined) continue;
          expect(askEnvoy(later, request, true, at)).toEqual(askEnvoy(now, request, false, at));
        }
      }),
      { numRuns: 50 },
    );
  });
});
