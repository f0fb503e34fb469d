import { expect, test } from 'vitest';
import { type AccessPolicy, readPolicies, type Rule } from '../../policy/index.ts';
import { patchPolicy } from './patch.ts';

const read = (text: string): AccessPolicy => {
  const [policy] = readPolicies(text);
  if (policy === undefined) throw new TypeError('there is no policy in the text');
  return policy;
};

const HEAD = `apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
`;
const RULE: Rule = {
  name: 'new',
  from: [{ workload: 'spiffe://example.org/new' }],
  to: [{ http: { methods: ['GET'], paths: ['/new/{id}'] }, ports: [80] }],
};

/** The text with its rules made others, and the lines that were taken out of it and put into it. */
function patched(
  text: string,
  change: (rules: readonly Rule[]) => readonly Rule[],
  notes = new Map<string, string[]>(),
) {
  const before = read(text);
  const after = { ...before, spec: { ...before.spec, rules: change(before.spec.rules) } };
  const result = patchPolicy(text, before, after, notes);
  expect(read(result)).toEqual(after);
  const [a, b] = [text.split('\n'), result.split('\n')];
  return { result, gone: a.filter((line) => !b.includes(line)), made: b.filter((line) => !a.includes(line)) };
}

const append = (rules: readonly Rule[]) => [...rules, RULE];

test.each([
  [
    'blocks',
    `${HEAD}spec:
  protects: { workload: spiffe://example.org/cart }   # the cart
  rules:
    # first
    - name: web
      from:
        - workload: spiffe://example.org/web
      to:
        - http:
            paths:
              - /a
`,
  ],
  [
    'lists that are not indented',
    `${HEAD}spec:
  # of the cart
  protects:
    workload: spiffe://example.org/cart

  rules:
  - name: web   # the web
    from: [{workload: spiffe://example.org/web}]
    to: [{http: {paths: [/a]}}]
`,
  ],
  [
    'four spaces',
    `${HEAD}spec:
    protects: { workload: spiffe://example.org/cart }
    tier: critical
    rules:
        - name: web
          from: [ { workload: spiffe://example.org/web } ]
          to: [ { tcp: {} } ]
`,
  ],
])('a rule comes into %s, and every other line stays', (_, text) => {
  const { gone, made, result } = patched(
    text,
    append,
    new Map([['new', ['5 calls', 'in doubt: \u001b[1m\nkind: x']]]),
  );
  expect(gone).toEqual([]);
  expect(made).toHaveLength(5);
  // What evidence says is a comment, whatever stands in it.
  expect(result).toMatch(/# 5 calls\n *# in doubt: \\u001b\[1m\\u000akind: x\n *- name: new\n/);
});

test.each([
  ['no rules', `${HEAD}spec:\n  protects: { workload: spiffe://example.org/cart }\n`],
  ['an empty list', `${HEAD}spec:\n  protects: { workload: spiffe://example.org/cart }\n  rules: []\n`],
  ['one line', `${HEAD}spec: { protects: { workload: spiffe://example.org/cart }, rules: [] }\n`],
  ['JSON', JSON.stringify(read(`${HEAD}spec:\n  protects: { workload: spiffe://example.org/cart }\n`))],
])('a rule comes into %s', (_, text) => {
  expect(patched(text, append).result).toContain('/new/{id}');
});

const TWO = `${HEAD}spec:
  protects: { workload: spiffe://example.org/cart }
  rules:
    # why the web
    - name: web
      from: [ { workload: spiffe://example.org/web } ] # who
      to: [ { http: { methods: [ GET ], paths: [ /a, /b ] }, ports: [ 80 ] } ]
    # why the app
    - name: app
      from: [ { workload: spiffe://example.org/app } ]
      to: [ { tcp: {} } ]
`;

test('a rule that is widened changes in its own line', () => {
  const { gone, made } = patched(
    TWO,
    ([web, ...rest]) =>
      web === undefined
        ? []
        : [
            { ...web, to: [{ http: { methods: ['GET', 'PUT'], paths: ['/a', '/b'] }, ports: [80] }] },
            ...rest,
          ],
    new Map([['web', ['wider']]]),
  );
  expect(gone).toEqual(['      to: [ { http: { methods: [ GET ], paths: [ /a, /b ] }, ports: [ 80 ] } ]']);
  expect(made).toEqual([
    '    # wider',
    '      to: [ { http: { methods: [ GET, PUT ], paths: [ /a, /b ] }, ports: [ 80 ] } ]',
  ]);
});

test('a rule that goes takes its comment along, and no other', () => {
  const { result, made } = patched(TWO, (rules) => rules.slice(0, 1));
  expect(made).toEqual([]);
  expect(result).not.toContain('app');
  expect(result).toContain('# why the web');
});

test('lines end as they did', () => {
  const { result } = patched(TWO.replaceAll('\n', '\r\n'), append);
  expect(result.replaceAll('\r\n', '')).not.toContain('\n');
});

test('a condition can come and go', () => {
  const given = patched(TWO, (rules) =>
    rules.map((rule) => ({ ...rule, when: 'request.method == "GET"' })),
  ).result;
  expect(given).toContain('when:');
  expect(patched(given, () => read(TWO).spec.rules).result).not.toContain('when:');
});
