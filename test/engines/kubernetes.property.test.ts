import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Action } from '../../src/access/index.ts';
import { engineNamed } from '../../src/engines/index.ts';
import { compile, decide } from '../../src/policy/index.ts';
import { actionArb, policiesArb } from '../corpus/generators.ts';
import { type EvaluatedPod, ingressAllowed, readNetworkPolicy } from '../evaluators/network-policy.ts';
import { CALLERS, isAbout, isTold, OPTIONS, PORTS, rulesOf, TARGETS } from './worlds.ts';

const engine = engineNamed('kubernetes');
const policySets = policiesArb({ conditions: true }).filter((set) => set.length > 0);

describe('a NetworkPolicy with truthful labels', () => {
  test('lets in no connection that the policies deny, unless a loss says so of a rule about it', () => {
    let letIn = 0;
    fc.assert(
      fc.property(policySets, (policies) => {
        const { documents, losses } = engine.render(policies, OPTIONS);
        const rendered = documents.map(({ content }) => readNetworkPolicy(content));
        const set = compile(policies);
        for (const target of TARGETS) {
          if (!set.workloads.has(target.id)) continue;
          for (const caller of CALLERS) {
            for (const port of PORTS) {
              const to = target.end as EvaluatedPod;
              if (!ingressAllowed(rendered, { from: caller.end, to, port })) continue;
              letIn++;
              const { allowed } = decide(set, {
                from: caller.principal,
                to: target.id,
                action: { kind: 'tcp', port },
              });
              const told = allowed || isTold(losses, 'wider', policies, target.id, caller, port);
              expect(told, `${JSON.stringify(caller)} to ${target.id}:${port}`).toBe(true);
            }
          }
        }
      }),
      { numRuns: 600 },
    );
    expect(letIn).toBeGreaterThan(1000);
  });

  test('keeps out no request that the policies allow, unless a loss says so of the rule that allows it', () => {
    let kept = 0;
    fc.assert(
      fc.property(policySets, fc.array(actionArb, { minLength: 5, maxLength: 5 }), (policies, actions) => {
        const { documents, losses } = engine.render(policies, OPTIONS);
        const rendered = documents.map(({ content }) => readNetworkPolicy(content));
        const set = compile(policies);
        for (const target of TARGETS) {
          for (const caller of CALLERS) {
            for (const action of actions.filter((a: Action) => a.port !== 0)) {
              const verdict = decide(set, { from: caller.principal, to: target.id, action });
              if (!verdict.allowed) continue;
              kept++;
              const to = target.end as EvaluatedPod;
              const allowed = ingressAllowed(rendered, { from: caller.end, to, port: action.port });
              const told = allowed || isTold(losses, 'narrower', policies, target.id, caller, action.port);
              expect(told, `${JSON.stringify({ caller, action, verdict })} to ${target.id}`).toBe(true);
            }
          }
        }
      }),
      { numRuns: 400 },
    );
    expect(kept).toBeGreaterThan(1000);
  });

  test('lets in nobody whom no rule names, and nothing but TCP', () => {
    fc.assert(
      fc.property(policySets, (policies) => {
        const rendered = engine
          .render(policies, OPTIONS)
          .documents.map(({ content }) => readNetworkPolicy(content));
        for (const target of TARGETS) {
          const rules = rulesOf(policies, target.id);
          if (!policies.some(({ spec }) => spec.protects.workload === target.id)) continue;
          for (const caller of CALLERS) {
            for (const port of PORTS) {
              const to = target.end as EvaluatedPod;
              expect(ingressAllowed(rendered, { from: caller.end, to, port, protocol: 'UDP' })).toBe(false);
              if (rules.some(({ rule }) => isAbout(rule, caller, port, true))) continue;
              expect(ingressAllowed(rendered, { from: caller.end, to, port })).toBe(false);
            }
          }
        }
      }),
      { numRuns: 200 },
    );
  });
});
