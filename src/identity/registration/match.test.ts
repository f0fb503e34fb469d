import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseSpiffeId, spiffeIdOf } from '../../access/index.ts';
import { agent, pod, ruleText } from './example.test-helper.ts';
import {
  authorityOf,
  compileRules,
  explain,
  identitiesOf,
  isReservedPath,
  matchRule,
  readIdentityRules,
  readWorkloadAttributes,
  type RuleSet,
  type WorkloadAttributes,
  writeWorkloadAttributes,
} from './index.ts';

const set = (...texts: readonly string[]) => compileRules(readIdentityRules(texts.join('')), 'example.org');
const one = (spec: string) => {
  const [rule] = set(ruleText(spec)).rules;
  if (rule === undefined) throw new Error('no rule');
  return rule;
};
/** The ID that a rule gives, or the condition that failed and why. */
const outcome = (spec: string, workload: WorkloadAttributes = pod(), by = agent()) => {
  const match = matchRule(one(spec), workload, by);
  return match.matched ? match.identity.spiffeId : `${match.condition}: ${match.reason}`;
};

describe('matchRule', () => {
  test.each<[string, string, string]>([
    [
      'namespace and service account',
      'spiffeId: "/ns/{k8s.namespace}/sa/{k8s.service_account}"',
      'spiffe://example.org/ns/shop/sa/web',
    ],
    ['a number', 'spiffeId: "/uid/{unix.uid}"', 'spiffe://example.org/uid/1000'],
    ['text around a variable', 'spiffeId: "/u/user-{unix.user}.x"', 'spiffe://example.org/u/user-web.x'],
    ['a label', 'spiffeId: "/t/{k8s.labels.team}"', 'spiffe://example.org/t/pay'],
    [
      'a label with "/" and "." in its key',
      `spiffeId: "/t/{k8s.labels['app.kubernetes.io/name']}"`,
      'spiffe://example.org/t/web',
    ],
    ['a whole ID', 'spiffeId: "spiffe://example.org/t/{k8s.labels.team}"', 'spiffe://example.org/t/pay'],
    [
      'all selectors',
      'spiffeId: /x, selectors: ["k8s:ns:shop", "unix:uid:1000", "unix:supplementary_gid:24", "k8s:pod-label:team:pay", "k8s:pod-owner:ReplicaSet:web-5d4f"]',
      'spiffe://example.org/x',
    ],
    [
      'one selector missing',
      'spiffeId: /x, selectors: ["unix:uid:1000", "k8s:ns:pay"]',
      'selectors: k8s:ns:pay is missing: the workload has k8s:ns:shop',
    ],
    [
      'a kind of selector missing',
      'spiffeId: /x, selectors: ["systemd:id:web.service"]',
      'selectors: systemd:id:web.service is missing: the workload has no systemd:id',
    ],
    [
      'a condition that holds',
      `spiffeId: /x, when: "k8s.labels['team'] == 'pay' && unix.uid == 1000 && 4 in unix.groups"`,
      'spiffe://example.org/x',
    ],
    [
      'a condition that is false',
      `spiffeId: /x, when: "k8s.namespace == 'pay'"`,
      `condition: k8s.namespace == 'pay' is false: k8s.namespace is "shop"`,
    ],
    [
      'a condition on what is missing',
      `spiffeId: /x, when: "systemd.unit == 'x'"`,
      "condition: systemd.unit == 'x' has no answer",
    ],
    [
      'a negated condition on what is missing',
      `spiffeId: /x, when: "!(systemd.unit == 'x')"`,
      'condition: !(systemd.unit',
    ],
    [
      'a condition that is no yes or no',
      'spiffeId: /x, when: "unix.uid"',
      'condition: unix.uid has no answer (its value is neither true nor false): unix.uid is 1000',
    ],
    [
      'one side known',
      `spiffeId: /x, when: "has(systemd.unit) || unix.uid == 1000"`,
      'spiffe://example.org/x',
    ],
    ['a missing attribute', 'spiffeId: "/x/{systemd.unit}"', 'ID: systemd.unit is not known'],
    ['a missing label', 'spiffeId: "/x/{k8s.labels.tier}"', 'ID: k8s.labels.tier is not known'],
    [
      'a name of every object',
      'spiffeId: "/x/{claims.constructor.name}"',
      'ID: claims.constructor.name is not known',
    ],
    [
      'a label of every object',
      'spiffeId: "/x/{k8s.labels.constructor}"',
      'ID: k8s.labels.constructor is not known',
    ],
    [
      'a node selector',
      'spiffeId: /x, nodes: { selectors: ["k8s_psat:cluster:prod"] }',
      'spiffe://example.org/x',
    ],
    [
      'a node selector missing',
      'spiffeId: /x, nodes: { selectors: ["k8s_psat:cluster:test"] }',
      'node selectors: k8s_psat:cluster:test is missing: the agent has k8s_psat:cluster:prod',
    ],
    [
      'a node condition',
      `spiffeId: "/r/{claims.project}", nodes: { when: "claims.ref == 'refs/heads/main'" }`,
      'spiffe://example.org/r/shop',
    ],
    [
      'a node condition that is false',
      `spiffeId: /x, nodes: { when: "claims.ref == 'x'" }`,
      `node condition: claims.ref == 'x' is false: claims.ref is "refs/heads/main"`,
    ],
    [
      'a claim with "/"',
      'spiffeId: "/r/{claims.ref}"',
      'ID: claims.ref is "refs/heads/main", which is no path segment',
    ],
    ['a claim that is no text', 'spiffeId: "/r/{claims.flag}"', 'ID: claims.flag is not known'],
  ])('%s', (_what, spec, expected) => {
    const by = agent({ project: 'shop', ref: 'refs/heads/main', flag: true }, ['k8s_psat:cluster:prod']);
    expect(outcome(spec, pod(), by)).toContain(expected);
  });

  test.each(['', '.', '..', 'a/b', '../x', '%2e', 'ä', 'a b', 'a\n', 'a\u0000', '{x}'])(
    'the value %j never becomes a segment',
    (value) => {
      expect(outcome('spiffeId: "/ns/{k8s.namespace}"', pod({ namespace: value }))).toMatch(
        /^ID: k8s.namespace is/,
      );
    },
  );

  test('a value cannot make a path of our own', () => {
    expect(outcome('spiffeId: "/{k8s.namespace}/agent"', pod({ namespace: 'interlock' }))).toMatch(
      /own paths/,
    );
    expect(outcome('spiffeId: "/inter{k8s.namespace}/x"', pod({ namespace: 'lock' }))).toMatch(/own paths/);
    expect(outcome('spiffeId: "/a/{k8s.namespace}/server"', pod({ namespace: 'interlock' }))).toMatch(
      /own paths/,
    );
    expect(outcome('spiffeId: "/ns/{k8s.namespace}/sa/x"', pod({ namespace: 'interlock' }))).toBe(
      'spiffe://example.org/ns/interlock/sa/x',
    );
  });

  test('an ID longer than the standard allows is not given', () => {
    expect(outcome('spiffeId: "/ns/{k8s.namespace}"', pod({ namespace: 'a'.repeat(2100) }))).toMatch(
      /longer than/,
    );
  });

  test('DNS names are filled label by label, and a value that is none gives nothing', () => {
    const spec =
      'spiffeId: "/x/{k8s.pod_uid}", dnsNames: ["{k8s.service_account}.{k8s.namespace}.svc", "web.example.org"]';
    const match = matchRule(one(spec), pod(), agent());
    expect(match.matched && match.identity.dnsNames).toEqual(['web.shop.svc', 'web.example.org']);
    expect(outcome(spec, pod({ service_account: 'a.b' }))).toMatch(
      /^DNS names: .*"a.b", which is no DNS label/,
    );
    expect(outcome('spiffeId: "/x/{k8s.pod_uid}", dnsNames: ["a.{unix.uid}"]')).toMatch(/address/);
  });

  test('the values of environment variables are not told', () => {
    const workload = pod(
      {},
      { docker: { container_id: 'c', image: 'i', labels: {}, env: { TOKEN: 'hunter2' } } },
    );
    const reasons = [
      outcome('spiffeId: /x, selectors: ["docker:env:TOKEN=x"]', workload),
      outcome(`spiffeId: /x, when: "docker.env['TOKEN'] == 'x'"`, workload),
    ];
    expect(reasons.join()).toMatch(/TOKEN/);
    expect(reasons.join()).not.toMatch(/hunter2/);
  });

  test('a label whose key has a ":" cannot pass for another label', () => {
    const workload: WorkloadAttributes = {
      docker: { container_id: 'c', image: 'i', labels: { 'team:pay': 'x' } },
    };
    expect(outcome('spiffeId: /x, selectors: ["docker:label:team:pay:x"]', workload)).toMatch(/missing/);
  });

  test('what a rule does not say has the defaults', () => {
    const match = matchRule(one('spiffeId: "/u/{unix.uid}"'), pod(), agent());
    expect(match.matched && match.identity).toEqual({
      rule: 'rule',
      spiffeId: 'spiffe://example.org/u/1000',
      dnsNames: [],
      ttl: 3_600_000,
      jwtTtl: 300_000,
      hint: '',
      federatesWith: [],
      authority: undefined,
    });
  });

  test('whatever the values, an ID that is given is valid, inside the template and not one of ours', () => {
    const rule = one('spiffeId: "/{k8s.namespace}/sa/x-{k8s.service_account}"');
    const value = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 20 }),
      fc.string({ unit: fc.constantFrom('a', 'B', '.', '-', '_', '/', '0'), maxLength: 6 }),
      fc.constantFrom('interlock', '..', '.', '', 'agent', '__proto__'),
    );
    let given = 0;
    fc.assert(
      fc.property(value, value, (namespace, service_account) => {
        const match = matchRule(rule, pod({ namespace, service_account }), agent());
        if (!match.matched) return;
        given++;
        const { spiffeId } = match.identity;
        expect(spiffeIdOf(spiffeId)).toBe(spiffeId);
        expect(spiffeId).toBe(`spiffe://example.org/${namespace}/sa/x-${service_account}`);
        expect(spiffeId.split('/')).toHaveLength(6);
        expect(isReservedPath(spiffeId.slice('spiffe://example.org'.length))).toBe(false);
      }),
      { numRuns: 2000 },
    );
    expect(given).toBeGreaterThan(50);
  });
});

