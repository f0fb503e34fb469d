import { describe, expect, test } from 'vitest';
import {
  type Access,
  type AccessGraph,
  type Action,
  addCall,
  emptyEvidence,
  type Outcome,
  parseSpiffeId,
  type Principal,
} from '../access/index.ts';
import { type AccessPolicy, compile, type Rule } from '../policy/index.ts';
import { rehearse } from './rehearse.ts';

const id = (name: string) => parseSpiffeId(`spiffe://example.org/ns/shop/sa/${name}`);
const workload = (name: string): Principal => ({ kind: 'workload', id: id(name) });
const get = (path: string, port = 8080): Action => ({ kind: 'http', port, method: 'GET', path });

function access(
  from: Principal,
  action: Action,
  more: { n?: number; outcome?: Outcome; collapsed?: true } = {},
): Access {
  const evidence = emptyEvidence();
  addCall(evidence, 1000, more.outcome ?? 'ok', more.n ?? 1);
  const collapsed = more.collapsed ?? false;
  return { from, to: workload('cart'), action, views: ['observed'], evidence, declared: [], collapsed };
}

function graphOf(...accesses: Access[]): AccessGraph {
  const coverage = { firstSeen: 0, lastSeen: 1000, hours: [0], events: 1, lost: 0 };
  return {
    trustDomain: 'example.org',
    workloads: new Map(),
    accesses,
    blindSpots: [],
    sharedAccounts: [],
    coverage,
  };
}

function policy(...rules: Rule[]): AccessPolicy {
  return {
    apiVersion: 'interlock.dev/v1alpha1',
    kind: 'AccessPolicy',
    metadata: { name: 'cart' },
    spec: { protects: { workload: id('cart') }, tier: 'standard', stage: 'draft', rules, deny: [] },
  };
}

const rule = (
  name: string,
  caller: string,
  paths: string[],
  more: Partial<Rule> & { ports?: number[] } = {},
): Rule => {
  const { ports, ...rest } = more;
  return {
    name,
    from: [{ workload: id(caller) }],
    to: [{ http: { methods: ['GET'], paths }, ...(ports === undefined ? {} : { ports }) }],
    ...rest,
  };
};

describe('a rehearsal', () => {
  test('lists what would be denied, with the calls behind it and what decided on each side', () => {
    const graph = graphOf(
      access(workload('web'), get('/a'), { n: 7 }),
      access(workload('web'), get('/b'), { n: 2 }),
    );
    const { flips, accesses, calls } = rehearse(graph, compile([policy(rule('web', 'web', ['/b']))]));
    expect([accesses, calls]).toEqual([2, 9]);
    expect(flips).toEqual([
      expect.objectContaining({
        action: get('/a'),
        count: 7,
        lastSeen: 1000,
        before: expect.objectContaining({ allowed: true, decidedBy: 'no-policy' }),
        after: expect.objectContaining({ allowed: false, decidedBy: 'no-rule' }),
        approximate: [],
      }),
    ]);
  });

  test('against a current set shows both directions and nothing that stays the same', () => {
    const graph = graphOf(...['/a', '/b', '/c'].map((path) => access(workload('web'), get(path))));
    const current = compile([policy(rule('old', 'web', ['/a', '/b']))]);
    const target = compile([policy(rule('new', 'web', ['/b', '/c']))]);
    const flips = rehearse(graph, target, current).flips.map(({ action, before, after }) => [
      action.kind === 'http' && action.path,
      before.rule ?? before.decidedBy,
      after.rule ?? after.decidedBy,
    ]);
    expect(flips).toEqual([
      ['/a', 'old', 'no-rule'],
      ['/c', 'no-rule', 'new'],
    ]);
  });

  test('leaves out calls that never reached the callee, and says how many', () => {
    const graph = graphOf(
      access(workload('web'), get('/a'), { outcome: 'denied' }),
      access(workload('web'), get('/b'), { outcome: 'failed' }),
      { ...access(workload('web'), get('/c')), to: { kind: 'unauthenticated', from: 'api.example.com' } },
    );
    const result = rehearse(graph, compile([policy()]));
    expect(result.flips).toEqual([]);
    expect(result.leftOut).toEqual({ neverReached: 2, outside: 1 });
  });

  test('an error of the application is a call like any other', () => {
    const graph = graphOf(access(workload('web'), get('/a'), { outcome: 'error' }));
    expect(rehearse(graph, compile([policy()])).flips).toHaveLength(1);
  });

  test('names workloads that the target set leaves unprotected', () => {
    const graph = graphOf({ ...access(workload('web'), get('/a')), to: workload('mail') });
    const { unprotected, flips } = rehearse(graph, compile([policy()]));
    expect(unprotected).toEqual([id('mail')]);
    expect(flips).toEqual([]);
  });

  test('a port that was not recorded is tried as the ports that the rules name, and called approximate', () => {
    const graph = graphOf(access(workload('web'), get('/a', 0)));
    const allowed = rehearse(graph, compile([policy(rule('web', 'web', ['/a'], { ports: [8080] }))]));
    expect(allowed.flips).toEqual([]);
    expect(allowed.approximate).toBe(1);
    const exact = rehearse(graph, compile([policy(rule('web', 'web', ['/a']))]));
    expect(exact.approximate).toBe(0);
  });

  test('collapsed paths and conditions on what was not recorded are called approximate', () => {
    const collapsed = access(workload('web'), get('/a/{collapsed1}'), { collapsed: true });
    const conditional = rule('web', 'web', ['/b'], { when: "request.host == 'shop.example'" });
    const graph = graphOf(collapsed, access(workload('web'), get('/b')));
    const { flips } = rehearse(graph, compile([policy(conditional)]));
    expect(flips.map(({ approximate }) => approximate)).toEqual([['collapsed-paths'], ['condition']]);
  });
});
