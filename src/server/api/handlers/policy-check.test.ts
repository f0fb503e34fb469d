import { describe, expect, test } from 'vitest';
import type { Answer } from '../../../api/index.ts';
import { policyCheckHandlers } from './policy-check.ts';

const check = (yaml: string): Answer<'policies.check'> => {
  const handler = policyCheckHandlers()['policies.check'];
  // It asks for nothing but the body, and answers at once.
  return handler({ body: { yaml } } as unknown as Parameters<typeof handler>[0]) as Answer<'policies.check'>;
};

const policy = (name: string, path = '/a', more = '') => `apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: ${name} }
spec:
  protects: { workload: spiffe://example.org/ns/shop/sa/${name} }
  tier: standard
${more}  rules:
    - name: one
      from: [{ workload: spiffe://example.org/ns/shop/sa/web }]
      to: [{ http: { methods: [GET], paths: [${path}] } }]
`;

describe('a text of policies that is being written', () => {
  test('that is right has no fault, and says what it holds', () => {
    expect(check(`${policy('cart')}---\n${policy('mail')}`)).toEqual({
      policies: [
        { name: 'cart', workload: 'spiffe://example.org/ns/shop/sa/cart', rules: 1, deny: 0 },
        { name: 'mail', workload: 'spiffe://example.org/ns/shop/sa/mail', rules: 1, deny: 0 },
      ],
      faults: [],
    });
  });

  test('is told every fault of every document at once, each with its line', () => {
    const text = [
      policy('cart', 'no-slash', '  colour: red\n'),
      policy('mail'),
      'apiVersion: [\n',
      policy('web', '/a', '  size: 3\n'),
    ].join('---\n');
    const { fault, faults, policies } = check(text);
    expect(policies).toEqual([]);
    const lines = text.split('\n');
    const lineOf = (part: string) => 1 + lines.findIndex((line) => line.includes(part));
    const at = (line: number | undefined) =>
      faults.filter((each) => each.line === line).map(({ what }) => what);
    expect(at(lineOf('no-slash')).join()).toContain('no-slash');
    expect(at(lineOf('colour')).join()).toContain('colour');
    expect(at(lineOf('size')).join()).toContain('size');
    expect(faults.some(({ what }) => what.startsWith('not valid YAML'))).toBe(true);
    expect(faults.map(({ line }) => line)).toEqual(
      faults.map(({ line }) => line).toSorted((a, b) => (a ?? 0) - (b ?? 0)),
    );
    // The first one that was found, which need not stand first.
    expect(faults.map(({ line }) => line)).toContain(fault?.line);
  });

  test('two policies of one name are a fault of the whole, though each is right alone', () => {
    const { faults } = check(`${policy('cart')}---\n${policy('cart')}`);
    expect(faults).toMatchObject([{ subject: 'cart', line: 14 }]);
  });

  test('a directive belongs to its document, and a mark in a scalar splits nothing', () => {
    expect(check(`%YAML 1.2\n---\n${policy('cart')}---\n${policy('mail', 'x')}`).faults).toHaveLength(1);
    expect(check(policy('cart', '"/a---b"')).faults).toEqual([]);
  });

  test('thousands of wrong documents give a list of a bounded length', () => {
    const { faults } = check('a: 1\n---\n'.repeat(20_000));
    expect(faults.length).toBeGreaterThan(10);
    expect(faults.length).toBeLessThanOrEqual(100);
  });
});
