import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { engine } from '../../src/engines/istio/index.ts';
import { type AccessPolicy, type AccessRequest, compile, decide } from '../../src/policy/index.ts';
import { policiesArb, requestArb } from '../corpus/generators.ts';
import { loadDecisions } from '../corpus/load.ts';
import { complete } from '../evaluators/envoy-document.ts';
import { askIstio } from '../evaluators/istio.ts';
import { agreement, isReal } from './agreement.ts';

const NOTHING_KNOWN = { shadow: false, workload: () => undefined };

/** How Istio's answer stands to decide's; undefined where nothing protects the workload. */
function compare(policies: readonly AccessPolicy[], request: AccessRequest, at = 0) {
  // One workload at a time: which documents select it is Kubernetes' affair.
  const own = policies.filter(({ spec }) => spec.protects.workload === request.to);
  if (own.length === 0) return undefined;
  const { documents, losses } = engine.render(own, { ...NOTHING_KNOWN, at });
  const verdict = decide(compile(own), request, at);
  const contents = documents.map(({ content }) => content);
  const { allowed, policyId } = askIstio(contents, request);
  // Istio's ids name the document and a number, not the rule: any broader deny rule of the set may be it.
  const denied = new Set(
    own.flatMap(({ metadata, spec }) => spec.deny.map(({ name }) => `${metadata.name}/${name}`)),
  );
  const broader = losses.find(
    ({ policy, rule, effect }) => effect === 'narrower' && denied.has(`${policy}/${rule}`),
  );
  const deniedBy =
    allowed || policyId === undefined || broader === undefined
      ? undefined
      : `/${broader.policy}/${broader.rule}`;
  return { verdict, allowed, policyId, losses, how: agreement(verdict, allowed, losses, deniedBy) };
}

describe('the istio rendering', () => {
  const decisions = loadDecisions().map((decision) => ({ ...decision, request: complete(decision.request) }));
  const real = decisions.filter(({ request }) => isReal(request));

  test.each(real.map((decision) => [`${decision.file}: ${decision.name}`, decision] as const))(
    'gives the verdict of the corpus, or says why not: %s',
    (_, { policies, request, at }) => {
      const result = compare(policies, request, at);
      if (result === undefined) return;
      expect(['equal', 'explained'], JSON.stringify(result)).toContain(result.how);
    },
  );

  test('never allows what decide denies, and every difference is a declared narrower loss', () => {
    const seen = new Map<string, number>();
    const count = (what: string) => seen.set(what, (seen.get(what) ?? 0) + 1);
    const requests = fc.array(requestArb.map(complete).filter(isReal), { minLength: 10, maxLength: 20 });
    fc.assert(
      fc.property(policiesArb(), requests, (policies, list) => {
        for (const request of list) {
          const result = compare(policies, request);
          if (result === undefined) continue;
          expect(['equal', 'explained'], JSON.stringify({ ...result, request, policies })).toContain(
            result.how,
          );
          count(`${result.how} ${result.verdict.allowed ? 'allow' : 'deny'}`);
        }
      }),
      { numRuns: 400 },
    );
    for (const what of ['equal allow', 'equal deny', 'explained allow']) {
      expect(seen.get(what) ?? 0, what).toBeGreaterThan(0);
    }
  });
});
