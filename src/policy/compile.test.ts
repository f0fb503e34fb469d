import { describe, expect, test } from 'vitest';
import { InterlockError, parseSpiffeId } from '../access/index.ts';
import { parseCondition } from './condition.ts';
import { type AccessPolicy, authorizedAccesses, compile, decide, readPolicies } from './index.ts';

const CART = parseSpiffeId('spiffe://e.org/cart');
const WEB = parseSpiffeId('spiffe://e.org/web');

function policy(rules: AccessPolicy['spec']['rules']): AccessPolicy {
  return {
    apiVersion: 'interlock.dev/v1alpha1',
    kind: 'AccessPolicy',
    metadata: { name: 'cart' },
    spec: { protects: { workload: CART }, tier: 'standard', stage: 'draft', rules, deny: [] },
  };
}

function thrown(run: () => unknown): InterlockError {
  try {
    run();
  } catch (error) {
    if (error instanceof InterlockError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('compile', () => {
  test('refuses policies that were never checked, with the place in them', () => {
    const error = thrown(() =>
      compile([policy([{ name: 'r', from: [{ workload: WEB }], to: [{ tcp: {}, ports: [] }] }])]),
    );
    expect([error.code, error.message.split(':')[0]]).toEqual([
      'invalid_document',
      'spec.rules.0.to.0.ports',
    ]);
  });

  test('refuses a rule that multiplies out beyond the limit', () => {
    const from = Array.from({ length: 2000 }, (_, i) => ({ workload: `spiffe://e.org/w${i}` }));
    const paths = Array.from({ length: 600 }, (_, i) => `/p${i}`);
    const error = thrown(() => compile([policy([{ name: 'r', from, to: [{ http: { paths } }] }])]));
    expect([error.code, error.subject]).toEqual(['limit', 'cart']);
  });

  test('knows the ports that rules name, and the policies of a workload', () => {
    const [read] = readPolicies(`
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec:
  protects: { workload: spiffe://e.org/cart }
  rules: [ { name: a, from: [{ workload: spiffe://e.org/web }], to: [{ tcp: {}, ports: [90, 80] }, { http: {} }] } ]
  deny: [ { name: b, from: [{ workload: spiffe://e.org/web }], to: [{ tcp: {}, ports: [22] }] } ]
`);
    const set = compile(read === undefined ? [] : [read]);
    expect(set.portsOf(CART)).toEqual([22, 80, 90]);
    expect(set.policiesOf(CART)).toEqual([read]);
    expect([set.portsOf(WEB), set.policiesOf(WEB)]).toEqual([[], []]);
  });

  test('gives one frozen verdict for a rule, however often it decides', () => {
    const set = compile([policy([{ name: 'r', from: [{ workload: WEB }], to: [{ tcp: {} }] }])]);
    const ask = () =>
      decide(set, { from: { kind: 'workload', id: WEB }, to: CART, action: { kind: 'tcp', port: 1 } });
    expect(ask()).toBe(ask());
    expect(Object.isFrozen(ask())).toBe(true);
  });
});

describe('authorizedAccesses', () => {
  test('lists every combination of a rule once, with what is absent meaning any', () => {
    const grants = authorizedAccesses([
      policy([
        {
          name: 'r',
          from: [{ workload: WEB }, { trustDomain: 'f.org' }],
          to: [
            { http: { methods: ['GET', 'PUT'], paths: ['/a', '/b'] }, ports: [80, 81] },
            { grpc: { service: 's' } },
            { tcp: {}, ports: [1] },
          ],
          when: 'request.host == "x"',
        },
      ]),
    ]);
    expect(grants).toHaveLength(2 * (8 + 1 + 1));
    const tail = { to: CART, policy: 'cart', rule: 'r', when: 'request.host == "x"' };
    expect(grants).toContainEqual({
      from: { workload: WEB },
      port: 81,
      protocol: 'http',
      method: 'PUT',
      path: '/a',
      ...tail,
    });
    expect(grants).toContainEqual({
      from: { trustDomain: 'f.org' },
      protocol: 'grpc',
      service: 's',
      ...tail,
    });
    expect(new Set(grants.map((grant) => JSON.stringify(grant))).size).toBe(grants.length);
  });
});

describe('conditions', () => {
  test.each([
    ['request.headers.exists(k, k == "x")', ''],
    ['request.method == "GET" && (request.host == "a" || destination.port in [1, 2])', ''],
    ['type(request.method) == string', ''],
    ['[1].all(x, [1].all(y, [1].all(z, true)))', 'loops'],
    ['[1].all(x, y == 1)', '"y" is not an attribute'],
    ['[1].all(x, true) && x == 1', '"x" is not an attribute'],
    ['request["path"] == "/"', '"request" is not an attribute'],
    ['google.protobuf.Struct{}  == null', 'there is no type'],
    ['1+'.repeat(2000) + '1', 'chain'],
    ['source.principal.nothing()', 'there is no function "nothing"'],
  ])('%s is taken, or refused with the reason', (text, reason) => {
    const parsed = parseCondition(text);
    if (reason === '') expect(parsed).toMatchObject({ ok: true });
    else expect(parsed.ok ? 'taken' : parsed.reason).toContain(reason);
  });
});
