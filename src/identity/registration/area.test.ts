import { describe, expect, test } from 'vitest';
import { areaFault, compileRules, readIdentityRules } from './index.ts';

function faultOf(spec: string, prefixes = ['/area/pay/']): string {
  const rules = compileRules(
    readIdentityRules(`
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: r }
spec: ${spec}
`),
    'example.org',
  );
  const [rule] = rules.rules;
  return (rule && areaFault(rule, prefixes)) ?? 'none';
}
const path = (spiffeId: string, prefixes?: string[]) =>
  faultOf(`{ spiffeId: "${spiffeId}", when: "true" }`, prefixes);

describe('a rule at an authority that is limited to prefixes', () => {
  test.each([
    ['/area/pay/web', /^none$/],
    ['/area/pay/ns/{k8s.namespace}', /^none$/],
    ['spiffe://example.org/area/pay/web', /^none$/],
    ['/area/pay', /gives nothing/],
    ['/area/payments/web', /gives nothing: \/area\/payments\/web is outside \/area\/pay\//],
    ['/ns/{k8s.namespace}/sa/{k8s.service_account}', /gives nothing/],
    ['/area/{unix.user}', /gives nothing/],
    ['/area/{unix.user}/web', /gives only those/],
    ['/area/p{unix.user}y/web', /gives only those/],
    ['/area/x{unix.user}/web', /gives nothing/],
    ['/area/pay{unix.user}/web', /gives nothing/],
    ['/{unix.user}/{unix.group}/web', /gives only those of \/\{unix.user\}\/\{unix.group\}\/web/],
  ])('%s', (spiffeId, says) => {
    expect(path(spiffeId)).toMatch(says);
  });

  test('is looked at with every prefix', () => {
    expect(path('/b/web', ['/a/', '/b/'])).toBe('none');
    expect(path('/{unix.user}/web', ['/a/b/', '/b/'])).toContain('gives only those');
    expect(path('/a/web', [])).toContain('outside nothing');
  });

  test('makes only child authorities inside them', () => {
    const child = (downstream: string) =>
      faultOf(
        `{ spiffeId: /x, nodes: { when: "agent.attestor == 'join_token'" }, downstream: ${downstream} }`,
      );
    expect(child('{ prefixes: ["/area/pay/europe/"] }')).toBe('none');
    expect(child('{ trustDomains: [b.example] }')).toBe('none');
    expect(child('{ prefixes: ["/area/pay/europe/", "/area/shop/"] }')).toContain('makes no child authority');
    expect(child('{ unlimited: true }')).toContain('every path is not inside');
  });
});
