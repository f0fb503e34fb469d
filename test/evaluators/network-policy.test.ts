import { describe, expect, test } from 'vitest';
import { ingressAllowed, readNetworkPolicy } from './network-policy.ts';

const pod = (namespace: string, labels: Record<string, string>, ip = '10.0.0.1') => ({
  namespace,
  labels,
  ip,
});
const db = pod('shop', { app: 'db' });
const policy = (spec: Record<string, unknown>, namespace = 'shop') =>
  readNetworkPolicy({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { name: 'p', namespace },
    spec: { podSelector: { matchLabels: { app: 'db' } }, ...spec },
  });
const allows = (
  spec: Record<string, unknown>,
  from: Parameters<typeof ingressAllowed>[1]['from'],
  port = 80,
) => ingressAllowed([policy(spec)], { from, to: db, port });

describe('the evaluator of NetworkPolicy follows the API reference', () => {
  const web = pod('shop', { app: 'web' });

  test('pods that no policy selects are open, pods that one selects are closed', () => {
    expect(ingressAllowed([], { from: web, to: db, port: 80 })).toBe(true);
    expect(ingressAllowed([policy({}, 'elsewhere')], { from: web, to: db, port: 80 })).toBe(true);
    expect(ingressAllowed([policy({})], { from: web, to: pod('shop', { app: 'x' }), port: 80 })).toBe(true);
    expect(allows({}, web)).toBe(false);
    expect(allows({ policyTypes: ['Ingress'] }, web)).toBe(false);
    expect(allows({ policyTypes: ['Egress'], egress: [] }, web)).toBe(true);
  });

  test('a rule without peers lets everyone in, with an empty list as well', () => {
    for (const one of [{}, { from: [] }, { ports: [] }]) expect(allows({ ingress: [one] }, web)).toBe(true);
  });

  test('two selectors in one peer are AND, two peers are OR', () => {
    const podSelector = { matchLabels: { app: 'web' } };
    const namespaceSelector = { matchLabels: { 'kubernetes.io/metadata.name': 'other' } };
    const and = { ingress: [{ from: [{ podSelector, namespaceSelector }] }] };
    const or = { ingress: [{ from: [{ podSelector }, { namespaceSelector }] }] };
    expect(allows(and, web)).toBe(false);
    expect(allows(and, pod('other', { app: 'web' }))).toBe(true);
    expect(allows(and, pod('other', { app: 'x' }))).toBe(false);
    expect(allows(or, web)).toBe(true);
    expect(allows(or, pod('other', { app: 'x' }))).toBe(true);
    expect(allows(or, pod('third', { app: 'web' }))).toBe(false);
  });

  test('an empty selector selects everything; a pod selector alone stays in its namespace', () => {
    expect(allows({ ingress: [{ from: [{ podSelector: {} }] }] }, web)).toBe(true);
    expect(allows({ ingress: [{ from: [{ podSelector: {} }] }] }, pod('other', {}))).toBe(false);
    expect(allows({ ingress: [{ from: [{ namespaceSelector: {} }] }] }, pod('other', {}))).toBe(true);
    expect(allows({ ingress: [{ from: [{ namespaceSelector: {} }] }] }, { ip: '10.9.9.9' })).toBe(false);
  });

  test('a block has its exceptions and no pods by label', () => {
    const spec = { ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] } }] }] };
    expect(allows(spec, { ip: '10.2.0.1' })).toBe(true);
    expect(allows(spec, { ip: '10.1.0.1' })).toBe(false);
    expect(allows(spec, { ip: '11.0.0.1' })).toBe(false);
    expect(allows(spec, { ip: 'fd00::1' })).toBe(false);
  });

  test('ports are by number, range or name, and TCP unless said', () => {
    const from = [{ podSelector: {} }];
    expect(allows({ ingress: [{ from, ports: [{ port: 80 }] }] }, web, 80)).toBe(true);
    expect(allows({ ingress: [{ from, ports: [{ port: 80 }] }] }, web, 81)).toBe(false);
    expect(allows({ ingress: [{ from, ports: [{ port: 80, endPort: 90 }] }] }, web, 90)).toBe(true);
    expect(allows({ ingress: [{ from, ports: [{ port: 80, protocol: 'UDP' }] }] }, web, 80)).toBe(false);
    expect(allows({ ingress: [{ from, ports: [{ protocol: 'TCP' }] }] }, web, 5)).toBe(true);
    const named = policy({ ingress: [{ from, ports: [{ port: 'sql' }] }] });
    expect(ingressAllowed([named], { from: web, to: { ...db, ports: { sql: 5432 } }, port: 5432 })).toBe(
      true,
    );
    expect(ingressAllowed([named], { from: web, to: db, port: 5432 })).toBe(false);
  });

  test('policies add up', () => {
    const one = policy({ ingress: [{ from: [{ podSelector: { matchLabels: { app: 'web' } } }] }] });
    expect(ingressAllowed([one, policy({})], { from: web, to: db, port: 80 })).toBe(true);
  });

  test('NotIn holds for pods without the key', () => {
    const podSelector = { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['web'] }] };
    expect(allows({ ingress: [{ from: [{ podSelector }] }] }, web)).toBe(false);
    expect(allows({ ingress: [{ from: [{ podSelector }] }] }, pod('shop', {}))).toBe(true);
  });

  test.each([
    [{ ingress: [{ from: [{}] }] }],
    [{ ingress: [{ from: [{ podSelector: {}, ipBlock: { cidr: '10.0.0.0/8' } }] }] }],
    [{ ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/8', except: ['11.0.0.0/16'] } }] }] }],
    [{ ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/8', except: ['10.0.0.0/8'] } }] }] }],
    [{ ingress: [{ ports: [{ port: 90, endPort: 80 }] }] }],
    [{ ingres: [] }],
  ])('%j is refused', (spec) => {
    expect(() => policy(spec)).toThrow(/invalid|unrecognized/i);
  });
});
