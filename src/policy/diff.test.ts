import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { policiesArb, PROTECTED, requestArb, timeArb } from '../../test/corpus/generators.ts';
import { type AccessPolicy, compile, decide, diffPolicies, type Grant, type Rule, type To } from './index.ts';

const [WORKLOAD] = PROTECTED;
const WEB = { workload: 'spiffe://e.org/ns/a/sa/x' };

function policy(rules: Omit<Rule, 'name'>[], deny: Omit<Rule, 'name'>[] = []): AccessPolicy {
  return {
    apiVersion: 'interlock.dev/v1alpha1',
    kind: 'AccessPolicy',
    metadata: { name: 'p' },
    spec: {
      protects: { workload: WORKLOAD },
      tier: 'standard',
      stage: 'draft',
      rules: rules.map((rule, i) => ({ ...rule, name: `r${i}` })),
      deny: deny.map((rule, i) => ({ ...rule, name: `d${i}` })),
    },
  };
}

const allow = (to: To, from: Rule['from'][number] = WEB) => ({ from: [from], to: [to] });
const http = (path: string, methods?: string[]): To => ({
  http: { paths: [path], ...(methods === undefined ? {} : { methods }) },
});
const origin = (from: string) => ({ unauthenticated: { from } });

/** What is only in the first, as `partly`, or `wholly`, or nothing. */
function missing(first: AccessPolicy, second: AccessPolicy): string[] {
  return diffPolicies([first], [second]).onlyInFirst.map(({ partly }) =>
    partly === true ? 'partly' : 'wholly',
  );
}

/** The last millisecond at which a grant holds. */
function lastOf({ until }: Grant): number {
  return until === undefined ? Number.POSITIVE_INFINITY : Date.parse(until) - 1;
}

/** Whether a grant allows the request, by a set that holds nothing else. */
function grants(grant: Grant, request: Parameters<typeof decide>[1]): boolean {
  const { from, port, protocol, method, path, service } = grant;
  const methods = method === undefined ? {} : { methods: [method] };
  const what: To =
    protocol === 'tcp'
      ? { tcp: {} }
      : protocol === 'http'
        ? { http: { ...methods, ...(path === undefined ? {} : { paths: [path] }) } }
        : { grpc: { service: service ?? '', ...methods } };
  const to: To = port === undefined ? what : { ...what, ports: [port] };
  const base = policy([{ from: [from], to: [to] }]);
  const own = { ...base, spec: { ...base.spec, protects: { workload: grant.to } } };
  return request.to === grant.to && decide(compile([own]), request).decidedBy === 'rule';
}

