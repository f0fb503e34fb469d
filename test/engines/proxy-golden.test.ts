import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import type { Engine } from '../../src/engines/engine.ts';
import { engine as envoy } from '../../src/engines/envoy/index.ts';
import { engine as istio } from '../../src/engines/istio/index.ts';
import { readPolicies } from '../../src/policy/index.ts';
import { optionsOf, workloadNamed } from './worlds.ts';

const folder = new URL('golden/', import.meta.url);
const policies = readPolicies(readFileSync(new URL('proxy-policies.yaml', folder), 'utf8'));

const CASES: readonly (readonly [string, Engine, boolean])[] = [
  ['envoy.yaml', envoy, false],
  ['envoy-shadow.yaml', envoy, true],
  ['istio.yaml', istio, false],
  ['istio-shadow.yaml', istio, true],
];

describe('a small set of policies, in full', () => {
  test.each(CASES)('is rendered as in golden/%s', async (file, engine, shadow) => {
    const { documents, losses } = engine.render(policies, optionsOf([], shadow));
    const said = losses.map(
      ({ effect, code, policy, rule, what }) =>
        `# ${effect} ${code} ${policy}${rule === undefined ? '' : `/${rule}`}: ${what}`,
    );
    const texts = documents.map(
      ({ file, content }) =>
        `# ${file}\n${stringify(content, { lineWidth: 110, aliasDuplicateObjects: false })}`,
    );
    await expect(`${said.join('\n')}\n---\n${texts.join('---\n')}`).toMatchFileSnapshot(
      new URL(file, folder).pathname,
    );
  });

  test('selects by the labels that last, and says what a label shared with others does', () => {
    const [cart, web] = [
      {
        id: 'spiffe://example.org/ns/shop/sa/cartservice',
        labels: { app: 'cart', 'pod-template-hash': 'x' },
      },
      { id: 'spiffe://example.org/ns/shop/sa/web', labels: { app: 'cart', tier: 'web' } },
    ].map(({ id, labels }) => ({
      ...workloadNamed('shop', id.split('/').at(-1) ?? '', { labels }),
      id: id as never,
    }));
    if (cart === undefined || web === undefined) throw new Error('two workloads were made');
    const { documents, losses } = istio.render(policies.slice(0, 1), optionsOf([cart, web]));
    expect(documents.map(({ content }) => content['spec'])).toMatchObject([
      { selector: { matchLabels: { app: 'cart' } }, action: 'DENY' },
      { selector: { matchLabels: { app: 'cart' } }, action: 'ALLOW' },
    ]);
    expect(losses).toContainEqual(expect.objectContaining({ effect: 'narrower', code: 'shared-labels' }));
  });

  test('calls it wider where Istio has no proxy', () => {
    const cart = {
      ...workloadNamed('shop', 'cartservice', { hostNetwork: true }),
      id: policies[0]?.spec.protects.workload as never,
    };
    const { losses } = istio.render(policies.slice(0, 1), optionsOf([cart]));
    expect(losses.filter(({ effect }) => effect === 'wider').map(({ code }) => code)).toEqual([
      'host-network',
    ]);
  });

  test('gives two workloads with policies of one name two documents', () => {
    const twins = policies.slice(1).map((policy) => ({ ...policy, metadata: { name: 'same' } }));
    for (const engine of [envoy, istio]) {
      const files = engine.render(twins, optionsOf([])).documents.map(({ file }) => file);
      expect(new Set(files).size).toBe(2);
    }
    const names = istio
      .render(twins, optionsOf([]))
      .documents.map(({ content }) => (content['metadata'] as { name: string }).name);
    expect(new Set(names).size).toBe(2);
  });

  test('never writes an Istio rule that matches everything', () => {
    const text = JSON.stringify(istio.render(policies, optionsOf([])).documents);
    expect(text).not.toMatch(
      /"rules":\[\{\}|"source":\{\}|"operation":\{\}|"principals":\["\*"\]|serviceAccounts|namespaces/,
    );
  });
});