describe('identitiesOf', () => {
  const ids = (rules: RuleSet, workload = pod(), by = agent()) =>
    identitiesOf(rules, workload, by).map(
      ({ rule, spiffeId, hint }) => `${rule} ${spiffeId.slice(21)} ${hint}`,
    );

  test('every identity by rule name; the first rule of an ID counts, the first of a hint keeps it', () => {
    const rules = set(
      ruleText('spiffeId: "/u/{unix.uid}", hint: internal', 'b'),
      ruleText('spiffeId: /u/1000, selectors: ["unix:uid:1000"], hint: other', 'c'),
      ruleText('spiffeId: /web, selectors: ["k8s:sa:web"], hint: internal', 'd'),
      ruleText('spiffeId: /first, when: "true"', 'A'),
      ruleText('spiffeId: /never, selectors: ["k8s:sa:api"]', 'e'),
    );
    expect(ids(rules)).toEqual(['A first ', 'b u/1000 internal', 'd web ']);
    expect(
      explain(rules, pod(), agent()).map(({ rule, condition, reason }) => [rule, condition, reason]),
    ).toEqual([
      ['A', undefined, undefined],
      ['b', undefined, undefined],
      ['c', undefined, 'rule "b" comes first and gives the same ID'],
      ['d', undefined, undefined],
      ['e', 'selectors', 'k8s:sa:api is missing: the workload has k8s:sa:web'],
    ]);
  });

  test('a rule for child authorities gives workloads nothing, and agents only their own', () => {
    const rules = set(
      ruleText(
        'spiffeId: "/area/{claims.area}", nodes: { when: "has(claims.area)" }, downstream: { prefixes: ["/area/pay/"] }',
        'child',
      ),
      ruleText('spiffeId: /u, when: "true"', 'u'),
    );
    expect(ids(rules, pod(), agent({ area: 'pay' }))).toEqual(['u u ']);
    expect(explain(rules, pod(), agent({ area: 'pay' }))[0]).toMatchObject({ condition: 'kind' });
    expect(authorityOf(rules, agent())).toBeUndefined();
    expect(authorityOf(rules, agent({ area: 'pay' }))).toEqual({
      rule: 'child',
      spiffeId: 'spiffe://example.org/area/pay',
      prefixes: ['/area/pay/'],
      trustDomains: [],
      pathLength: 0,
      ttl: 30 * 86_400_000,
      jwtTtl: 300_000,
      authority: undefined,
    });
    const all = set(
      ruleText(
        'spiffeId: /c, nodes: { selectors: ["agent:attestor:k8s_psat"] }, downstream: { unlimited: true }',
      ),
    );
    expect(authorityOf(all, agent())?.prefixes).toBeUndefined();
  });

  test('an agent is told only of the rules by which it may ask', () => {
    const rules = set(
      ruleText(
        'spiffeId: /a, nodes: { selectors: ["agent:id:spiffe://example.org/interlock/agent/k8s_psat/prod-node-1"] }',
        'a',
      ),
      ruleText(
        'spiffeId: /b, nodes: { selectors: ["agent:id:spiffe://example.org/interlock/agent/k8s_psat/prod-node-2"] }',
        'b',
      ),
      ruleText('spiffeId: "/u/{unix.uid}"', 'c'),
    );
    expect(rules.forAgent(agent()).map(({ name }) => name)).toEqual(['a', 'c']);
  });

  test('a set takes changes without changing itself', () => {
    const before = set(
      ruleText('spiffeId: /a, selectors: ["unix:uid:1000"]', 'a'),
      ruleText('spiffeId: /b, when: "true"', 'b'),
    );
    const after = before.with(set(ruleText('spiffeId: /c, selectors: ["unix:uid:1000"]', 'a')).rules, [
      'b',
      'gone',
    ]);
    expect(ids(before)).toEqual(['a a ', 'b b ']);
    expect(ids(after)).toEqual(['a c ']);
    expect(after.get('b')).toBeUndefined();
  });

  test('the index never changes what is found: with random rules, the same as trying each', () => {
    const selector = fc.constantFrom(
      'unix:uid:1',
      'unix:uid:2',
      'unix:gid:1',
      'unix:user:a',
      'k8s:ns:a',
      'k8s:sa:b',
    );
    const spec = fc.record({
      id: fc.constantFrom('/a', '/b', '/u/{unix.uid}', '/n/{k8s.namespace}'),
      selectors: fc.array(selector, { maxLength: 3 }),
      when: fc.constantFrom('"true"', '"unix.uid == 1"', `"k8s.namespace == 'a'"`),
    });
    const workload = fc.record(
      {
        unix: fc.record({
          uid: fc.constantFrom(1, 2),
          gid: fc.constantFrom(1, 2),
          user: fc.constantFrom('a', 'b'),
          groups: fc.constant([]),
        }),
        k8s: fc
          .record({ namespace: fc.constantFrom('a', 'b'), service_account: fc.constantFrom('a', 'b') })
          .map((part) => pod(part).k8s ?? never()),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.array(spec, { maxLength: 12 }), workload, (specs, subject) => {
        const rules = set(
          ...specs.map(({ id, selectors, when }, i) =>
            ruleText(`spiffeId: "${id}", selectors: ${JSON.stringify(selectors)}, when: ${when}`, `r${i}`),
          ),
        );
        const seen = new Set<string>();
        const expected = rules.rules.flatMap((rule) => {
          const match = matchRule(rule, subject, agent());
          if (!match.matched || seen.has(match.identity.spiffeId)) return [];
          seen.add(match.identity.spiffeId);
          return [match.identity];
        });
        expect(identitiesOf(rules, subject, agent())).toEqual(expected);
        expect(
          explain(rules, subject, agent())
            .filter(({ reason }) => reason === undefined)
            .map(({ identity }) => identity),
        ).toEqual(expected);
      }),
      { numRuns: 300 },
    );
  });

  test('of 10,000 plain entries, a workload looks at no more than those with its rarest selector', () => {
    const [first] = readIdentityRules(ruleText('spiffeId: /e/0, selectors: ["k8s:ns:shop"]'));
    if (first === undefined) throw new Error('no rule');
    const { spec, metadata, ...rest } = first;
    const rules = compileRules(
      Array.from({ length: 10_000 }, (_, i) => ({
        ...rest,
        metadata: { ...metadata, name: `e${i}` },
        spec: {
          ...spec,
          spiffeId: `/e/${i}`,
          selectors: ['k8s:ns:shop', `k8s:sa:a${i}`, 'unix:uid:1000'],
          nodes: { selectors: ['agent:attestor:k8s_psat', `k8s_psat:agent_node_name:n${i % 100}`] },
        },
      })),
      'example.org',
    );
    const by = agent({}, ['k8s_psat:agent_node_name:n11']);
    expect(rules.forAgent(by)).toHaveLength(100);
    const workload = pod({ service_account: 'a4711' });
    expect(identitiesOf(rules, workload, by).map(({ spiffeId }) => spiffeId)).toEqual([
      'spiffe://example.org/e/4711',
    ]);
    expect(rules.candidates(new Set(['k8s:ns:shop', 'unix:uid:1000', 'k8s:sa:a4711']))).toHaveLength(1);
  });

  test('a workload gets at most 256 identities', () => {
    const texts = Array.from({ length: 300 }, (_, i) => ruleText(`spiffeId: /e/${i}, when: "true"`, `e${i}`));
    const rules = set(...texts);
    expect(identitiesOf(rules, pod(), agent())).toHaveLength(256);
    expect(explain(rules, pod(), agent()).filter(({ reason }) => reason !== undefined)).toHaveLength(44);
  });
});

