import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Action, grpcPath } from '../../src/access/index.ts';
import { engineNamed } from '../../src/engines/index.ts';
import { compile, decide, isCleanPath } from '../../src/policy/index.ts';
import { actionArb, policiesArb } from '../corpus/generators.ts';
import { type Call, linkerdVerdicts, readLinkerd } from '../evaluators/linkerd-policy.ts';
import type { EvaluatedPod } from '../evaluators/network-policy.ts';
import { type Caller, CALLERS, isTold, OPTIONS, TARGETS } from './worlds.ts';

const engine = engineNamed('linkerd');
const policySets = policiesArb({ conditions: true }).filter((set) => set.length > 0);
const pathOf = (action: Action): string =>
  action.kind === 'http'
    ? action.path
    : action.kind === 'grpc'
      ? grpcPath(action.service, action.method)
      : '';
/** Recorded templates stand for no single request, and a fragment is cut off before Linkerd sees the path. */
const actions = fc.array(
  actionArb.filter((a) => a.port !== 0 && !/[{#]/.test(pathOf(a))),
  { minLength: 6, maxLength: 6 },
);

function clientOf({ principal, end }: Caller): Call['from'] {
  if (principal.kind !== 'workload' || !('labels' in end)) return { ip: end.ip };
  return {
    ip: end.ip,
    account: { namespace: end.namespace, name: principal.id.slice(principal.id.lastIndexOf('/') + 1) },
  };
}

/** The request as it is sent: Linkerd does not normalise. */
function requestOf(action: Action): Call['request'] {
  if (action.kind === 'tcp') return undefined;
  const [path = ''] = pathOf(action).split('?');
  return { method: action.kind === 'grpc' ? 'POST' : action.method, path };
}

describe("Linkerd's policy", () => {
  test('gives the verdict of the policies for ports with a Server, or a loss says of a rule about the access why not', () => {
    const seen = { both: 0, wider: 0, narrower: 0 };
    fc.assert(
      fc.property(policySets, actions, (policies, list) => {
        const { documents, losses } = engine.render(policies, OPTIONS);
        const rendered = documents.map(({ content }) => readLinkerd(content));
        const set = compile(policies);
        for (const target of TARGETS) {
          if (!set.workloads.has(target.id)) continue;
          for (const caller of CALLERS) {
            for (const action of list) {
              const request = requestOf(action);
              const call = { from: clientOf(caller), to: target.end as EvaluatedPod, port: action.port };
              const verdicts = linkerdVerdicts(rendered, request === undefined ? call : { ...call, request });
              if (verdicts.has('open')) continue;
              // More than one verdict would be left to the order in which documents were applied.
              expect([...verdicts]).toHaveLength(1);
              const allowed = verdicts.has('allow');
              const ask = (what: Action) =>
                decide(set, { from: caller.principal, to: target.id, action: what });
              const verdict = ask(action);
              const opaque = ask({ kind: 'tcp', port: action.port });
              const right = verdict.decidedBy === 'unsafe-path' ? allowed && opaque.allowed : verdict.allowed;
              if (allowed && right) seen.both++;
              if (allowed === right) continue;
              const effect = allowed ? 'wider' : 'narrower';
              seen[effect]++;
              const told =
                isTold(losses, effect, policies, target.id, caller, action.port) ||
                (effect === 'narrower' && request !== undefined && !isCleanPath(request.path));
              expect(told, JSON.stringify({ effect, caller, action, verdict, rendered })).toBe(true);
            }
          }
        }
      }),
      { numRuns: 400, endOnFailure: true },
    );
    expect(seen.both).toBeGreaterThan(500);
  });
});
