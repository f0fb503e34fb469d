import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { main } from '../cli.ts';
import { syncCommand } from '../commands/sync.ts';
import { testCommand } from '../commands/test.ts';
import { Terminal } from '../terminal.ts';

const TEXT = readFileSync(new URL('../../../docs/gitops.md', import.meta.url), 'utf8');
const blocks = (language: string) =>
  [...TEXT.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))].map(([, text = '']) => text);

interface Job {
  readonly 'runs-on'?: string;
  readonly needs?: string;
  readonly steps?: readonly { readonly uses?: string; readonly run?: string }[];
  readonly stage?: string;
  readonly script?: readonly string[];
}
const [example = '', github = '', gitlab = ''] = blocks('yaml');
const jobs: Record<string, Job> = parse(github).jobs;
const { stages, ...pipeline }: { stages: string[] } & Record<string, Job> = parse(gitlab);
const scripts = [
  ...Object.values(jobs).flatMap(({ steps = [] }) => steps.flatMap(({ run }) => run ?? [])),
  ...Object.values(pipeline).flatMap(({ script = [] }) => script),
];

test('the jobs for CI are what their servers take', () => {
  for (const job of Object.values(jobs)) {
    expect(job['runs-on']).toBe('ubuntu-latest');
    expect(job.needs === undefined || job.needs in jobs).toBe(true);
    for (const { uses, run } of job.steps ?? []) expect([uses, run].filter(Boolean)).toHaveLength(1);
  }
  for (const job of Object.values(pipeline)) expect(stages).toContain(job.stage);
  expect(scripts).toHaveLength(4);
  // Reads, and runs nothing.
  for (const script of scripts) execFileSync('sh', ['-n'], { input: script });
});

test('every command of the page has the options that are used there', () => {
  const used = [...blocks('sh'), ...scripts].flatMap((text) => [
    ...text.matchAll(/interlock (sync|test) ([^#\n]*)/g),
  ]);
  expect(used.length).toBeGreaterThanOrEqual(8);
  for (const [, name, rest = ''] of used) {
    const { options } = name === 'sync' ? syncCommand : testCommand;
    const known = options.map(({ long }) => long);
    for (const [option] of rest.matchAll(/--[a-z-]+/g)) expect(known).toContain(option);
  }
});

test('the example of a test is one, and it fails where the policy does', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'interlock-docs-'));
  const policies = readFileSync(new URL('../../../docs/policies.md', import.meta.url), 'utf8');
  const [, policy = ''] = /```yaml\n(.*?)```/s.exec(policies) ?? [];
  const call = (from: string) => ({
    from: `spiffe://example.org/ns/default/sa/${from}`,
    to: 'spiffe://example.org/ns/default/sa/cartservice',
    action: { kind: 'grpc', port: 7070, service: 'hipstershop.CartService', method: 'AddItem' },
    views: ['observed'],
    evidence: { count: 1 },
  });
  const run = async () => {
    const terminal = new Terminal(new PassThrough(), new PassThrough(), {});
    return main(['test', dir], { terminal, now: Date.now });
  };
  writeFileSync(join(dir, 'cart.yaml'), policy);
  writeFileSync(join(dir, 'cart.test.yaml'), example);
  writeFileSync(
    join(dir, 'recorded.jsonl'),
    ['frontend', 'scanner'].map((each) => `${JSON.stringify(call(each))}\n`).join(''),
  );
  expect(await run()).toBe(0);
  writeFileSync(join(dir, 'cart.yaml'), policy.replace('AddItem', 'PutItem'));
  expect(await run()).toBe(1);
  rmSync(dir, { recursive: true });
});
