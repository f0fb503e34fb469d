import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { allCommands } from '../../src/cli/commands.ts';
import { WIDTH } from '../../src/cli/terminal.ts';
import { shopLines } from '../../examples/generate-shop.ts';
import { interlock, json, scratch } from './run.ts';

const commands = await allCommands();
const dir = scratch();
const state = ['--state', join(dir, 'state')];
const file = (name: string, content: string | Uint8Array) => {
  writeFileSync(join(dir, name), content);
  return join(dir, name);
};
const lines = shopLines().slice(0, 300);

describe('a command that is misused', () => {
  test.each([
    [['observe']],
    [['observe', 'x', '--format', 'syslog']],
    [['observe', 'x', '--trust-domain', 'Not A Domain']],
    [['observe', 'x', '--field', 'nonsense']],
    [['frobnicate']],
    [['access', '--to', 'cart']],
    [['decide', 'p']],
    [['decide', 'p', '--from', 'spiffe://d/a', '--to', 'spiffe://d/b', '--port', '70000']],
    [['decide', 'p', '--from', 'spiffe://d/a', '--to', 'spiffe://d/b', '--port', '80', '--bogus']],
    [['propose', '--incident', 'yesterday']],
    [['propose', '--baseline-end', 'soon']],
    [['render', 'p', '--engine', 'iptables']],
    [['diff', 'only-one']],
  ])('%j says what is wrong and exits with 2', async (argv) => {
    const { code, out, err } = await interlock(...argv);
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(err).toMatch(/^interlock: /);
  });

  test('without a state it says what to run first', async () => {
    for (const argv of [['access'], ['propose'], ['readiness'], ['identities']]) {
      const { code, err } = await interlock(...argv, '--state', join(dir, 'nowhere'));
      expect(code).toBe(1);
      expect(err).toMatch(/interlock observe/);
    }
  });

  test('with --json its error is JSON with a closed code', async () => {
    const { code, err } = await interlock('access', '--json', '--state', join(dir, 'nowhere'));
    expect(code).toBe(1);
    expect(JSON.parse(err)).toEqual({ error: expect.objectContaining({ code: 'not_found' }) });
  });
});

describe('help', () => {
  test.each(commands.map(({ name }) => [name]))('of %s has an example and fits the width', async (name) => {
    const { code, out } = await interlock(...name.split(' '), '--help');
    expect(code).toBe(0);
    expect(out).toMatch(/Example:\n {2}interlock /);
    expect(out).toMatch(/With --json:/);
    for (const line of out.split('\n')) expect(line.length).toBeLessThanOrEqual(WIDTH);
  });
});

describe('bad input', () => {
  const good = file('good.jsonl', `${lines.join('\n')}\n`);
  const counts = async () => (await json<unknown>('access', ...state)).length;

  test('leaves a state that holds all of the good files and nothing of the bad ones', async () => {
    const packed = gzipSync(lines.join('\n'));
    const bad = {
      'truncated.gz': packed.subarray(0, packed.length / 2),
      'empty.jsonl': '',
      'picture.png': Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex'),
      'words.txt': 'these are words\n',
    };
    const files = Object.entries(bad).map(([name, content]) => file(name, content));
    const { code, out, err } = await interlock('observe', good, ...files, ...state);
    expect(code).toBe(1);
    for (const name of Object.keys(bad)) expect(out + err).toContain(name);
    const before = await counts();
    expect(before).toBeGreaterThan(5);
    const again = await interlock('observe', good, ...state);
    expect(again.out).toMatch(/taken in before/);
    expect(again.code).toBe(0);
    expect(await counts()).toBe(before);
  });

  test('in the middle of a file is counted with its first line, and the rest is taken in', async () => {
    const middle = [...lines.slice(0, 150), '{"broken', 'not json at all', '[1', ...lines.slice(150, 200)];
    const own = ['--state', join(dir, 'middle')];
    const result = await json<{
      recordings: { read: number; accepted: number; skips: { count: number; firstLine: number }[] }[];
    }>('observe', file('middle.jsonl', middle.join('\n')), ...own);
    const [recording] = result[0]?.recordings ?? [];
    expect(recording?.accepted).toBe(200);
    expect(recording?.read).toBe(203);
    expect(recording?.skips.reduce((sum, { count }) => sum + count, 0)).toBe(3);
    expect(Math.min(...(recording?.skips ?? []).map(({ firstLine }) => firstLine))).toBe(151);
  });

  test('the same traffic as plain text and compressed is one recording', async () => {
    const own = ['--state', join(dir, 'twice')];
    await interlock('observe', file('plain.jsonl', lines.join('\n')), ...own);
    const { out } = await interlock('observe', file('packed.jsonl.gz', gzipSync(lines.join('\n'))), ...own);
    expect(out).toMatch(/packed.jsonl.gz: taken in before/);
  });

  test('policy documents with a mistake name the file, the line and the mend', async () => {
    const policies = join(dir, 'bad-policies');
    mkdirSync(policies);
    writeFileSync(
      join(policies, 'cart.yaml'),
      'apiVersion: interlock.dev/v1alpha1\nkind: AccessPolicy\nmetadata: { name: cart }\nspec:\n  protects: { workload: spiffe://d/cart }\n  rules:\n    - name: all\n      from: []\n      to: [ { tcp: {} } ]\n',
    );
    const { code, err } = await interlock('rehearse', policies, ...state);
    expect(code).toBe(1);
    expect(err).toMatch(/cart\.yaml:8/);
  });

  test('a directory that cannot be written is said plainly and leaves nothing half-written', async () => {
    const out = join(dir, 'no-entry');
    mkdirSync(out);
    // Root writes where it likes: a file in the place of the directory stops everyone.
    writeFileSync(join(out, 'sub'), '');
    chmodSync(out, 0o500);
    const { code, err } = await interlock('propose', '--out', join(out, 'sub', 'deeper'), ...state);
    expect(code).toBe(1);
    expect(err).toMatch(/could not be used/);
    chmodSync(out, 0o700);
    expect(readdirSync(out)).toEqual(['sub']);
  });
});
