import { describe, expect, test } from 'vitest';
import { kubernetesNameOf, type SpiffeId } from '../../src/access/index.ts';
import { engineNamed, type Rendering } from '../../src/engines/index.ts';
import { type AccessPolicy, compile, decide, type Rule } from '../../src/policy/index.ts';
import { loadDecisions } from '../corpus/load.ts';
import { type EvaluatedPod, ingressAllowed, readNetworkPolicy } from '../evaluators/network-policy.ts';
import { optionsOf, workloadNamed } from './worlds.ts';

const id = (name: string, namespace = 'shop') => `spiffe://e.org/ns/${namespace}/sa/${name}` as SpiffeId;
const policy = (workload: SpiffeId, rules: Rule[], deny: Rule[] = []): AccessPolicy => ({
  apiVersion: 'interlock.dev/v1alpha1',
  kind: 'AccessPolicy',
  metadata: { name: 'p' },
  spec: { protects: { workload }, tier: 'standard', stage: 'draft', rules, deny },
});
const tcp = (name: string, from: SpiffeId, ports = [80]): Rule => ({
  name,
  from: [{ workload: from }],
  to: [{ tcp: {}, ports }],
});
const codes = ({ losses }: Rendering, effect: string) =>
  [...new Set(losses.filter((loss) => loss.effect === effect).map(({ code }) => code))].toSorted();