describe('diffPolicies', () => {
  test.each<[string, To, To, string[]]>([
    ['a literal is covered by a template', http('/a/b'), http('/a/{x}'), []],
    ['a template is partly covered by a literal', http('/a/{x}'), http('/a/b'), ['partly']],
    ['a parameter is covered by the rest', http('/a/{x}'), http('/a/{x=**}'), []],
    ['the rest is partly covered by a parameter', http('/a/{x=**}'), http('/a/{x}'), ['partly']],
    ['another literal is not covered', http('/a/b'), http('/a/c'), ['wholly']],
    ['a method is covered by any', http('/a', ['GET']), http('/a'), []],
    ['any method is partly covered by one', http('/a'), http('/a', ['GET']), ['partly']],
    ['a port is covered by any', { tcp: {}, ports: [1] }, { tcp: {} }, []],
    ['any port is partly covered by one', { tcp: {} }, { tcp: {}, ports: [1] }, ['partly']],
    ['a request is covered by its connection', http('/a'), { tcp: {} }, []],
    ['a connection is partly covered by its requests', { tcp: {} }, { http: {} }, ['partly']],
    [
      'a gRPC method is covered by its path',
      { grpc: { service: 's', methods: ['m'] } },
      http('/s/m', ['POST']),
      [],
    ],
    ['a service is covered by its paths', { grpc: { service: 's' } }, http('/s/{m}', ['POST']), []],
    ['a path is covered by the gRPC method', http('/s/m', ['POST']), { grpc: { service: 's' } }, []],
    ['the same path with GET is not', http('/s/m', ['GET']), { grpc: { service: 's' } }, ['wholly']],
  ])('%s', (_, first, second, expected) => {
    expect(missing(policy([allow(first)]), policy([allow(second)]))).toEqual(expected);
  });

  test.each<[string, Rule['from'][number], Rule['from'][number], string[]]>([
    ['a workload is covered by a prefix', WEB, { workload: 'spiffe://e.org/ns/a/*' }, []],
    ['a prefix by its trust domain', { workload: 'spiffe://e.org/ns/a/*' }, { trustDomain: 'e.org' }, []],
    [
      'a trust domain is partly covered by a prefix',
      { trustDomain: 'e.org' },
      { workload: 'spiffe://e.org/ns/*' },
      ['partly'],
    ],
    ['another trust domain is not covered', { trustDomain: 'e.org' }, { trustDomain: 'f.org' }, ['wholly']],
    ['a block is covered by a larger one', origin('10.1.0.0/16'), origin('10.0.0.0/8'), []],
    ['a block is partly covered by a smaller one', origin('10.0.0.0/8'), origin('10.0.0.0/16'), ['partly']],
    ['an entity is covered by its name alone', origin('world'), origin('0.0.0.0/0'), ['wholly']],
    ['a group by the same group', { group: 'g' }, { group: 'g' }, []],
    ['a group not by another', { group: 'g' }, { group: 'h' }, ['wholly']],
  ])('%s', (_, first, second, expected) => {
    const to: To = { tcp: {}, ports: [1] };
    expect(missing(policy([allow(to, first)]), policy([allow(to, second)]))).toEqual(expected);
  });

  test('several rules cover together what none covers alone', () => {
    const whole = policy([allow(http('/f/{p=**}'))]);
    const parts = policy([allow(http('/f/')), allow(http('/f/{a}')), allow(http('/f/{a}/{b=**}'))]);
    expect(missing(whole, parts)).toEqual([]);
    const block = policy([allow({ tcp: {} }, origin('10.0.0.0/24'))]);
    const halves = policy([
      allow({ tcp: {} }, origin('10.0.0.0/25')),
      allow({ tcp: {} }, origin('10.0.0.128/25')),
    ]);
    expect(missing(block, halves)).toEqual([]);
  });

  test('deny rules take away: wholly, partly, or not beyond what the other set denies as well', () => {
    const open = policy([allow(http('/a/{x}'))]);
    expect(missing(open, policy([allow(http('/a/{x}'))], [allow(http('/{y=**}'))]))).toEqual(['wholly']);
    expect(missing(open, policy([allow(http('/a/{x}'))], [allow(http('/a/b'))]))).toEqual(['partly']);
    const closed = policy([allow(http('/a/{x}'))], [allow(http('/a/b'))]);
    expect(missing(closed, closed)).toEqual([]);
    expect(missing(closed, open)).toEqual([]);
  });

  test('a condition is met by the same text, and no condition covers any', () => {
    const always = policy([allow(http('/a'))]);
    const when = (text: string) => policy([{ ...allow(http('/a')), when: text }]);
    expect(missing(when('request.host == "x"'), always)).toEqual([]);
    expect(missing(when('request.host == "x"'), when('request.host == "x"'))).toEqual([]);
    expect(missing(always, when('request.host == "x"'))).toEqual(['wholly']);
    expect(missing(when('request.host == "x"'), when('request.host == "y"'))).toEqual(['wholly']);
    const denied = policy([allow(http('/a'))], [{ ...allow(http('/a')), when: 'request.host == "x"' }]);
    expect(missing(always, denied)).toEqual(['partly']);
  });

  test('a deny rule of the other set is met by one of this set that denies at least as much', () => {
    const allowed = [allow(http('/a/{x}'))];
    const deny = (path: string, when?: string) => [
      { ...allow(http(path)), ...(when === undefined ? {} : { when }) },
    ];
    const [small, large] = [deny('/a/b'), deny('/{y=**}', 'request.host == "x"')];
    const conditional = deny('/a/b', 'request.host == "x"');
    const compare = (own: typeof small, other: typeof small) =>
      missing(policy(allowed, own), policy(allowed, other));
    expect(compare(small, conditional)).toEqual([]);
    expect(compare(large, conditional)).toEqual([]);
    expect(compare(conditional, small)).toEqual(['partly']);
    expect(compare(conditional, large)).toEqual(['partly']);
    expect(compare(conditional, deny('/a/b', 'request.host == "y"'))).toEqual(['partly']);
  });

  test('a set does not differ from itself, however many kinds of request there are to tell apart', () => {
    const every = (letter: string, count: number) => Array.from({ length: count }, (_, i) => `${letter}${i}`);
    const denied = every('h', 12).map((host, i) => ({
      from: every('s', 12).map((name) => ({ workload: `spiffe://e.org/ns/a/sa/${name}` })),
      to: [{ http: { paths: every('/', 12).map((path) => `${path}/{id}`) }, ports: [80 + i] }],
      when: `request.host == "${host}"`,
    }));
    const large = policy([allow({ tcp: {} }, { trustDomain: 'e.org' })], denied);
    expect(missing(large, large)).toEqual([]);
    const { spec } = large;
    const without = { ...large, spec: { ...spec, deny: spec.deny.slice(1) } };
    expect([missing(large, without), missing(without, large)]).toEqual([[], ['partly']]);
  });

  test('a workload that only one set protects is named, and its grants are listed', () => {
    const diff = diffPolicies([policy([allow(http('/a'))])], []);
    expect(diff.protectedOnlyInFirst).toEqual([WORKLOAD]);
    expect(diff.onlyInFirst).toMatchObject([{ protocol: 'http', path: '/a', policy: 'p', rule: 'r0' }]);
    expect([diff.protectedOnlyInSecond, diff.onlyInSecond]).toEqual([[], []]);
  });

  test('a set does not differ from itself', () => {
    fc.assert(
      fc.property(policiesArb({ conditions: true, ends: true }), (policies) => {
        const { onlyInFirst, onlyInSecond } = diffPolicies(policies, policies.toReversed());
        expect([onlyInFirst, onlyInSecond]).toEqual([[], []]);
      }),
      { numRuns: 150 },
    );
  });

  test('a rule that ends is less than one that does not, and less than one that ends later', () => {
    const ending = (until: string) => policy([{ ...allow(http('/a')), until }]);
    const [early, late] = [ending('2026-06-01T00:00:00Z'), ending('2027-06-01T00:00:00Z')];
    const always = policy([allow(http('/a'))]);
    expect([missing(early, always), missing(always, early)]).toEqual([[], ['partly']]);
    expect([missing(early, late), missing(late, early)]).toEqual([[], ['partly']]);
    expect(missing(ending('2026-06-01T02:00:00+02:00'), early)).toEqual([]);
    expect(missing(early, policy([]))).toEqual(['wholly']);
    expect(diffPolicies([late], [early]).onlyInFirst[0]).toMatchObject({ until: '2027-06-01T00:00:00Z' });
  });

  test('every difference has a witness, and every request that differs is in a difference', () => {
    const seen = { witnesses: 0, requests: 0 };
    const sets = policiesArb({ conditions: false, ends: true });
    const asked = fc.array(requestArb, { minLength: 20, maxLength: 40 });
    fc.assert(
      fc.property(sets, sets, asked, timeArb, (a, b, requests, at) => {
        const [first, second] = [compile(a), compile(b)];
        const { onlyInFirst } = diffPolicies(a, b);
        for (const grant of onlyInFirst) {
          const { witness } = grant;
          if (witness === undefined) {
            expect('group' in grant.from || 'user' in grant.from).toBe(true);
            continue;
          }
          seen.witnesses++;
          expect(grants(grant, witness)).toBe(true);
          const last = lastOf(grant);
          expect(decide(first, witness, last).decidedBy).toBe('rule');
          expect(decide(second, witness, last).decidedBy).not.toBe('rule');
        }
        for (const request of requests) {
          // A diff is about requests as they are, not as a recording may have them.
          const { action } = request;
          if (action.port === 0 || JSON.stringify(action).includes('{v')) continue;
          if (action.kind === 'http' && action.path.includes('{')) continue;
          if (
            decide(first, request, at).decidedBy !== 'rule' ||
            decide(second, request, at).decidedBy === 'rule'
          )
            continue;
          seen.requests++;
          expect(onlyInFirst.some((grant) => lastOf(grant) >= at && grants(grant, request))).toBe(true);
        }
      }),
      { numRuns: 150 },
    );
    expect(seen.witnesses).toBeGreaterThan(100);
    expect(seen.requests).toBeGreaterThan(100);
  });
});
