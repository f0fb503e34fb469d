import { describe, expect, test } from 'vitest';
import { type Access, parseSpiffeId, type SpiffeId } from '../../access/index.ts';
import { checkPolicyText } from './policy-text.test-helper.ts';
import { access, DAY, declared, graphOf, HOUR, id, START } from './graph.test-helper.ts';
import { propose, type ProposeOptions } from './propose.ts';

const rulesFor = (accesses: readonly Access[], options: ProposeOptions = {}) =>
  propose(graphOf(accesses), options).policies.flatMap((p) => p.spec.rules);

const doubtsFor = (accesses: readonly Access[], options: ProposeOptions = {}) =>
  propose(graphOf(accesses), options).doubts;

describe('a proposal', () => {
  test('has one policy for each called workload, sorted, as a draft', () => {
    const { policies } = propose(
      graphOf([access('web', 'orders', 'GET /a :80'), access('orders', 'carts', 'shop.Carts/Get :70')]),
      { tierOf: ({ name }) => (name === 'orders' ? 'critical' : undefined) },
    );
    expect(policies.map((p) => [p.metadata, p.spec.protects.workload, p.spec.tier, p.spec.stage])).toEqual([
      [{ name: 'carts', namespace: 'shop' }, id('carts'), 'standard', 'draft'],
      [{ name: 'orders', namespace: 'shop' }, id('orders'), 'critical', 'draft'],
    ]);
    checkPolicyText(policies);
  });

  test('has a name and a namespace that a document can have, each once', () => {
    const ids = ['ns/..-x_/sa/cart', 'ns/x/sa/cart', 'a/cart', 'b/cart', 'c/cart'].map((path) =>
      parseSpiffeId(`spiffe://example.org/${path}`),
    );
    const named = (all: readonly SpiffeId[]) => {
      const graph = graphOf(
        all.map((to) => ({ ...access('web', 'x', 'GET /a :80'), to: { kind: 'workload' as const, id: to } })),
      );
      // Recordings name namespaces as they like: here all of them alike, and as no document can.
      const workloads = new Map([...graph.workloads].map(([key, w]) => [key, { ...w, namespace: '../x' }]));
      return propose({ ...graph, workloads }).policies;
    };
    const places = named(ids.slice(0, 2)).map(({ metadata }) => metadata.namespace);
    expect(places).toEqual(['x', 'x']);
    const names = (all: readonly SpiffeId[]) =>
      named(all).map(({ metadata }) => `${metadata.namespace ?? ''}/${metadata.name}`);
    const first = names(ids);
    expect(new Set(first).size).toBe(ids.length);
    // Whoever foresees a name that was made to differ, and takes it, still shares no name.
    const squatters = first.map((name) =>
      parseSpiffeId(`spiffe://example.org/z/${name.slice(name.indexOf('/') + 1)}`),
    );
    expect(new Set(names([...ids, ...squatters])).size).toBe(ids.length + squatters.length);
  });

  test('has a rule for each caller and path, service or port, with exactly the methods seen there', () => {
    const rules = rulesFor([
      access('web', 'orders', 'GET /order/17 :80'),
      access('web', 'orders', 'GET /order/18 :80'),
      access('web', 'orders', 'DELETE /order/18 :80'),
      access('web', 'orders', 'POST /order/refresh :80'),
      access('web', 'orders', 'shop.Orders/Get :90'),
      access('web', 'orders', 'shop.Orders/List :90'),
      access('jobs', 'orders', 'GET /order/18 :80'),
      access('jobs', 'orders', 'tcp :6379'),
    ]);
    expect(rules.map(({ name, from, to }) => ({ name, from, to }))).toEqual([
      {
        name: 'jobs-order-order-id',
        from: [{ workload: id('jobs') }],
        to: [{ http: { methods: ['GET'], paths: ['/order/{orderId}'] }, ports: [80] }],
      },
      { name: 'jobs-tcp-6379', from: [{ workload: id('jobs') }], to: [{ tcp: {}, ports: [6379] }] },
      {
        name: 'web-order-order-id',
        from: [{ workload: id('web') }],
        to: [{ http: { methods: ['DELETE', 'GET'], paths: ['/order/{orderId}'] }, ports: [80] }],
      },
      {
        name: 'web-order-refresh',
        from: [{ workload: id('web') }],
        to: [{ http: { methods: ['POST'], paths: ['/order/refresh'] }, ports: [80] }],
      },
      {
        name: 'web-orders',
        from: [{ workload: id('web') }],
        to: [{ grpc: { service: 'shop.Orders', methods: ['Get', 'List'] }, ports: [90] }],
      },
    ]);
  });

  test('names a rule by its caller alone where the caller has one', () => {
    expect(rulesFor([access('web', 'orders', 'GET /a :80')]).map((r) => r.name)).toEqual(['web']);
  });

  test('keeps names apart where they would be equal', () => {
    const rules = rulesFor([
      access('web', 'orders', 'GET /a/b :80'),
      access('web', 'orders', 'GET /a/b/ :80'),
      access('web', 'orders', 'GET /a-b :80'),
      access('web', 'orders', 'GET /a-b :81'),
      access('web', 'orders', `GET /${'long-'.repeat(60)}x :80`),
      access('web', 'orders', `GET /${'long-'.repeat(60)}y :80`),
    ]);
    expect(new Set(rules.map((r) => r.name)).size).toBe(6);
    expect(Math.max(...rules.map((r) => r.name.length))).toBeLessThanOrEqual(80);
  });

  test('leaves the port out where it is not known, and writes the path in the form in which it is matched', () => {
    const [rule] = rulesFor([access('web', 'orders', 'GET //a/./%7Eb')]);
    expect(rule?.to).toEqual([{ http: { methods: ['GET'], paths: ['/a/~b'] } }]);
  });

  test('shows the evidence of every rule', () => {
    const calls = { at: [START, START + HOUR, START + DAY], declared: ['env A of container c'] };
    const failed = access('web', 'orders', 'GET /a :80', { outcome: 'failed', at: [START - DAY] });
    const [rule] = rulesFor([
      access('web', 'orders', 'POST /a :80', calls),
      access('web', 'orders', 'GET /a :80'),
      failed,
    ]);
    expect(rule?.evidence).toEqual({
      views: ['observed', 'declared'],
      count: 8,
      firstSeen: '2026-10-01T00:00:00.000Z',
      lastSeen: '2026-10-02T00:00:00.000Z',
      days: 2,
      hoursOfWeek: 3,
      instances: 2,
      sources: ['envoy'],
      declared: ['env A of container c'],
    });
  });

  test('takes no evidence from calls that failed or were denied', () => {
    const { policies, doubts, covered } = propose(
      graphOf([
        access('web', 'orders', 'GET /a :80', { outcome: 'failed' }),
        access('web', 'orders', 'GET /b :80', { outcome: 'denied' }),
        access('web', 'orders', 'GET /c :80'),
      ]),
    );
    expect(policies.flatMap((p) => p.spec.rules.map((r) => r.to))).toEqual([
      [{ http: { methods: ['GET'], paths: ['/c'] }, ports: [80] }],
    ]);
    expect(doubts).toEqual([]);
    expect(covered).toMatchObject({ accesses: 1, calls: 2, observed: 1, neverReached: 2 });
  });

  test('does not protect what is no workload of the estate, and says so', () => {
    const { policies, remarks, covered } = propose(
      graphOf([access('web', 'unauthenticated:api.pay.com', 'tcp :443')]),
    );
    expect(policies).toEqual([]);
    expect(covered.outside).toBe(1);
    expect(remarks).toEqual([
      {
        what: 'not protected, because they are no workloads of this estate: unauthenticated:api.pay.com (2 calls).',
      },
    ]);
  });

  test('is for one workload where asked', () => {
    const graph = graphOf([access('web', 'orders', 'GET /a :80'), access('web', 'carts', 'GET /a :80')]);
    expect(propose(graph, { to: id('carts') }).policies.map((p) => p.metadata.name)).toEqual(['carts']);
  });

  test('has names that a document takes, whatever the IDs look like', () => {
    const odd = (text: string) => ({ kind: 'workload', id: parseSpiffeId(text) }) as const;
    const plain = access('web', 'orders', 'GET /a :80');
    const list = ['vm/_x_', 'ns/shop/sa/orders', 'vm/orders', 'vm/--'].map((path) => ({
      ...plain,
      to: odd(`spiffe://example.org/${path}`),
    }));
    const { policies, doubts, covered } = propose(
      graphOf([
        ...list,
        { ...plain, to: odd('spiffe://example.org') },
        { ...plain, from: odd('spiffe://example.org') },
      ]),
    );
    expect(policies).toHaveLength(4);
    expect(new Set(policies.map((p) => p.metadata.name)).size).toBe(4);
    expect(covered.outside).toBe(1);
    expect(doubts.map((d) => d.rule)).toEqual([undefined]);
    checkPolicyText(policies);
  });

  test('takes the routes of an OpenAPI document', () => {
    const openApi = () => ['/order/{id}', '/order/{id}/items'];
    expect(rulesFor([access('web', 'orders', 'GET /order/abc/items :80')], { openApi })[0]?.to).toEqual([
      { http: { methods: ['GET'], paths: ['/order/{id}/items'] }, ports: [80] },
    ]);
  });
});