describe('engines of the cluster', () => {
  test.each(['kubernetes', 'cilium'] as const)('%s refuses a shadow rendering that would deny', (name) => {
    expect(() => engineNamed(name).render([policy(id('db'), [])], optionsOf([], true))).toThrow(
      /no shadow mode/,
    );
  });

  test("linkerd's shadow audits", () => {
    const { documents } = engineNamed('linkerd').render(
      [policy(id('db'), [tcp('web', id('web'))])],
      optionsOf([], true),
    );
    expect(documents[0]?.content).toMatchObject({ kind: 'Server', spec: { accessPolicy: 'audit' } });
  });

  test.each(['kubernetes', 'cilium', 'linkerd'] as const)(
    '%s says that nothing restricts a workload that it cannot select',
    (name) => {
      const onHost = workloadNamed('shop', 'db', { hostNetwork: true });
      const host = engineNamed(name).render([policy(id('db'), [])], optionsOf([onHost]));
      expect(host.documents).toEqual([]);
      expect(codes(host, 'wider')).toEqual(['host-network']);
      const odd = engineNamed(name).render([policy('spiffe://e.org/vm/db' as SpiffeId, [])], optionsOf([]));
      expect(odd.documents).toEqual([]);
      expect(codes(odd, 'wider')).toEqual(['not-selectable']);
    },
  );

  test('a NetworkPolicy catches no other pods with the same labels without saying so', () => {
    const world = [
      workloadNamed('shop', 'db'),
      workloadNamed('shop', 'web'),
      workloadNamed('shop', 'web-canary', { labels: { app: 'web', track: 'canary' } }),
    ];
    const rendering = engineNamed('kubernetes').render(
      [policy(id('db'), [tcp('web', id('web'))])],
      optionsOf(world),
    );
    expect(codes(rendering, 'wider')).toEqual(['label-not-identity', 'shared-labels']);
  });

  test('names are labels of RFC 1123 and differ where workloads do', () => {
    const long = 'x'.repeat(200);
    const ids = [
      id('db'),
      id('DB'),
      id('d_b'),
      id(long),
      id(`${long}y`),
      'spiffe://f.org/ns/shop/sa/db' as SpiffeId,
    ];
    const { documents } = engineNamed('kubernetes').render(
      ids.map((one) => policy(one, [])),
      optionsOf([]),
    );
    const names = documents.map(({ content }) => (content['metadata'] as { name: string }).name);
    expect(new Set(names).size).toBe(ids.length);
    expect(new Set(documents.map(({ file }) => file)).size).toBe(ids.length);
    for (const name of names) expect(name).toMatch(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);
  });

  test('a namespace of hostile name stays inside the output folder', () => {
    const world = [workloadNamed('shop', 'db', { namespace: '../../etc' })];
    const { documents } = engineNamed('kubernetes').render([policy(id('db'), [])], optionsOf(world));
    expect(documents[0]?.file).toMatch(/^etc-[0-9a-f]{8}\/interlock-db\.yaml$/);
  });

  test('a cilium pattern is never larger than the proxy takes', () => {
    const path = `/${'long-literal-segment/'.repeat(6)}{id}`;
    const short = '/a/{p1}/{p2}/{p3}/{p4}/{p5}';
    const rule: Rule = {
      name: 'r',
      from: [{ workload: id('web') }],
      to: [{ http: { paths: [path, short] }, ports: [80] }],
    };
    const rendering = engineNamed('cilium').render([policy(id('db'), [rule])], optionsOf([]));
    expect(codes(rendering, 'narrower')).toEqual(['pattern-too-large', 'plain-parameters']);
    expect(JSON.stringify(rendering.documents)).not.toContain('long-literal');
  });

  test('every decision of the corpus that allows is let in by NetworkPolicy, or a loss says why not', () => {
    for (const { name, policies, request, verdict, at } of loadDecisions()) {
      const { from, to, action } = request;
      if (!verdict.allowed || verdict.decidedBy !== 'rule' || action.port === 0) continue;
      // A caller of another form of ID is no pod of this cluster.
      if (from.kind === 'workload' && kubernetesNameOf(from.id) === undefined) continue;
      const { documents, losses } = engineNamed('kubernetes').render(policies, { ...optionsOf([]), at });
      const rendered = documents.map(({ content }) => readNetworkPolicy(content));
      const podOf = (of: string): EvaluatedPod => {
        const [, namespace = '?', account = '?'] = /\/ns\/([^/]+)\/sa\/([^/]+)$/.exec(of) ?? [];
        return { namespace, labels: { app: account }, ip: '203.0.113.99' };
      };
      const end = from.kind === 'workload' ? podOf(from.id) : { ip: from.from.replace(/^::ffff:/, '') };
      const allowed = ingressAllowed(rendered, { from: end, to: podOf(to), port: action.port });
      const told = losses.some((loss) => loss.effect === 'narrower' && loss.rule === verdict.rule);
      expect(allowed || told, name).toBe(true);
    }
  });

  test.each(['kubernetes', 'cilium', 'linkerd', 'istio'] as const)(
    '%s knows no time: a rule that ends is wider, without a time it is left out, and over it is gone',
    (name) => {
      const rule = { ...tcp('while-moving', id('web'), [5432]), until: '2026-12-31T00:00:00Z' };
      const render = (at?: number) =>
        engineNamed(name).render([policy(id('db'), [rule])], {
          ...optionsOf([]),
          ...(at === undefined ? {} : { at }),
        });
      const ends = ({ losses }: ReturnType<typeof render>) =>
        losses.flatMap(({ code, effect, rule }) => (code === 'end' ? [`${effect} ${rule}`] : []));
      const names = ({ documents }: ReturnType<typeof render>) => JSON.stringify(documents).includes('web');
      const [live, over, unknown] = [
        render(Date.UTC(2026, 11, 30)),
        render(Date.UTC(2026, 11, 31)),
        render(),
      ];
      expect([ends(live), ends(over), ends(unknown)]).toEqual([
        ['wider while-moving'],
        [],
        ['narrower while-moving'],
      ]);
      expect([names(live), names(over), names(unknown)]).toEqual([true, false, false]);
    },
  );

  test('with only TCP rules about single pods NetworkPolicy and decide agree on every pod and port', () => {
    const world = ['db', 'web', 'job', 'spy'].map((name) => workloadNamed('shop', name));
    const set = [
      policy(
        id('db'),
        [{ name: 'all', from: [{ trustDomain: 'e.org' }], to: [{ tcp: {} }] }, tcp('web', id('web'), [5432])],
        [
          tcp('spy', id('spy'), [5432, 80]),
          { name: 'job', from: [{ workload: id('job') }], to: [{ tcp: {} }] },
        ],
      ),
    ];
    const rendering = engineNamed('kubernetes').render(set, optionsOf(world));
    expect(codes(rendering, 'wider')).toEqual(['label-not-identity']);
    const rendered = rendering.documents.map(({ content }) => readNetworkPolicy(content));
    const pods = new Map(
      world.map((one, i) => [one.id, { namespace: 'shop', labels: one.labels, ip: `10.0.0.${i}` }]),
    );
    const to = pods.get(id('db')) as EvaluatedPod;
    for (const [caller, from] of pods) {
      for (const port of [1, 79, 80, 81, 5432, 65_535]) {
        const request = {
          from: { kind: 'workload', id: caller } as const,
          to: id('db'),
          action: { kind: 'tcp', port } as const,
        };
        expect(ingressAllowed(rendered, { from, to, port }), `${caller} ${port}`).toBe(
          decide(compile(set), request).allowed,
        );
      }
    }
  });
});
