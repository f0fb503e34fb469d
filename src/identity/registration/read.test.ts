import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { InterlockError } from '../../access/index.ts';
import { ruleText } from './example.test-helper.ts';
import {
  compileRules,
  identityRuleJsonSchema,
  identityRuleOf,
  parseIdentityRule,
  readIdentityRules,
} from './index.ts';

const GOOD = `apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: kubernetes-service-accounts }
spec:
  spiffeId: /ns/{k8s.namespace}/sa/{k8s.service_account}
  selectors: ["k8s:ns:shop"]
  when: "k8s.labels['team'] == 'pay'"
  nodes: { selectors: ["k8s_psat:cluster:prod"], when: "agent.attestor == 'k8s_psat'" }
  ttl: 1h
  jwtTtl: 5m
  dnsNames: ["{k8s.service_account}.{k8s.namespace}.svc"]
  hint: internal
  federatesWith: [other.example]
  authority: default
---
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: child }
spec:
  spiffeId: /area/payments/authority
  nodes: { selectors: ["agent:id:spiffe://example.org/interlock/agent/join_token/payments"] }
  ttl: 30d
  downstream: { prefixes: ["/area/payments/"], pathLength: 0 }
`;

/** The error of reading and compiling, as `code line: message`. */
function refusal(text: string): string {
  try {
    compileRules(readIdentityRules(text, 'rules.yaml'), 'example.org');
  } catch (error) {
    if (!(error instanceof InterlockError)) throw error;
    return `${error.code} ${error.place?.line ?? '-'}: ${error.message}`;
  }
  return 'read';
}

