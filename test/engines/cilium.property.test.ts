import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Action, grpcPath } from '../../src/access/index.ts';
import { engineNamed } from '../../src/engines/index.ts';
import { compile, decide, isTemplate, normalizePath } from '../../src/policy/index.ts';
import { actionArb, policiesArb } from '../corpus/generators.ts';
import { type Attempt, ciliumAllowed, type Endpoint, readCiliumPolicy } from '../evaluators/cilium-policy.ts';
import { type Caller, CALLERS, isTold, OPTIONS, TARGETS } from './worlds.ts';

const engine = engineNamed('cilium');
const policySets = policiesArb({ conditions: true }).filter((set) => set.length > 0);
const pathOf = (action: Action): string =>
  action.kind === 'http'
    ? action.path
    : action.kind === 'grpc'
      ? grpcPath(action.service, action.method)
      : '';
/** Recorded templates stand for no single request. */
const actions = fc.array(
  actionArb.filter((a) => a.port !== 0 && !isTemplate(pathOf(a))),
  {
    minLength: 6,
    maxLength: 6,
  },
);

function endpointOf({ principal, end }: Caller): Attempt['from'] {
  if (principal.kind !== 'workload' || !('labels' in end)) return { ip: end.ip };
  return {
    namespace: end.namespace,
    labels: end.labels,
    account: principal.id.slice(principal.id.lastIndexOf('/') + 1),
  };
}

/** The request as the proxy matches it: normalised where that is safe, else as it was sent. */
function requestOf(action: Action): Attempt['request'] {
  if (action.kind === 'tcp') return undefined;
  const method = action.kind === 'grpc' ? 'POST' : action.method;
  const raw = pathOf(action);
  const normal = normalizePath(raw, method);
  const query = raw.includes('?') ? raw.slice(raw.indexOf('?')) : '';
  return { method, path: normal.ok ? normal.path + query : raw };
}

describe('a CiliumNetworkPolicy', () => {
  test('gives the verdict of the policies, or a loss says of a rule about the access why not', () => {
    const seen = { both: 0, wider: 0, narrower: 0 };
    fc.assert(
      fc.property(policySets, actions, (policies, list) => {
        const { documents, losses } = engine.render(policies, OPTIONS);
        const rendered = documents.map(({ content }) => readCiliumPolicy(content));
        const set = compile(policies);
        for (const target of TARGETS) {
          if (!set.workloads.has(target.id)) continue;
          for (const caller of CALLERS) {
            for (const action of list) {
              const to = endpointOf(target) as Endpoint;
              const request = requestOf(action);
              const attempt = { from: endpointOf(caller), to, port: action.port };
              // The proxy answers an escaped slash with a redirect (UNESCAPE_AND_REDIRECT): it is never matched.
              const redirected = /%(2f|5c)/i.test(request?.path ?? '');
              const allowed =
                !redirected &&
                ciliumAllowed(rendered, request === undefined ? attempt : { ...attempt, request });
              const ask = (what: Action) =>
                decide(set, { from: caller.principal, to: target.id, action: what });
              const verdict = ask(action);
              // Where a whole port is open nobody looks for requests in it.
              const opaque = ask({ kind: 'tcp', port: action.port });
              const right = verdict.decidedBy === 'unsafe-path' ? allowed && opaque.allowed : verdict.allowed;
              if (allowed && right) seen.both++;
              if (allowed === right) continue;
              const effect = allowed ? 'wider' : 'narrower';
              seen[effect]++;
              const told = isTold(losses, effect, policies, target.id, caller, action.port);
              expect(told, JSON.stringify({ effect, caller, action, verdict, rendered })).toBe(true);
            }
          }
        }
      }),
      { numRuns: 400, endOnFailure: true },
    );
    expect(seen.both).toBeGreaterThan(1000);
  });
});
