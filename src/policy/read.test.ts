import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { policiesArb } from '../../test/corpus/generators.ts';
import { InterlockError } from '../access/index.ts';
import {
  type AccessPolicy,
  compile,
  policyJsonSchema,
  readPolicies,
  type RuleEvidence,
  writePolicies,
} from './index.ts';

const GOOD = `apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart, namespace: shop }
spec:
  protects: { workload: spiffe://example.org/ns/shop/sa/cart }
  rules:
    - name: web
      from: [ { workload: spiffe://example.org/ns/shop/sa/web } ]
      to: [ { http: { methods: [GET], paths: ["/a/{id}"] }, ports: [80] } ]
      when: request.host == "x"
  deny:
    - name: no-web
      from: [ { workload: spiffe://example.org/ns/shop/sa/web2 } ]
      to: [ { tcp: {} } ]
`;

/** The error of reading, as `code line: message`. */
function refusal(text: string): string {
  try {
    readPolicies(text, 'p.yaml');
  } catch (error) {
    if (!(error instanceof InterlockError)) throw error;
    expect(error.place?.file).toBe('p.yaml');
    return `${error.code} ${error.place?.line ?? '-'}: ${error.message}`;
  }
  return 'read';
}

describe('readPolicies', () => {
  test('fills in the defaults', () => {
    const [policy, ...more] = readPolicies(GOOD);
    expect(more).toEqual([]);
    expect(policy?.spec).toMatchObject({ tier: 'standard', stage: 'draft' });
    const bare =
      'apiVersion: interlock.dev/v1alpha1\nkind: AccessPolicy\nmetadata: {name: a}\nspec: {protects: {workload: spiffe://e.org/a}}';
    expect(readPolicies(bare)[0]?.spec).toMatchObject({ rules: [], deny: [] });
  });

  test('reads JSON and several documents, and takes two policies of one workload under two names', () => {
    expect(readPolicies(JSON.stringify(readPolicies(GOOD)[0]))).toEqual(readPolicies(GOOD));
    expect(readPolicies(`---\n${GOOD}---\n${GOOD.replace('name: cart', 'name: cart-2')}---\n`)).toHaveLength(
      2,
    );
    expect(readPolicies('')).toEqual([]);
    expect(readPolicies('# nothing\n---\n---\n')).toEqual([]);
  });

  test.each<[string, string, string, RegExp]>([
    [
      'an empty list of callers',
      '[ { workload: spiffe://example.org/ns/shop/sa/web } ]',
      '[]',
      /^invalid_document 8: "from" is empty/,
    ],
    ['an empty list of targets', '[ { tcp: {} } ]', '[]', /^invalid_document 14: "to" is empty/],
    ['an empty list of ports', 'ports: [80]', 'ports: []', /^invalid_document 9: "ports" is empty/],
    ['an empty list of methods', '[GET]', '[]', /^invalid_document 9: "methods" is empty/],
    ['an empty list of paths', '["/a/{id}"]', '[]', /^invalid_document 9: "paths" is empty/],
    ['no list where one is meant', '["/a/{id}"]', '"/a"', /^invalid_document 9: "paths" is missing or not/],
    [
      'null where any could be meant',
      'ports: [80]',
      'ports:',
      /^invalid_document 9: "ports" is missing or not/,
    ],
    [
      'an unknown key of the document',
      'kind: AccessPolicy',
      'kind: AccessPolicy\nstatus: {}',
      /^invalid_document 3: unknown key "status"/,
    ],
    ['an unknown key of the spec', '  deny:', '  denny:', /^invalid_document 11: unknown key "denny"/],
    ['an unknown key of a rule', 'when:', 'unless:', /^invalid_document 10: unknown key "unless"/],
    ['an unknown key of a target', 'methods:', 'method:', /^invalid_document 9: unknown key "method"/],
    [
      'a key given twice',
      'ports: [80]',
      'ports: [80], ports: [81]',
      /^invalid_document 9: key "ports" is given twice/,
    ],
    [
      'a prototype as a key',
      'namespace: shop',
      '__proto__: { a: b }',
      /^invalid_document 3: unknown key "__proto__"/,
    ],
    ['two rules of one name', 'name: no-web', 'name: web', /^invalid_document 12: two rules are named "web"/],
    [
      'another kind',
      'kind: AccessPolicy',
      'kind: Deployment',
      /^invalid_document 2: "kind" is not "AccessPolicy"/,
    ],
    ['another version', 'v1alpha1', 'v1', /^invalid_document 1: "apiVersion" is not/],
    ['no name', 'name: cart, ', '', /^invalid_document 3: "name" is missing/],
    ['a name with a space', 'name: cart,', 'name: c art,', /^invalid_document 3: "c art" is not a name/],
    [
      'a workload that is no SPIFFE ID',
      'workload: spiffe://example.org/ns/shop/sa/cart',
      'workload: cart',
      /^invalid_document 5: .*not a SPIFFE ID/,
    ],
    [
      'protecting a trust domain',
      'spiffe://example.org/ns/shop/sa/cart',
      'spiffe://example.org',
      /^invalid_document 5: .*trust domain, not a workload/,
    ],
    ['protecting everything below a path', 'shop/sa/cart', 'shop/*', /^invalid_document 5: /],
    ['a star that is not last', 'shop/sa/web }', '*/sa/web }', /^invalid_document 8: /],
    ['a star without its slash', 'shop/sa/web }', 'shop/sa/web* }', /^invalid_document 8: /],
    [
      'a whole trust domain as a prefix',
      'spiffe://example.org/ns/shop/sa/web }',
      'spiffe://example.org/* }',
      /^invalid_document 8: .*write trustDomain: example.org/,
    ],
    [
      'two forms of a caller at once',
      'workload: spiffe://example.org/ns/shop/sa/web }',
      'workload: spiffe://example.org/a, trustDomain: b }',
      /^invalid_document 8: an item of "from" is exactly one of/,
    ],
    [
      'an empty caller',
      '{ workload: spiffe://example.org/ns/shop/sa/web }',
      '{}',
      /^invalid_document 8: an item of "from"/,
    ],
    [
      'a trust domain in upper case',
      'workload: spiffe://example.org/ns/shop/sa/web }',
      'trustDomain: Example.org }',
      /^invalid_document 8: .*lower-case/,
    ],
    [
      'a block with bits beyond its prefix',
      'workload: spiffe://example.org/ns/shop/sa/web }',
      'unauthenticated: { from: 10.0.0.1/8 } }',
      /^invalid_document 8: .*bits are set/,
    ],
    [
      'an address without a prefix',
      'workload: spiffe://example.org/ns/shop/sa/web }',
      'unauthenticated: { from: 10.0.0.1 } }',
      /^invalid_document 8: .*prefix length/,
    ],
    [
      'an unknown entity',
      'workload: spiffe://example.org/ns/shop/sa/web }',
      'unauthenticated: { from: everyone } }',
      /^invalid_document 8: .*neither a CIDR nor/,
    ],
    ['an empty target', '{ tcp: {} }', '{}', /^invalid_document 14: an item of "to" is exactly one of/],
    [
      'a target that is a port alone',
      '{ tcp: {} }',
      '{ ports: [80] }',
      /^invalid_document 14: an item of "to"/,
    ],
    ['fields in tcp', 'tcp: {}', 'tcp: { port: 80 }', /^invalid_document 14: unknown key "port"/],
    ['port 0', '[80]', '[0]', /^invalid_document 9: "ports" is below 1/],
    ['a port beyond the last', '[80]', '[65536]', /^invalid_document 9: "ports" is above 65535/],
    [
      'a port as text',
      '[80]',
      '["80"]',
      /^invalid_document 9: "ports" is missing or not of type (int|number)/,
    ],
    ['a fraction of a port', '[80]', '[80.5]', /^invalid_document 9: "ports"/],
    ['a method in lower case', '[GET]', '[get]', /^invalid_document 9: "get" is not a method/],
    ['any method as a star', '[GET]', '["*"]', /^invalid_document 9: "\*" is not a method/],
    ['a brace left open', '/a/{id}', '/a/{id', /^invalid_document 9: path "\/a\/\{id"/],
    ['the rest in the middle', '/a/{id}', '/{a=**}/b', /^invalid_document 9: .*must be last/],
    ['a path not in normal form', '/a/{id}', '/a//b', /^invalid_document 9: /],
    ['a path with a query', '/a/{id}', '/a?b', /^invalid_document 9: .*query/],
    ['a parameter name used twice', '/a/{id}', '/{id}/{id}', /^invalid_document 9: .*used twice/],
    ['a glob', '/a/{id}', '/a/*x y', /^invalid_document 9: /],
    [
      'a gRPC service with a slash',
      'tcp: {}',
      'grpc: { service: a/b }',
      /^invalid_document 14: .*not a gRPC name/,
    ],
    [
      'a gRPC method that is a parameter',
      'tcp: {}',
      'grpc: { service: a, methods: ["{m}"] }',
      /^invalid_document 14: .*not a gRPC name/,
    ],
    ['an empty gRPC service', 'tcp: {}', 'grpc: { service: "" }', /^invalid_document 14: .*not a gRPC name/],
    [
      'a condition that does not parse',
      'request.host == "x"',
      'request.host ==',
      /^invalid_document 10: condition: /,
    ],
    [
      'a condition on an unknown name',
      'request.host == "x"',
      'user == "x"',
      /^invalid_document 10: condition: "user" is not an attribute/,
    ],
    [
      'a condition on an unknown attribute',
      'request.host',
      'request.hots',
      /^invalid_document 10: condition: "request.hots"/,
    ],
    [
      'a condition on all of a request',
      'request.host == "x"',
      'size(request) == 0',
      /^invalid_document 10: condition: "request" is not/,
    ],
    [
      'a condition that asks whether it was recorded',
      'request.host == "x"',
      'has(request.host)',
      /^invalid_document 10: condition: has/,
    ],
    [
      'a condition that calls an unknown function',
      'request.host == "x"',
      'request.host.ends("x")',
      /^invalid_document 10: condition: there is no function "ends"/,
    ],
    [
      'a condition with a bad pattern',
      'request.host == "x"',
      'request.host.matches("(")',
      /^invalid_document 10: condition: .*RE2/,
    ],
    [
      'a condition that is too deep',
      'request.host == "x"',
      `${'('.repeat(40)}true${')'.repeat(40)}`,
      /^limit \d+: the text is nested|^invalid_document 10: condition: it nests/,
    ],
    [
      'a condition that is too long',
      'request.host == "x"',
      `'"${'x'.repeat(5000)}" == ""'`,
      /^invalid_document 10: condition: it is longer/,
    ],
    ['an alias', 'name: web\n', 'name: &n web\n', /^invalid_document 7: an anchor/],
    ['a merge key', 'ports: [80]', '"<<": { ports: [80] }', /^invalid_document 9: a merge key/],
    ['a tag', 'name: web\n', 'name: !!str web\n', /^invalid_document 7: a tag/],
    ['no YAML at all', 'kind: AccessPolicy', 'kind: [', /^invalid_document \d+: not valid YAML/],
    [
      'an unknown stage',
      '  rules:',
      '  stage: live\n  rules:',
      /^invalid_document 6: "stage" is not "draft" or/,
    ],
    [
      'a stage that is never written',
      '  rules:',
      '  stage: released\n  rules:',
      /^invalid_document 6: "stage" is not/,
    ],
  ])('refuses %s', (_, from, to, message) => {
    expect(GOOD).toContain(from);
    expect(refusal(GOOD.replace(from, to))).toMatch(message);
  });

  test('refuses one name twice for one workload, in one text and in one set', () => {
    expect(refusal(`${GOOD}---\n${GOOD}`)).toMatch(
      /^invalid_document 18: a policy named "cart" .* already in line 3/,
    );
    const [policy] = readPolicies(GOOD);
    expect(() => compile(policy === undefined ? [] : [policy, policy])).toThrow(
      /two policies .* are named "cart"/,
    );
  });

  test.each([
    ['brackets', '['.repeat(100_000)],
    ['brackets, with closing ones in quotes between them', '["]", '.repeat(100)],
    ['brackets, after closing ones', `[${'[], '.repeat(100)}${'['.repeat(100_000)}`],
    ['braces in a value', `a: ${'{a: '.repeat(50)}`],
    ['lists in lists', '- '.repeat(20_000)],
    ['keys in keys', '? '.repeat(20_000)],
  ])('refuses hostile nesting: %s', (_, text) => {
    expect(refusal(text)).toMatch(/^limit .*nested deeper/);
  });

  test('takes brackets in quotes, in plain text and in comments for text', () => {
    const open = '[{'.repeat(40);
    const [policy] = readPolicies(GOOD);
    const texts = [`# ${open}\n${GOOD}`, GOOD.replace('name: web\n', `name: web # ${open}\n`)];
    for (const text of texts) expect(readPolicies(text)).toEqual([policy]);
    for (const note of [`"${open}"`, `'${open}'`, `a${open}`, `|-\n      ${open}`]) {
      const metadata = `metadata:\n  name: cart\n  annotations:\n    note: ${note}`;
      const text = GOOD.replace('metadata: { name: cart, namespace: shop }', metadata);
      expect(readPolicies(text)[0]?.metadata.annotations?.['note']).toContain(open);
    }
  });

  test('refuses a text beyond its limit and other hostile texts, with an error of its own', () => {
    expect(refusal('#'.repeat(4 * 1024 * 1024 + 1))).toMatch(/^limit -: .*4 MiB/);
    const many = Array.from({ length: 20_000 }, (_, i) => `k${i}: 1`).join(', ');
    expect(refusal(`{ ${many} }`).length).toBeLessThan(1100);
    expect(refusal('---\n'.repeat(20_001))).toMatch(/^limit 20001: .*20000 documents/);
    expect(refusal(GOOD.replace('ports: [80]', `ports: [${'1,'.repeat(50_001)}]`))).toMatch(
      /^invalid_document 9: a list has more than 50000 entries/,
    );
    const keys = Array.from({ length: 20_000 }, (_, i) => `k${i}: 1`).join('\n');
    for (const text of [
      '\u0000',
      '"',
      'a',
      '5',
      '- a',
      '!x y',
      '%YAML 9\n---\na',
      keys,
      'a: *b',
      '{'.repeat(20),
      `${']'.repeat(100)}${'['.repeat(100_000)}`,
    ]) {
      expect(refusal(text)).toMatch(/^(invalid_document|limit) /);
    }
  });
});