describe('what is declared', () => {
  const where = 'env CARTS of container c';

  test('and never observed becomes a rule marked so', () => {
    const [rule] = rulesFor([declared('web', 'carts', 'tcp :70', where)]);
    expect(rule).toEqual({
      name: 'web-declared',
      from: [{ workload: id('web') }],
      to: [{ tcp: {}, ports: [70] }],
      evidence: {
        views: ['declared'],
        count: 0,
        days: 0,
        hoursOfWeek: 0,
        instances: 0,
        sources: [],
        declared: [where],
      },
    });
  });

  test('and tried without success is declared still', () => {
    const tried = access('web', 'carts', 'GET /a :70', { outcome: 'failed', declared: [where] });
    expect(rulesFor([tried]).map((r) => [r.name, r.to])).toEqual([
      ['web-declared', [{ tcp: {}, ports: [70] }]],
    ]);
  });

  test('and observed on that port is no wider rule', () => {
    const inManifest = declared('web', 'carts', 'tcp :70', where);
    for (const what of ['GET /a :70', 'GET /a']) {
      const { policies, doubts } = propose(graphOf([access('web', 'carts', what), inManifest]));
      expect(policies.flatMap((p) => p.spec.rules.map((r) => r.name))).toEqual(['web']);
      expect(doubts).toEqual([]);
    }
    const elsewhere = rulesFor([access('web', 'carts', 'GET /a :80'), inManifest]);
    expect(elsewhere.map((r) => r.name)).toEqual(['web-a', 'web-tcp-70-declared']);
  });

  test('on a port that is not known is a doubt', () => {
    const [doubt] = doubtsFor([declared('web', 'carts', 'tcp', where)]);
    expect(doubt?.codes).toEqual(['unknown-port']);
  });
});