describe('readIdentityRules', () => {
  test('reads every field, and the JSON of a rule is the rule', () => {
    const rules = readIdentityRules(GOOD, 'rules.yaml');
    expect(rules.map((rule) => rule.metadata.name)).toEqual(['kubernetes-service-accounts', 'child']);
    for (const rule of rules) {
      expect(parseIdentityRule(Buffer.from(JSON.stringify(rule)))).toEqual(rule);
      expect(readIdentityRules(JSON.stringify(rule))).toEqual([rule]);
    }
    expect(compileRules(rules, 'example.org').rules).toHaveLength(2);
  });

  test('a text without a document has no rules', () => {
    expect(readIdentityRules('')).toEqual([]);
    expect(readIdentityRules('---\n# nothing\n---\n')).toEqual([]);
  });

  test.each<[string, string, string, RegExp]>([
    [
      'a path of our own',
      '/ns/{k8s.namespace}/sa/{k8s.service_account}',
      '/interlock/agent/x',
      /^invalid_document 5: paths below \/interlock\//,
    ],
    [
      'our own path itself',
      '/ns/{k8s.namespace}/sa/{k8s.service_account}',
      '/interlock',
      /below \/interlock\//,
    ],
    [
      'an agent of a child',
      '/ns/{k8s.namespace}/sa/{k8s.service_account}',
      '/area/x/interlock/agent/y',
      /below \/interlock\//,
    ],
    [
      'a whole reserved ID',
      '/ns/{k8s.namespace}/sa/{k8s.service_account}',
      'spiffe://example.org/interlock/server',
      /below \/interlock\//,
    ],
    [
      'the ID of the trust domain',
      '/ns/{k8s.namespace}/sa/{k8s.service_account}',
      'spiffe://example.org',
      /needs a path/,
    ],
    [
      'a variable trust domain',
      '/ns/{k8s.namespace}/sa/{k8s.service_account}',
      '"spiffe://{k8s.namespace}/x"',
      /trust domain cannot be a variable/,
    ],
    [
      'another trust domain',
      '/ns/{k8s.namespace}/sa/{k8s.service_account}',
      'spiffe://other.org/x',
      /^invalid_document -: .*of another trust domain/,
    ],
    [
      'an upper-case trust domain',
      '/ns/{k8s.namespace}/sa/{k8s.service_account}',
      'spiffe://Example.org/x',
      /^invalid_document 5: "Example.org"/,
    ],
    ['a path without "/"', '/ns/{k8s.namespace}/sa/{k8s.service_account}', 'ns/x', /begins with "\/"/],
    ['an empty segment', '/ns/{k8s.namespace}/', '/ns//', /empty path segment/],
    ['a trailing slash', '{k8s.service_account}\n', '{k8s.service_account}/\n', /empty path segment/],
    ['".." as a segment', '/sa/', '/../', /"\." or "\.\." segment/],
    ['a character outside the standard', '/sa/', '/s%61/', /"s%61" is no path segment/],
    [
      'a piece that no value makes a segment',
      '/sa/{k8s.service_account}',
      '/sa/x~{k8s.service_account}',
      /never makes a path segment/,
    ],
    [
      'two variables in one segment',
      '/sa/{k8s.service_account}',
      '/{k8s.pod_name}-{k8s.service_account}',
      /two variables/,
    ],
    ['an unknown attribute', '{k8s.namespace}/', '{k8s.namspace}/', /no single value: use k8s.namespace/],
    ['an unknown root', '{k8s.namespace}/', '{aws.tag}/', /"aws" is not known/],
    ['a list as a variable', '{k8s.namespace}/', '{unix.groups}/', /no single value/],
    ['a map as a variable', '{k8s.namespace}/', '{k8s.labels}/', /name one entry/],
    ['an open brace', '{k8s.namespace}/', '{k8s.namespace/', /has no "}"|is not a variable/],
    ['a closing brace alone', '{k8s.namespace}/', 'x}/', /has no "{"/],
    [
      'an unknown selector type',
      'k8s:ns:shop',
      'kube:ns:shop',
      /^invalid_document 6: selector "kube:ns:shop": there are no "kube" selectors/,
    ],
    ['an unknown selector key', 'k8s:ns:shop', 'k8s:namespace:shop', /there is no "k8s:namespace" selector/],
    ['a selector without a value', 'k8s:ns:shop', 'k8s:ns:', /its value is missing/],
    ['an unknown node selector', 'k8s_psat:cluster:prod', 'agent:name:x', /there is no "agent:name"/],
    [
      'a condition on an unknown attribute',
      "k8s.labels['team']",
      "k8s.label['team']",
      /^invalid_document 7: condition: "k8s.label" is not known/,
    ],
    ['a condition on a request', "k8s.labels['team']", 'request.path', /"request" is not known/],
    ['a condition that is no CEL', " == 'pay'", ' ==', /^invalid_document 7: condition:/],
    [
      'a node condition on workloads',
      'agent.attestor ==',
      'unix.user ==',
      /^invalid_document 8: condition: "unix" is not known/,
    ],
    [
      'a pattern that RE2 does not take',
      "k8s.labels['team'] == 'pay'",
      "k8s.namespace.matches('(?=x)')",
      /not an RE2 pattern/,
    ],
    ['a short life', 'ttl: 1h', 'ttl: 59s', /^invalid_document 9: "ttl" is from 1m to 1d/],
    ['a long life', 'ttl: 1h', 'ttl: 25h', /"ttl" is from 1m to 1d/],
    ['a long token', 'jwtTtl: 5m', 'jwtTtl: 61m', /^invalid_document 10: "jwtTtl" is from 1m to 1h/],
    ['a life that is no duration', 'ttl: 1h', 'ttl: 1 hour', /write a duration/],
    ['a number as a life', 'ttl: 1h', 'ttl: 3600', /"ttl" is missing or not of type string/],
    [
      'a wildcard DNS name',
      '"{k8s.service_account}.{k8s.namespace}.svc"',
      '"*.example.org"',
      /not a DNS name/,
    ],
    [
      'an address as a DNS name',
      '"{k8s.service_account}.{k8s.namespace}.svc"',
      '10.0.0.1',
      /not a DNS name|not of type string/,
    ],
    ['an upper-case DNS name', '}.svc', '}.Svc', /"Svc" is no DNS label/],
    ['a hint with a control character', 'hint: internal', 'hint: "a\\u0007"', /printable/],
    ['itself as a federated domain', 'other.example', 'example.org', /names example.org itself/],
    ['an unknown key', '  hint: internal', '  hints: internal', /^invalid_document 12: unknown key "hints"/],
    ['an unknown key of nodes', 'nodes: {', 'nodes: { name: x,', /unknown key "name"/],
    [
      'another kind',
      'kind: IdentityRule',
      'kind: AccessPolicy',
      /^invalid_document 2: "kind" is not "IdentityRule"/,
    ],
    ['another version', 'interlock.dev/v1alpha1', 'interlock.dev/v2', /^invalid_document 1: "apiVersion"/],
    [
      'a name with a space',
      'name: kubernetes-service-accounts',
      'name: a b',
      /^invalid_document 3: "a b" is not a name/,
    ],
    [
      'a name given twice',
      'name: child',
      'name: kubernetes-service-accounts',
      /^invalid_document 18: two rules are named/,
    ],
    [
      'a key given twice',
      '  ttl: 1h',
      '  ttl: 1h\n  ttl: 2h',
      /^invalid_document 10: key "ttl" is given twice/,
    ],
    ['an alias', 'ttl: 1h', 'ttl: *x', /alias|not valid YAML/],
    ['an anchor', 'ttl: 1h', 'ttl: &x 1h', /anchor/],
    ['a tag', 'ttl: 1h', 'ttl: !!str 1h', /tag/],
    ['a merge key', 'ttl: 1h', '<<: { ttl: 1h }', /merge key/],
    ['a prototype', 'ttl: 1h', '__proto__: { ttl: 1h }', /unknown key "__proto__"/],
    [
      'a child authority for everything, unsaid',
      'prefixes: ["/area/payments/"], ',
      '',
      /may speak for every path/,
    ],
    [
      'a child authority with no prefix in its list',
      '"/area/payments/"',
      '',
      /^invalid_document 23: "prefixes" is empty/,
    ],
    ['a prefix that does not end', '"/area/payments/"]', '"/area/payments"]', /is not a prefix/],
    ['the root as a prefix', '"/area/payments/"]', '"/"]', /is not a prefix/],
    ['our own prefix', '"/area/payments/"]', '"/interlock/"]', /program's own/],
    ['prefixes and everything', 'pathLength: 0', 'unlimited: true', /opposite/],
    [
      'a child that any agent may become',
      '  nodes: { selectors: ["agent:id:spiffe://example.org/interlock/agent/join_token/payments"] }\n',
      '',
      /every agent could become/,
    ],
    ['a child by workload selectors', 'ttl: 30d', 'selectors: ["unix:uid:0"]', /is no workload/],
    [
      'a child named by a workload',
      '/area/payments/authority',
      '/area/{k8s.namespace}/authority',
      /is no workload/,
    ],
    ['a child for too long', 'ttl: 30d', 'ttl: 400d', /"ttl" is from 1h to 366d/],
    ['text that is not YAML', 'ttl: 1h', 'ttl: [1h', /not valid YAML/],
  ])('refuses %s', (_what, part, instead, expected) => {
    expect(GOOD).toContain(part);
    expect(refusal(GOOD.replace(part, () => instead))).toMatch(expected);
  });

  test.each([
    ['a fixed ID with no condition', 'spiffeId: /all', /every workload on every node/],
    [
      'a fixed ID with empty conditions',
      'spiffeId: /all, selectors: [], when: " ", nodes: { selectors: [], when: "" }',
      /every workload/,
    ],
    ['a fixed ID for all, said', 'spiffeId: /all, when: "true"', /^read$/],
    [
      'a fixed ID for the workloads of some nodes',
      `spiffeId: /ci, nodes: { when: "claims.ref == 'x'" }`,
      /^read$/,
    ],
    ['a variable alone', 'spiffeId: "/u/{unix.uid}"', /^read$/],
    ['a whole ID', 'spiffeId: spiffe://example.org/x, selectors: ["unix:uid:1"]', /^read$/],
    [
      'an unlimited child',
      'spiffeId: /child, nodes: { selectors: ["agent:attestor:join_token"] }, downstream: { unlimited: true }',
      /^read$/,
    ],
  ])('a template as wide as written: %s', (_what, spec, expected) => {
    expect(refusal(ruleText(spec))).toMatch(expected);
  });

  test('text and nesting beyond the limits are refused, never run out of stack', () => {
    expect(refusal('['.repeat(100_000))).toMatch(/^limit/);
    expect(refusal('- '.repeat(20_000))).toMatch(/^(limit|invalid_document)/);
    expect(refusal(' '.repeat(17 * 1024 * 1024))).toMatch(/^limit/);
    expect(refusal(ruleText(`spiffeId: /a, when: "${'('.repeat(40)}true${')'.repeat(40)}"`))).toMatch(
      /brackets/,
    );
    expect(refusal(ruleText(`spiffeId: /a, when: "true${' || true'.repeat(500)}"`))).toMatch(/^read$/);
    expect(refusal(ruleText(`spiffeId: /a, when: "true${' || true'.repeat(600)}"`))).toMatch(/4096|4097/);
  });

  test('plain data and bytes that are no rule are refused with their place', () => {
    for (const data of [undefined, null, 7, [], 'x', { metadata: { name: 'n' } }])
      expect(() => identityRuleOf(data)).toThrow(InterlockError);
    expect(() => parseIdentityRule(Buffer.from('{'))).toThrow(/not JSON/);
    expect(() => parseIdentityRule(Buffer.from([0xff]))).toThrow(/not JSON/);
    expect(() => parseIdentityRule(Buffer.alloc(300 * 1024))).toThrow(/at most/);
  });

  test('editors get a JSON Schema', () => {
    expect(JSON.stringify(identityRuleJsonSchema())).toContain('spiffeId');
  });
});

test('whatever the text, reading gives rules or an InterlockError', () => {
  const lines = GOOD.split('\n');
  const junk = fc.constantFrom(
    '',
    '---',
    '- x',
    '{',
    '}',
    '[',
    '&a',
    '*a',
    '!!js x',
    '? y',
    '"',
    "'",
    'spec:',
    '\t',
    '<<: 1',
  );
  const edit = fc.tuple(fc.nat(lines.length), fc.nat(3), fc.oneof(junk, fc.string({ maxLength: 12 })));
  let read = 0;
  fc.assert(
    fc.property(fc.array(edit, { maxLength: 3 }), (edits) => {
      const text = [...lines];
      for (const [at, remove, line] of edits) text.splice(at, remove, line);
      const outcome = refusal(text.join('\n'));
      if (outcome === 'read') read++;
      else expect(outcome).toMatch(/^(invalid_document|limit) /);
    }),
    { numRuns: 500 },
  );
  expect(read).toBeGreaterThan(5);
});
