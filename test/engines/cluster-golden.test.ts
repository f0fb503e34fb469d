import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import type { SpiffeId } from '../../src/access/index.ts';
import { engineNamed } from '../../src/engines/index.ts';
import { readPolicies } from '../../src/policy/index.ts';
import { optionsOf, workloadNamed } from './worlds.ts';

const golden = (name: string) => new URL(`golden/${name}.yaml`, import.meta.url);
const id = (namespace: string, name: string) => `spiffe://example.org/ns/${namespace}/sa/${name}` as SpiffeId;
const at = (namespace: string, name: string, more: Parameters<typeof workloadNamed>[2] = {}) =>
  workloadNamed(namespace, name, { id: id(namespace, name), ...more });

const WORKLOADS = [
  at('shop', 'cartservice', { ports: [{ port: 7070 }] }),
  at('shop', 'frontend', {
    ports: [{ name: 'http', port: 8080 }],
    labels: { app: 'frontend', version: 'v3' },
  }),
  at('shop', 'redis', {
    ports: [{ port: 6379 }],
    labels: { app: 'redis', 'app.kubernetes.io/part-of': 'shop' },
  }),
  at('shop', 'vault', { ports: [{ port: 8200 }] }),
  at('checkout', 'checkoutservice', { labels: { app: 'checkout', tier: 'back' } }),
  // It shares the account `default` with others: its ID stands for the account that it should get.
  at('shop', 'backup', { identifiedBy: 'workload-name', serviceAccount: 'default', kind: 'CronJob' }),
];

test.each(['kubernetes', 'cilium', 'linkerd'] as const)(
  'the %s rendering of the shop is what the fixture shows (UPDATE_GOLDEN=1 writes it anew)',
  (name) => {
    const policies = readPolicies(readFileSync(golden('shop-policies'), 'utf8'));
    const { documents, losses } = engineNamed(name).render(policies, optionsOf(WORKLOADS));
    const options = { lineWidth: 0, aliasDuplicateObjects: false };
    const text = [
      ...documents.map(({ file, content }) => `# ${file}\n${stringify(content, options)}`),
      `# losses\n${stringify(losses, options)}`,
    ].join('---\n');
    const file = golden(name);
    if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(file, text);
    expect(text).toBe(readFileSync(file, 'utf8'));
  },
);