describe('a doubt', () => {
  test('are not about what is fresh at one callee because calls of another one go far back', () => {
    const old = access('web', 'orders', 'GET /steady :80', { at: [START, START + 14 * DAY] });
    const fresh = access('web', 'cart', 'GET /new :80', { at: [START + 13 * DAY, START + 14 * DAY] });
    expect(propose(graphOf([old, fresh])).doubts).toEqual([]);
    const longKnown = access('web', 'cart', 'GET /a :80', { at: [START + DAY] });
    expect(propose(graphOf([old, fresh, longKnown])).doubts).toHaveLength(1);
  });

  const steady = access('web', 'orders', 'GET /steady :80', {
    at: Array.from({ length: 15 }, (_, day) => START + day * DAY),
    instances: ['p1', 'p2', 'p3'],
  });

  test.each([
    [
      'first seen after the baseline',
      access('web', 'orders', 'GET /new :80', { at: [START + 9 * DAY] }),
      {},
      ['after-baseline'],
    ],
    [
      'first seen after the stated baseline',
      access('web', 'orders', 'GET /new :80', { at: [START + 2 * DAY] }),
      { baselineEnd: START + DAY },
      ['after-baseline'],
    ],
    ['seen once', access('web', 'orders', 'GET /once :80', { n: 1 }), {}, ['seen-once']],
    [
      'seen from one instance of several',
      access('web', 'orders', 'GET /a :80', { instances: ['p2'] }),
      {},
      ['one-instance'],
    ],
    [
      'seen in an incident only',
      access('web', 'orders', 'GET /a :80', { at: [START + DAY] }),
      { incidents: [{ from: START + DAY, to: START + DAY + HOUR }] },
      ['incident-window'],
    ],
    [
      'from a caller without identity',
      access('unauthenticated:10.0.0.7', 'orders', 'GET /a :80'),
      {},
      ['no-identity'],
    ],
    ['only in error', access('web', 'orders', 'GET /a :80', { outcome: 'error' }), {}, ['never-succeeded']],
    [
      'on collapsed paths',
      access('web', 'orders', 'GET /a/{collapsed=**} :80', { collapsed: true }),
      {},
      ['collapsed'],
    ],
    [
      'of a connection beside requests',
      access('web', 'orders', 'tcp'),
      {},
      ['unknown-port', 'requests-known'],
    ],
  ] as const)('is about what was %s', (_, doubtful, options, codes) => {
    const { doubts, policies } = propose(graphOf([steady, doubtful]), options);
    expect(doubts.map((d) => d.codes)).toEqual([codes]);
    expect(policies.flatMap((p) => p.spec.rules)).toHaveLength(1);

    const id = doubts[0]?.id ?? '';
    const accepted = propose(graphOf([steady, doubtful]), { ...options, accept: (x) => x === id });
    expect(accepted.doubts).toEqual([]);
    expect(accepted.policies.flatMap((p) => p.spec.rules)).toHaveLength(2);
    checkPolicyText(accepted.policies);
  });

  test.each([
    [
      'seen in an incident and before it',
      { at: [START, START + DAY] },
      { incidents: [{ from: START + DAY, to: START + 2 * DAY }] },
    ],
    ['seen from two instances', { instances: ['p1', 'p2'] }, {}],
    ['in error once', { n: 1, at: [START, START + HOUR] }, {}],
  ])('is not about what was %s', (_, calls, options) => {
    expect(doubtsFor([steady, access('web', 'orders', 'GET /a :80', calls)], options)).toEqual([]);
  });

  test('is about a new method of a known path alone, and joins its rule when accepted', () => {
    const known = access('web', 'orders', 'GET /order/17 :80');
    const once = access('web', 'orders', 'DELETE /order/18 :80', { n: 1 });
    const [doubt] = doubtsFor([known, once]);
    expect(doubt).toMatchObject({ action: 'DELETE /order/{orderId} :80', reasons: ['seen once'] });
    expect(rulesFor([known, once]).map((r) => r.to)).toEqual([
      [{ http: { methods: ['GET'], paths: ['/order/{orderId}'] }, ports: [80] }],
    ]);
    expect(rulesFor([known, once], { accept: () => true }).map((r) => r.to)).toEqual([
      [{ http: { methods: ['DELETE', 'GET'], paths: ['/order/{orderId}'] }, ports: [80] }],
    ]);
  });

  test('has an ID that other accesses do not change', () => {
    const once = access('web', 'orders', 'GET /once :80', { n: 1 });
    const [alone] = doubtsFor([once]);
    const beside = doubtsFor([steady, access('jobs', 'carts', 'GET /x :1', { n: 1 }), once]).find(
      (d) => d.to === id('orders'),
    );
    expect(beside?.id).toBe(alone?.id);
    expect(alone?.id).toMatch(/^[0-9a-z]{10}$/);
  });

  test('has an ID of its own even where a caller chose paths of one hash: accepting one accepts no other', () => {
    // Found by a search of some seconds; whoever can send requests can do the same.
    const paths = ['gmxqnuq', 'jugzkrj'].map((path) => access('evil', 'cart', `GET /${path} :80`, { n: 1 }));
    const alone = paths.map((one) => doubtsFor([one])[0]?.id);
    expect(alone[0]).toBe(alone[1]);
    const both = doubtsFor(paths).map((d) => d.id);
    expect(new Set([...alone, ...both]).size).toBe(3);
    expect(rulesFor(paths, { accept: (x) => x === alone[0] })).toEqual([]);
    expect(rulesFor(paths, { accept: (x) => x === both[0] })).toHaveLength(1);
  });

  test('without a policy able to name the caller stays one, accepted or not', () => {
    const host = access('unauthenticated:agent.example.com', 'orders', 'GET /a :80');
    const { doubts, policies, remarks } = propose(graphOf([host]), { accept: () => true });
    expect(policies).toEqual([]);
    expect(doubts[0]?.rule).toBeUndefined();
    expect(doubts[0]?.reasons.at(-1)).toMatch(/no rule can name this caller/);
    expect(remarks.map((r) => r.what)).toContain(
      'no policy is proposed: everything known of its callers is in doubt.',
    );
  });

  test('lets an address in as itself, and an entity by its name', () => {
    const callers = ['10.0.0.7', '2001:db8::1', 'world'];
    const rules = rulesFor(
      callers.map((c) => access(`unauthenticated:${c}`, 'orders', 'GET /a :80')),
      { accept: () => true },
    );
    expect(rules.map((r) => r.from[0])).toEqual([
      { unauthenticated: { from: '10.0.0.7/32' } },
      { unauthenticated: { from: '2001:db8::1/128' } },
      { unauthenticated: { from: 'world' } },
    ]);
  });
});

