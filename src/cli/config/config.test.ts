import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { readSettings } from './read.ts';
import { attributeOf, flagOf, SETTING_NAMES, settingOf, settingsTable, variableOf } from './settings.ts';

const dir = mkdtempSync(join(tmpdir(), 'interlock-config-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function fileOf(text: string): string {
  const file = join(dir, `${Math.random()}.yaml`);
  writeFileSync(file, text);
  return file;
}

describe('a setting', () => {
  test('of a flag wins over the environment, which wins over the file', () => {
    const file = fileOf('http: 127.0.0.1:1\nlisten: 127.0.0.1:2\ntrust-domain: a.example\n');
    const env = { INTERLOCK_LISTEN: '127.0.0.1:3', INTERLOCK_TRUST_DOMAIN: 'b.example', INTERLOCK_GATES: '' };
    expect(readSettings({ flags: { trustDomain: 'c.example' }, env, file })).toEqual({
      http: { host: '127.0.0.1', port: 1 },
      listen: { host: '127.0.0.1', port: 3 },
      'trust-domain': 'c.example',
    });
  });

  test('that may be repeated is a list in a file, words apart by commas in the environment', () => {
    const file = fileOf('node-proxy: [spiffe://a/x, spiffe://a/y]\n');
    const one = fileOf('node-proxy: spiffe://a/x\n');
    const env = { INTERLOCK_NODE_PROXY: 'spiffe://a/x, spiffe://a/z' };
    const read = (sources: object) => readSettings({ flags: {}, env: {}, ...sources })['node-proxy'];
    expect([read({ file }), read({ file: one }), read({ env })]).toEqual([
      ['spiffe://a/x', 'spiffe://a/y'],
      ['spiffe://a/x'],
      ['spiffe://a/x', 'spiffe://a/z'],
    ]);
  });

  test('that names a file is looked for beside the configuration', () => {
    const file = fileOf('gates: gates.yaml\nattestors: /etc/attestors.yaml\n');
    expect(readSettings({ flags: {}, env: {}, file })).toEqual({
      gates: join(dir, 'gates.yaml'),
      attestors: '/etc/attestors.yaml',
    });
  });

  test.each([
    ['http: 127.0.0.1:1\nhtpp: x\n', 2, 'there is no setting "htpp"'],
    ['# one\nlisten: nowhere\n', 2, '"listen": an address is written HOST:PORT'],
    ['\n\nlisten: [a, b]\n', 3, '"listen" is one value, not a list'],
    ['sign-in: {oidc: 1}\n', 1, '"sign-in" is one value, not a group'],
    ['listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\n', 2, 'unique'],
    ['http-tls-svid: maybe\n', 1, '"http-tls-svid": true or false'],
    ['- a\n', 1, 'settings are written NAME: value'],
    ['__proto__: x\n', 1, 'there is no setting'],
  ])('of %j is refused with its line', (text, line, message) => {
    const file = fileOf(text);
    expect(() => readSettings({ flags: {}, env: {}, file })).toThrow(
      expect.objectContaining({
        code: 'invalid_document',
        place: { file, line },
        message: expect.stringContaining(message),
      }),
    );
  });

  test('of the environment that cannot be is refused by the name of the variable', () => {
    const env = { INTERLOCK_WAIT_FOR_AGENTS: 'soon' };
    expect(() => readSettings({ flags: {}, env })).toThrow(
      expect.objectContaining({ code: 'usage', subject: 'INTERLOCK_WAIT_FOR_AGENTS' }),
    );
  });
});

test('every setting has one flag, one variable, and one attribute that commander gives it', () => {
  for (const name of SETTING_NAMES) {
    const option = flagOf(name);
    expect([option.long, option.attributeName(), option.defaultValue]).toEqual([
      `--${name}`,
      attributeOf(name),
      undefined,
    ]);
    expect(settingOf(name).value === undefined).toBe(option.isBoolean());
  }
  expect(new Set(SETTING_NAMES.map(variableOf)).size).toBe(SETTING_NAMES.length);
});

test('docs/up.md lists every setting as the table has it', () => {
  const text = readFileSync(new URL('../../../docs/up.md', import.meta.url), 'utf8');
  expect(text).toContain(settingsTable());
});
