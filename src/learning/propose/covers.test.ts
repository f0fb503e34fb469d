import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Access,
  type Action,
  callsThatReached,
  grpcPath,
  OUTCOMES,
  principalText,
} from '../../access/index.ts';
import { compile, decide, normalizePath, type PolicySet } from '../../policy/index.ts';
import { access, action, declared, graphOf, id, who } from './graph.test-helper.ts';
import { checkPolicyText } from './policy-text.test-helper.ts';
import { type Proposal, propose } from './propose.ts';

const CALLERS = ['web', 'jobs', 'agent', 'unauthenticated:10.0.0.7'];
const CALLEES = ['orders', 'carts'];
const PARTS = [
  'order',
  'status',
  'refresh',
  'users',
  'me',
  '17',
  '18',
  '2023-01-29',
  'shanghai',
  'wuxi',
  'suzhou',
  'ZhiDa',
  '',
];
const PORTS = ['', ' :80', ' :81'];

const path = fc
  .array(fc.constantFrom(...PARTS), { minLength: 1, maxLength: 4 })
  .map((parts) => `/${parts.join('/')}`)
  // What cannot be normalised safely is denied whatever a rule says; the proposal remarks on it.
  .filter((path) => normalizePath(path).ok);
const what = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(fc.constantFrom('GET', 'POST'), path, fc.constantFrom(...PORTS))
      .map(([m, p, port]) => `${m} ${p}${port}`),
  },
  { weight: 1, arbitrary: fc.constantFrom('GET /order/{id} :80', 'GET /users/{login}/{x} :80') },
  {
    weight: 2,
    arbitrary: fc.constantFrom('shop.Orders/Get :90', 'shop.Orders/List :90', 'shop.Carts/Get :90'),
  },
  { weight: 1, arbitrary: fc.constantFrom('tcp :6379', 'tcp :80') },
);
const observed = fc
  .tuple(
    fc.constantFrom(...CALLERS),
    fc.constantFrom(...CALLEES),
    what,
    fc.integer({ min: 1, max: 9 }),
    fc.constantFrom('ok', 'ok', 'ok', ...OUTCOMES),
  )
  .map(([from, to, what, n, outcome]) => access(from, to, what, { n, outcome }));
const onlyDeclared = fc
  .tuple(fc.constantFrom('web', 'jobs'), fc.constantFrom(...CALLEES), fc.constantFrom('tcp :80', 'tcp :5432'))
  .map(([from, to, what]) => declared(from, to, what, 'env X of container c'));
/** Each access once, as the graph has them. */
const accesses = fc
  .array(fc.oneof({ weight: 8, arbitrary: observed }, { weight: 1, arbitrary: onlyDeclared }), {
    minLength: 1,
    maxLength: 40,
  })
  .map((list) => [
    ...new Map(
      list.map((a) => [`${principalText(a.from)} ${principalText(a.to)} ${JSON.stringify(a.action)}`, a]),
    ).values(),
  ]);

const allowed = (set: PolicySet, { from, to }: Pick<Access, 'from' | 'to'>, action: Action): boolean =>
  to.kind === 'workload' && decide(set, { from, to: to.id, action }).allowed;

const all = (proposal: Proposal): boolean => proposal.doubts.length === 0;

describe('rehearsed over its own recording, a proposal', () => {
  test('denies nothing that reached its callee once every doubt is accepted', () => {
    let calls = 0;
    fc.assert(
      fc.property(accesses, (list) => {
        const proposal = propose(graphOf(list), { accept: () => true });
        expect(all(proposal)).toBe(true);
        const set = compile(proposal.policies);
        for (const a of list) {
          if (callsThatReached(a.evidence) === 0) continue;
          calls++;
          expect(allowed(set, a, a.action)).toBe(true);
        }
        checkPolicyText(proposal.policies);
      }),
      { numRuns: 200 },
    );
    expect(calls).toBeGreaterThan(500);
  });

  test('denies only what it lists as a doubt where none is accepted', () => {
    let denied = 0;
    let without = 0;
    fc.assert(
      fc.property(accesses, (list) => {
        const proposal = propose(graphOf(list));
        const set = compile(proposal.policies);
        const doubted = new Set(proposal.doubts.map((d) => `${principalText(d.from)} ${d.to}`));
        if (all(proposal)) without++;
        for (const a of list) {
          if (callsThatReached(a.evidence) === 0 || allowed(set, a, a.action)) continue;
          denied++;
          expect(doubted).toContain(`${principalText(a.from)} ${principalText(a.to)}`);
        }
      }),
      { numRuns: 300 },
    );
    expect(denied).toBeGreaterThan(50);
    expect(without).toBeGreaterThan(5);
  });

  test('allows a caller nothing that its own calls and declarations do not explain', () => {
    let allowedProbes = 0;
    let deniedProbes = 0;
    fc.assert(
      fc.property(accesses, (list) => {
        const { policies } = propose(graphOf(list), { accept: () => true });
        const set = compile(policies);
        for (const name of CALLEES) {
          const to = { kind: 'workload', id: id(name) } as const;
          if (!policies.some((p) => p.spec.protects.workload === to.id)) continue;
          const here = list.filter((a) => principalText(a.to) === to.id);
          const probes = [...here.map((a) => a.action), ...UNSEEN.map(action)];
          for (const caller of [...CALLERS, 'stranger']) {
            const from = who(caller);
            const mine = here.filter((a) => principalText(a.from) === principalText(from));
            for (const probe of probes.flatMap((p) => [p, { ...p, port: 9999 }])) {
              if (!allowed(set, { from, to }, probe)) {
                deniedProbes++;
                continue;
              }
              allowedProbes++;
              const why = mine.filter((a) => explains(a, probe));
              expect({ caller, probe, why: why.length }).not.toMatchObject({ why: 0 });
            }
          }
        }
      }),
      { numRuns: 300 },
    );
    expect(Math.min(allowedProbes, deniedProbes)).toBeGreaterThan(1000);
  });
});

const UNSEEN = [
  'PATCH /order/17 :80',
  'GET /order/17/refresh/x/y :80',
  'GET /unseen :80',
  'GET / :80',
  'shop.Orders/Drop :90',
  'tcp :22',
];

/** Whether a call or declaration explains that its caller may do `probe`: the same but for values in its path. */
function explains({ action, evidence, views }: Access, probe: Action): boolean {
  const samePort = action.port === 0 || action.port === probe.port;
  const reached = callsThatReached(evidence) > 0;
  // A connection admits the requests inside it.
  if (action.kind === 'tcp') return samePort && (reached || views.includes('declared'));
  if (!samePort || !reached) return false;
  if (action.kind === 'grpc')
    return probe.kind === 'grpc' && probe.service === action.service && probe.method === action.method;
  if (probe.kind === 'tcp') return false;
  // A gRPC call is a POST to /SERVICE/METHOD.
  const [method, path] =
    probe.kind === 'http' ? [probe.method, probe.path] : ['POST', grpcPath(probe.service, probe.method)];
  if (method !== action.method) return false;
  const [mine, its] = [segments(action.path), segments(path)];
  return mine.length === its.length && mine.every((part, i) => part === its[i] || VALUE.test(part));
}

const segments = (path: string): string[] => path.replace(/\/{2,}/g, '/').split('/');
/** What stands for a value in the paths above: those with a shape, and the names, of which many are needed. */
const VALUE = /^(?:\{\w+\}|[0-9-]+|shanghai|wuxi|suzhou|ZhiDa)$/;
