import fc from 'fast-check';
import type { SpiffeId } from '../../src/access/index.ts';
import { type AccessPolicy, type AccessRequest, compile } from '../../src/policy/index.ts';
import { policiesArb, requestArb } from '../corpus/generators.ts';
import { loadDecisions } from '../corpus/load.ts';
import { isReal } from '../engines/agreement.ts';
import { complete } from '../evaluators/envoy-document.ts';

/** Random policies and requests, the same in every run, moved to what a loopback interface can show. */
export interface CaseSet {
  readonly policies: readonly AccessPolicy[];
  readonly requests: readonly AccessRequest[];
}

/** Ports of the generators are moved out of the range that only root may open. */
const PORT_SHIFT = 20_000;
/** Envoy's HTTP/1 codec refuses others before any filter sees them. */
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
/** An unauthenticated caller of no block that a rule names. */
const ELSEWHERE = '127.250.0.1';
const STARTED = Date.now();

/** The corpus of decisions, one set for each file, and `random` sets of `requests` requests each. */
export function caseSets(random: number, requests: number): CaseSet[] {
  const corpus = [...Map.groupBy(loadDecisions(), ({ file }) => file).values()].map((decisions) => ({
    policies: decisions[0]?.policies ?? [],
    requests: decisions.map(({ request }) => request),
  }));
  const arb = fc.tuple(
    policiesArb({ conditions: true, ends: true }),
    fc.array(requestArb, { minLength: requests, maxLength: requests }),
  );
  const sample = fc.sample(
    arb.filter(([policies]) => policies.length > 0),
    { numRuns: random, seed: 20_261_121 },
  );
  return [...corpus, ...sample.map(([policies, list]) => ({ policies, requests: list }))].map((set) => {
    const policies = set.policies.map(movePolicy);
    const protectedOnes = compile(policies).workloads;
    return {
      policies,
      requests: set.requests.flatMap(moveRequest).filter(({ to }) => protectedOnes.has(to)),
    };
  });
}

/** Ends are moved to both sides of today, by whether they are in the first half of their year: a real Envoy has today's clock. */
function moveEnd(until: string): string {
  const beside = until.slice(5, 7) > '06' ? 86_400_000 : -86_400_000;
  return new Date(STARTED + beside).toISOString();
}

function movePolicy(policy: AccessPolicy): AccessPolicy {
  const text = JSON.stringify(policy, (key, value: unknown) => {
    if (key === 'until' && typeof value === 'string') return moveEnd(value);
    return key === 'ports' && Array.isArray(value) ? value.map((port: number) => port + PORT_SHIFT) : value;
  });
  // What was a policy before its ports and blocks were moved still is one.
  return JSON.parse(text.replaceAll('"10.', '"127.')) as AccessPolicy;
}

function moveRequest(raw: AccessRequest): AccessRequest[] {
  const request = complete(raw);
  const { action, from } = request;
  if (!isReal(request) || request.attributes?.sourceAddress !== undefined) return [];
  if (action.kind === 'http' && (action.path === '' || !METHODS.has(action.method))) return [];
  const ip = from.kind === 'workload' ? undefined : /^10\.(.*)/.exec(from.from)?.[1];
  return [
    {
      ...request,
      action: { ...action, port: action.port + PORT_SHIFT },
      from:
        from.kind === 'workload'
          ? from
          : { kind: 'unauthenticated', from: ip === undefined ? ELSEWHERE : `127.${ip}` },
    },
  ];
}

/** Ports to be opened for a workload: those that rules or requests name. */
export function portsToOpen(
  named: readonly number[],
  requests: readonly AccessRequest[],
  to: SpiffeId,
): number[] {
  return [...new Set([...named, ...requests.filter((r) => r.to === to).map(({ action }) => action.port)])];
}
