import { describe, expect, test } from 'vitest';
import type { SpiffeId } from '../../src/access/index.ts';
import { engine } from '../../src/engines/envoy/index.ts';
import { type AccessPolicy, type Rule, readPolicies, type To } from '../../src/policy/index.ts';
import { askEnvoy, type EnvoyDocument } from '../evaluators/envoy-document.ts';

const WEB = 'spiffe://e.org/ns/a/sa/web' as SpiffeId;
const SERVER = 'spiffe://e.org/ns/a/sa/server' as SpiffeId;

function render(rules: readonly Partial<Rule>[], deny: readonly Partial<Rule>[] = []) {
  const named = (list: readonly Partial<Rule>[], prefix: string) =>
    list.map((rule, i) => ({ name: `${prefix}${i + 1}`, from: [{ workload: WEB }], ...rule }));
  const policy = {
    apiVersion: 'interlock.dev/v1alpha1',
    kind: 'AccessPolicy',
    metadata: { name: 'p' },
    spec: { protects: { workload: SERVER }, rules: named(rules, 'r'), deny: named(deny, 'd') },
  };
  const policies: AccessPolicy[] = readPolicies(JSON.stringify(policy));
  const { documents, losses } = engine.render(policies, { shadow: false, workload: () => undefined });
  // The engine's own shape; the evaluator throws for another.
  const document = documents[0]?.content as unknown as EnvoyDocument;
  return { document, losses: losses.map(({ effect, code, rule }) => `${effect} ${code} ${rule ?? ''}`) };
}

const tcp = (...ports: number[]): To => (ports.length === 0 ? { tcp: {} } : { tcp: {}, ports });
const http = (...ports: number[]): To => (ports.length === 0 ? { http: {} } : { http: {}, ports });

describe('the document of the envoy engine', () => {
  test('keeps the order of rules beyond nine of them', () => {
    const paths = (n: number): To => ({ http: { paths: n === 2 || n >= 10 ? ['/x'] : [`/${n}`] } });
    const { document } = render(Array.from({ length: 12 }, (_, i) => ({ to: [paths(i + 1)] })));
    const action = { kind: 'http', port: 80, method: 'GET', path: '/x' } as const;
    const outcome = askEnvoy(document, { from: { kind: 'workload', id: WEB }, to: SERVER, action });
    expect(outcome).toEqual({ allowed: true, policyId: '0002/p/r2' });
  });

  test.each<[string, To[], To[], object, string[]]>([
    ['rules about requests on their ports', [http(80)], [], { http: [80], tcp: [], others: 'http' }, []],
    ['tcp rules on theirs', [tcp(6379)], [], { http: [], tcp: [6379], others: 'tcp' }, []],
    ['both apart', [http(80), tcp(6379)], [], { http: [80], tcp: [6379], others: 'http' }, []],
    [
      'both on one',
      [http(80), tcp(80)],
      [],
      { http: [80], tcp: [], others: 'http' },
      ['narrower tcp-on-http-port r2'],
    ],
    [
      'any request beside a tcp port',
      [http(), tcp(6379)],
      [],
      { http: [], tcp: [6379], others: 'http' },
      ['narrower http-on-tcp-port r1'],
    ],
    [
      'any connection beside an HTTP port',
      [http(80), tcp()],
      [],
      { http: [80], tcp: [], others: 'tcp' },
      ['narrower tcp-on-http-port r2'],
    ],
    [
      'a denied request on a tcp port',
      [tcp(6379)],
      [http()],
      { http: [], tcp: [6379], others: 'tcp' },
      ['narrower http-deny-on-tcp-port d1'],
    ],
    ['nothing', [], [], { http: [], tcp: [], others: 'tcp' }, []],
  ])('serves %s', (_, allowed, denied, ports, told) => {
    const { document, losses } = render(
      allowed.map((to) => ({ to: [to] })),
      denied.map((to) => ({ to: [to] })),
    );
    expect(document.ports).toEqual(ports);
    expect(losses).toEqual(told);
  });

  test('has rules that deny everything where no rule is left, and never none', () => {
    const { document, losses } = render([{ from: [{ group: 'g' }], to: [http(80)] }]);
    expect(losses).toEqual(['narrower person r1']);
    expect(document.http_filters?.at(-1)).toMatchObject({
      typed_config: { rules: { action: 'ALLOW', policies: {} } },
    });
  });

  test.each<[Partial<Rule>, string]>([
    [{ from: [{ user: { issuer: 'https://i', subject: 's' } }] }, 'wider person-in-deny d1'],
    [{ from: [{ unauthenticated: { from: 'world' } }] }, 'narrower entity-as-unauthenticated d1'],
    [{ when: 'request.headers["a"] == "b"' }, 'narrower condition-in-deny d1'],
  ])('says what a deny rule loses: %j', (rule, told) => {
    expect(render([{ to: [http(80)] }], [{ to: [http(80)], ...rule }]).losses).toEqual([told]);
  });
});