const evidenceArb: fc.Arbitrary<RuleEvidence> = fc.record({
  views: fc.constantFrom<RuleEvidence['views']>(['observed'], ['declared'], ['observed', 'declared']),
  count: fc.nat(1e9),
  firstSeen: fc.constant('2026-01-02T03:04:05Z'),
  lastSeen: fc.constant('2026-02-02T03:04:05Z'),
  days: fc.nat(400),
  hoursOfWeek: fc.nat(168),
  instances: fc.nat(16),
  sources: fc.array(fc.constantFrom('otlp', 'envoy'), { maxLength: 2 }),
  declared: fc.array(fc.string({ maxLength: 80 }), { maxLength: 2 }),
});

describe('writePolicies', () => {
  test('writes what reads back the same', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 20 });
    fc.assert(
      fc.property(policiesArb(), evidenceArb, text, (policies, evidence, note) => {
        const given = policies.map(
          (policy): AccessPolicy => ({
            ...policy,
            metadata: {
              ...policy.metadata,
              namespace: 'shop',
              annotations: { note, yes: 'true', empty: '' },
            },
            spec: { ...policy.spec, rules: policy.spec.rules.map((rule) => ({ ...rule, evidence })) },
          }),
        );
        expect(readPolicies(writePolicies(given))).toEqual(given);
      }),
      { numRuns: 200 },
    );
  });

  test('keeps on a line what fits there', () => {
    const written = writePolicies(readPolicies(GOOD));
    expect(written).toContain('metadata: { name: cart, namespace: shop }');
    expect(written).toContain('      from: [ { workload: spiffe://example.org/ns/shop/sa/web } ]');
    expect(written).toContain('to: [ { http: { methods: [ GET ], paths: [ "/a/{id}" ] }, ports: [ 80 ] } ]');
    const many = Array.from(
      { length: 9 },
      (_, i) => `{ workload: spiffe://example.org/ns/shop/sa/caller-${i} }`,
    );
    const long = writePolicies(
      readPolicies(GOOD.replace('{ workload: spiffe://example.org/ns/shop/sa/web }', many.join(', '))),
    );
    expect(long).toContain('\n        - { workload: spiffe://example.org/ns/shop/sa/caller-8 }\n');
    for (const line of long.split('\n')) expect(line.length).toBeLessThanOrEqual(120);
  });
});

describe('policyJsonSchema', () => {
  test('describes the document in JSON Schema 2020-12 and forbids unknown keys', () => {
    expect(policyJsonSchema()).toMatchObject({
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      required: ['apiVersion', 'kind', 'metadata', 'spec'],
      additionalProperties: false,
    });
  });
});
