import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { NOTICE_TYPES } from '../../api/index.ts';
import { notifyConfigFrom } from './config.ts';
import { newSecret } from './sign.ts';

const dir = mkdtempSync(join(tmpdir(), 'interlock-notify-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const FILE = join(dir, 'notify.yaml');
const SLACK = 'https://hooks.slack.com/services/T0/B0/SECRETSECRET';

function secret(name: string, content: string, mode = 0o600): void {
  writeFileSync(join(dir, name), content);
  chmodSync(join(dir, name), mode);
}
secret('one', `${newSecret()}\n`);
secret('two', `${newSecret()}\n${newSecret()}\n`);
secret('three', `${newSecret()}\n`.repeat(3));
secret('short', 'short');
secret('open', newSecret(), 0o644);
secret('slack', `${SLACK}\n`);
secret('slack-inner', 'https://10.0.0.1/SECRETSECRET');
secret('large', 'x'.repeat(5000));

const webhook = (url: string, rest = '') =>
  `channels:\n  - name: ops\n    webhook: { url: "${url}", secretFile: one }\n${rest}`;

test('a file names channels with their secrets beside it', () => {
  const { channels } = notifyConfigFrom(
    `channels:
  - name: ops
    webhook: { url: https://hooks.example.com/interlock, secretFile: two }
    on: [release, fallback]
    only: { namespaces: [shop], tiers: [critical], owners: ["@shop"] }
  - name: chat
    slack: { urlFile: slack }
`,
    FILE,
  );
  expect(channels).toMatchObject([
    {
      name: 'ops',
      kind: 'webhook',
      only: { namespaces: ['shop'], tiers: ['critical'], owners: ['@shop'] },
      allowPrivate: false,
    },
    { name: 'chat', kind: 'slack', only: {}, secrets: [] },
  ]);
  expect([...(channels[0]?.on ?? [])]).toEqual(['release', 'fallback']);
  expect([...(channels[1]?.on ?? [])]).toEqual([...NOTICE_TYPES]);
  expect(channels[0]?.secrets.map(({ length }) => length)).toEqual([32, 32]);
  expect(channels[1]?.url.href).toBe(SLACK);
});

describe('an address of the file', () => {
  test.each([
    'http://hooks.example.com/',
    'ftp://hooks.example.com/',
    'hooks.example.com',
    'https://user:pw@hooks.example.com/',
    'https://hooks.example.com/#x',
    'https://127.0.0.1/',
    'https://localhost/',
    'https://2130706433/',
    'https://0x7f.1/',
    'https://10.1.2.3/',
    'https://[::1]/',
    'https://[::ffff:10.0.0.1]/',
    'https://[fd00::1]/',
    'https://169.254.169.254/latest/meta-data',
    'http://127.0.0.1:8080/',
  ])('%s is refused with its line', (url) => {
    expect(() => notifyConfigFrom(webhook(url), FILE)).toThrow(
      expect.objectContaining({ code: 'invalid_document', place: { file: FILE, line: 3 } }),
    );
  });

  test.each(['https://10.1.2.3/', 'https://localhost/', 'http://127.0.0.1:8080/', 'http://localhost:1/'])(
    '%s is taken where the channel says so',
    (url) => {
      const { channels } = notifyConfigFrom(webhook(url, '    allowPrivate: true\n'), FILE);
      expect(channels[0]?.url.href).toBe(new URL(url).href);
    },
  );

  test.each([
    'http://hooks.example.com/',
    'http://10.1.2.3/',
    'https://169.254.169.254/',
    'https://[fe80::1]/',
  ])('%s is refused even then', (url) => {
    expect(() => notifyConfigFrom(webhook(url, '    allowPrivate: true\n'), FILE)).toThrow(
      expect.objectContaining({ code: 'invalid_document' }),
    );
  });
});

test.each([
  ['without a channel', 'channels: []', 'name at least one channel'],
  ['with neither receiver', 'channels: [{ name: a }]', 'either a "webhook" or a "slack"'],
  ['with a word that is none', 'channels: [{ name: a, slack: { urlFile: slack }, onn: [release] }]', 'onn'],
  [
    'with an event that is none',
    'channels: [{ name: a, slack: { urlFile: slack }, on: [relase] }]',
    'channels.0.on.0',
  ],
  [
    'with a name twice',
    'channels: [{ name: a, slack: { urlFile: slack } }, { name: a, slack: { urlFile: slack } }]',
    'given twice',
  ],
  ['with a name that is a path', 'channels: [{ name: ../a, slack: { urlFile: slack } }]', 'channels.0.name'],
  ['without the secret', 'channels: [{ name: a, slack: { urlFile: none } }]', 'cannot be read'],
  ['with a folder for a secret', 'channels: [{ name: a, slack: { urlFile: . } }]', 'is no file'],
  [
    'with a secret that others may read',
    'channels: [{ name: a, webhook: { url: https://a.example, secretFile: open } }]',
    'chmod 600',
  ],
  [
    'with a short secret',
    'channels: [{ name: a, webhook: { url: https://a.example, secretFile: short } }]',
    '24 to 64 bytes',
  ],
  [
    'with three secrets',
    'channels: [{ name: a, webhook: { url: https://a.example, secretFile: three } }]',
    '24 to 64 bytes',
  ],
  [
    'with a large secret',
    'channels: [{ name: a, webhook: { url: https://a.example, secretFile: large } }]',
    'larger than',
  ],
  ['with aliases', 'channels: [&a { name: a, slack: { urlFile: slack } }, *a]', 'aliases are not read'],
])('a file %s is refused', (_, text, message) => {
  expect(() => notifyConfigFrom(text, FILE)).toThrow(message);
});

test('no complaint holds a secret', () => {
  let said = '';
  try {
    notifyConfigFrom('channels: [{ name: a, slack: { urlFile: slack-inner } }]', FILE);
  } catch (error) {
    said = String(error);
  }
  expect(said).toContain('private network');
  expect(said).not.toContain('SECRETSECRET');
});