describe('the attributes on the wire', () => {
  test('are read as they were written', () => {
    const workload = pod({}, { systemd: { unit: 'x.service' } });
    expect(readWorkloadAttributes(writeWorkloadAttributes(workload))).toEqual(workload);
    expect(readWorkloadAttributes(Buffer.from('{}'))).toEqual({});
  });

  test.each([
    ['no JSON', '{', /not JSON/],
    ['a list', '[]', /not valid/],
    ['an unknown root', '{"aws":{}}', /not valid/],
    ['an unknown attribute', '{"unix":{"uid":1,"gid":1,"groups":[],"root":true}}', /not valid at "unix"/],
    ['a negative uid', '{"unix":{"uid":-1,"gid":1,"groups":[]}}', /unix.uid/],
    ['a uid as text', '{"unix":{"uid":"0","gid":1,"groups":[]}}', /unix.uid/],
    ['a broken hash', '{"unix":{"uid":1,"gid":1,"groups":[],"sha256":"A"}}', /sha256/],
    ['too much', `"${'x'.repeat(300_000)}"`, /at most/],
  ])('%s is refused', (_what, json, expected) => {
    expect(() => readWorkloadAttributes(Buffer.from(json))).toThrow(expected);
  });

  test('a label named __proto__ bends nothing', () => {
    const json = JSON.stringify({ docker: { container_id: 'c', image: 'i', labels: {} } }).replace(
      '"labels":{}',
      '"labels":{"__proto__":"x","a":"b"}',
    );
    const { docker } = readWorkloadAttributes(Buffer.from(json));
    expect(Object.getPrototypeOf(docker?.labels)).toBe(Object.prototype);
    expect(docker?.labels['a']).toBe('b');
  });
});

test('an agent cannot have the selectors of another attestor, nor another ID', () => {
  const by = agent({}, [
    'k8s_psat:cluster:prod',
    'agent:id:spiffe://example.org/other',
    'x509pop:subject:cn:x',
  ]);
  expect(by.selectors).toEqual([
    `agent:id:${parseSpiffeId('spiffe://example.org/interlock/agent/k8s_psat/prod-node-1')}`,
    'agent:attestor:k8s_psat',
    'k8s_psat:cluster:prod',
  ]);
});

function never(): never {
  throw new Error('unreachable');
}
