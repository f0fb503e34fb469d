import { describe, expect, test } from 'vitest';
import type { Action } from '../access/index.ts';
import { parsePrincipal, parseSpiffeId } from '../access/index.ts';
import { compile, explain, readPolicies } from './index.ts';

const set = compile(
  readPolicies(`
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec:
  protects: { workload: spiffe://e.org/cart }
  rules:
    - { name: read, from: [{ workload: spiffe://e.org/web }], to: [{ http: { methods: [GET], paths: ["/items/{id}"] }, ports: [80] }] }
    - { name: rpc, from: [{ workload: spiffe://e.org/app }], to: [{ grpc: { service: shop.Cart, methods: [Get] }, ports: [70] }] }
    - { name: host, from: [{ workload: spiffe://e.org/host }], to: [{ http: {} }], when: 'request.host == "x"' }
---
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: empty }
spec: { protects: { workload: spiffe://e.org/empty } }
`),
);
const http = (method: string, path: string, port = 80): Action => ({ kind: 'http', port, method, path });

function explained(from: string, action: Action, to = 'spiffe://e.org/cart') {
  return explain(set, { from: parsePrincipal(from), to: parseSpiffeId(to), action });
}

describe('explain', () => {
  test.each<[string, Action, string, string, string, string]>([
    [
      'spiffe://e.org/new',
      http('GET', '/items/1'),
      'read',
      'from',
      'spiffe://e.org/web',
      'spiffe://e.org/new',
    ],
    ['spiffe://e.org/web', http('GET', '/items/1', 81), 'read', 'port', '80', '81'],
    ['spiffe://e.org/web', http('GET', '/items/1', 0), 'read', 'port', '80', 'an unknown port'],
    ['spiffe://e.org/web', { kind: 'tcp', port: 80 }, 'read', 'protocol', 'http', 'tcp'],
    ['spiffe://e.org/web', http('GET', '/other/../x'), 'read', 'path', '/items/{id}', '/x'],
    ['spiffe://e.org/web', http('PUT', '/items/1'), 'read', 'method', 'GET', 'PUT'],
    [
      'spiffe://e.org/app',
      { kind: 'grpc', port: 70, service: 'shop.Other', method: 'Get' },
      'rpc',
      'service',
      'shop.Cart',
      'shop.Other',
    ],
    [
      'spiffe://e.org/app',
      { kind: 'grpc', port: 70, service: 'shop.Cart', method: 'Add' },
      'rpc',
      'method',
      'Get',
      'Add',
    ],
    ['spiffe://e.org/app', http('GET', '/shop.Cart/Get', 70), 'rpc', 'method', 'POST', 'GET'],
    [
      'spiffe://e.org/host',
      http('GET', '/a'),
      'host',
      'when',
      'request.host == "x"',
      'needs an attribute that the request does not carry',
    ],
  ])('names the nearest rule for %s and what failed', (from, action, rule, field, expected, actual) => {
    const { nearest, sentence, verdict } = explained(from, action);
    expect(verdict.decidedBy).toBe('no-rule');
    expect(nearest).toEqual({ policy: 'cart', rule, field, expected, actual });
    expect(sentence).toContain(`rule "${rule}" of policy "cart"`);
    expect(sentence).toContain(expected);
  });

  test('says the rest in one sentence each', () => {
    expect(explained('spiffe://e.org/web', http('GET', '/items/1')).sentence).toBe(
      'Allowed by rule "read" of policy "cart".',
    );
    expect(explained('spiffe://e.org/web', http('GET', '/a'), 'spiffe://e.org/none').sentence).toBe(
      'Allowed: no policy protects spiffe://e.org/none.',
    );
    expect(explained('spiffe://e.org/web', http('GET', '/a'), 'spiffe://e.org/empty').sentence).toBe(
      'Denied: spiffe://e.org/empty is protected and has no rule that allows anything.',
    );
    expect(explained('spiffe://e.org/web', http('GET', '/a%2Fb'))).toMatchObject({
      reason: 'it holds an escaped slash "%2F"',
      sentence: 'Denied: its path cannot be matched safely, it holds an escaped slash "%2F".',
    });
    expect(explained('spiffe://e.org/web', http('PUT', '/items/1')).sentence).toBe(
      'Denied: no rule allows PUT /items/1 :80. The nearest is rule "read" of policy "cart", but its method is GET, not PUT.',
    );
  });
});
