import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { SpiffeId } from '../../src/access/index.ts';
import {
  type EnvoyResources,
  envoyResources,
  inboundName,
  messageOf,
} from '../../src/engines/envoy/resources/index.ts';
import { type AccessPolicy, type AccessRequest, compile, type PolicySet } from '../../src/policy/index.ts';
import { policiesArb, requestArb, timeArb } from '../corpus/generators.ts';
import { loadDecisions } from '../corpus/load.ts';
import { complete } from '../evaluators/envoy-document.ts';
import { askSite, siteOf } from '../evaluators/envoy-resources.ts';
import { agreement, isReal, verdictFor } from './agreement.ts';

const LISTEN = { host: '127.0.0.1', port: 15_006 };

type Protocol = 'http' | 'tcp';
type Sets = { readonly enforced?: readonly AccessPolicy[]; readonly target?: readonly AccessPolicy[] };

/** One port of a workload behind a listener on another port. */
function render(workload: SpiffeId, port: number, protocol: Protocol, sets: Sets): EnvoyResources {
  return envoyResources({
    workload,
    trustDomains: [],
    version: 'v1',
    accessLogCluster: 'interlock_control_plane',
    enforcement: { workload, authentication: 'permissive', stage: 'enforced', ...sets },
    inbound: [{ listen: LISTEN, forward: { host: '127.0.0.1', port }, port, protocol }],
    outbound: [],
  });
}

function compare(
  policies: readonly AccessPolicy[],
  set: PolicySet,
  request: AccessRequest,
  protocol: Protocol,
  at?: number,
) {
  const sets = { enforced: policies, target: policies };
  const { resources, losses } = render(request.to, request.action.port, protocol, sets);
  const site = siteOf(resources, inboundName(LISTEN));
  const [enforced, target] = [askSite(site, request, 'enforced', at), askSite(site, request, 'target', at)];
  const verdict = verdictFor(set, request, protocol, at);
  expect(target).toEqual(enforced);
  expect(losses.target).toEqual(losses.enforced);
  if (enforced === undefined || enforced === 'refused') return { verdict, enforced, how: undefined };
  const how = agreement(verdict, enforced.allowed, losses.enforced, enforced.policyId);
  return { verdict, enforced, how, losses, policyId: enforced.policyId };
}

const protocols: readonly Protocol[] = ['http', 'tcp'];

describe('the xDS resources of a workload', () => {
  const decisions = loadDecisions().map((decision) => ({ ...decision, request: complete(decision.request) }));
  const real = decisions.filter(({ request }) => isReal(request));

  test.each(real.map((decision) => [`${decision.file}: ${decision.name}`, decision] as const))(
    'give the verdict of the corpus in both sets, or say why not: %s',
    (_, { policies, request, at }) => {
      const set = compile(policies);
      for (const protocol of protocols) {
        const result = compare(policies, set, request, protocol, at);
        if (set.workloads.has(request.to))
          expect(['equal', 'explained'], JSON.stringify(result)).toContain(result.how);
        else expect(result.enforced).toBeUndefined();
      }
    },
  );

  test('never allow what decide denies, whatever the policies', () => {
    const seen = new Map<string, number>();
    const ending = policiesArb({ conditions: true, ends: true });
    const arb = fc.array(requestArb.map(complete).filter(isReal), { minLength: 10, maxLength: 20 });
    fc.assert(
      fc.property(ending, arb, fc.constantFrom(...protocols), timeArb, (policies, requests, protocol, at) => {
        const set = compile(policies);
        for (const request of requests) {
          const result = compare(policies, set, request, protocol, at);
          if (result.how === undefined) continue;
          expect(['equal', 'explained'], JSON.stringify({ ...result, request, policies })).toContain(
            result.how,
          );
          const what = `${result.how} ${result.verdict.allowed ? 'allow' : 'deny'}`;
          seen.set(what, (seen.get(what) ?? 0) + 1);
          const id = result.policyId;
          if (result.how !== 'equal' || id === undefined || result.verdict.rule === undefined) continue;
          const named = id.endsWith(`/${result.verdict.policy}/${result.verdict.rule}`);
          if (!named) expect(result.losses?.enforced.some(({ effect }) => effect === 'narrower')).toBe(true);
        }
      }),
      { numRuns: 150 },
    );
    for (const what of ['equal allow', 'equal deny', 'explained allow'])
      expect(seen.get(what) ?? 0, what).toBeGreaterThan(0);
  });

  test("are messages of Envoy's own .proto files, the same bytes each time", () => {
    for (const { policies, request } of real) {
      const { resources } = render(request.to, request.action.port, 'http', {
        enforced: policies,
        target: policies,
      });
      for (const resource of resources) expect(messageOf(resource)).toEqual(messageOf(resource));
    }
  });
});