describe('a remark', () => {
  test('names calls that can have no rule', () => {
    const { remarks } = propose(
      graphOf([access('web', 'orders', 'GET /a%2Fb :80'), access('web', 'orders', 'get /a :80')]),
    );
    expect(remarks.map((r) => r.what)).toEqual([
      '2 calls can have no rule and will be denied: /a: "get" is no method that a rule can list.',
      '2 calls can have no rule and will be denied: /a%2Fb: it holds an escaped slash "%2F".',
      'no policy is proposed: no call from a known caller is known to have reached it.',
    ]);
  });

  test('names paths that a template opens to a caller that was not seen there', () => {
    const { remarks } = propose(
      graphOf([
        access('web', 'orders', 'GET /order/17 :80'),
        access('jobs', 'orders', 'GET /order/refresh :80'),
      ]),
    );
    expect(remarks.map((r) => r.what)).toEqual([
      'web may also use GET /order/refresh :80, because /order/{orderId} matches it.',
    ]);
  });

  test('names blind spots towards the workload', () => {
    const spot = {
      kind: 'client-only',
      from: access('web', 'orders', 'tcp :1').from,
      to: access('web', 'orders', 'tcp :1').to,
      what: 'GET /x',
      count: 3,
      firstSeen: START,
      lastSeen: START,
    } as const;
    const { remarks } = propose(graphOf([access('web', 'orders', 'GET /a :80')], [spot]));
    expect(remarks.map((r) => r.what)).toEqual([
      'blind spot: called, but the callee left no record of it (3 times: GET /x). No rule covers it.',
    ]);
  });
});
