import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { notifyConfigFrom } from '../../server/index.ts';
import { type TestApi, testApi } from '../../server/api/testing.test-helper.ts';
import { realTimers } from '../../server/timers.ts';
import { check } from '../config/check.ts';
import { Terminal } from '../terminal.ts';
import { NOTIFICATION_COMMANDS } from './notifications.ts';

let api: TestApi;
let server: Server;
const dir = mkdtempSync(join(tmpdir(), 'interlock-notifications-'));
const FILE = join(dir, 'notify.yaml');
let status = 200;
beforeAll(async () => {
  server = createServer((request, response) => {
    request.resume();
    response.writeHead(status).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  writeFileSync(join(dir, 'secret'), await run('notifications secret'), { mode: 0o600 });
  writeFileSync(
    FILE,
    `channels:
  - { name: ops, webhook: { url: "http://127.0.0.1:${port}/PATH", secretFile: secret }, allowPrivate: true, on: [comment] }
`,
  );
  const { readFileSync } = await import('node:fs');
  api = await testApi({ notify: notifyConfigFrom(readFileSync(FILE, 'utf8'), FILE) });
});
afterAll(async () => {
  await api.close();
  await new Promise((closed) => server.close(closed));
  rmSync(dir, { recursive: true, force: true });
});

async function run(name: string, args: string[] = []): Promise<string> {
  const command = NOTIFICATION_COMMANDS.find((each) => each.name === name);
  if (command === undefined) throw new TypeError(`there is no command "${name}"`);
  const out = new PassThrough();
  const context = { terminal: new Terminal(out, out, {}), now: () => realTimers.now() };
  // A command takes the options that it names; what makes a secret needs no control plane.
  await command.run(context, args, { state: name.endsWith('secret') ? '' : api.state } as never);
  out.end();
  return text(out);
}

test('a secret is made that a file takes', async () => {
  expect(await run('notifications secret')).toMatch(/^whsec_[A-Za-z0-9+/]{43}=\n$/);
});

test('channels are listed with how they fare, and tried by a test', async () => {
  status = 200;
  expect(await run('notifications test', ['ops'])).toBe('ops has taken a test.\n');
  const listed = await run('notifications list');
  expect(listed).toMatch(/^ops +webhook +127\.0\.0\.1 +0 +0 +0 +- +-$/m);
  expect(listed).not.toContain('PATH');
  status = 500;
  await expect(run('notifications test', ['ops'])).rejects.toMatchObject({
    code: 'unavailable',
    message: 'ops: 127.0.0.1 answered 500',
  });
  await expect(run('notifications test', ['none'])).rejects.toMatchObject({ code: 'not_found' });
});

test('"interlock up --check" looks at the channels, and tries them where it is told to', async () => {
  const looked = async (settings: object, tests: boolean) => {
    const out = new PassThrough();
    const context = { terminal: new Terminal(out, out, {}), now: () => realTimers.now() };
    const state = join(dir, 'none');
    const port = { host: '127.0.0.1', port: 0 };
    await check({ 'trust-domain': 'example.org', http: port, listen: port, ...settings }, state, context, {
      tests,
    });
    out.end();
    return text(out);
  };
  expect(await looked({ notify: FILE }, false)).toContain(
    'ok      channel ops: sends to 127.0.0.1; --test-notifications tries it',
  );
  status = 200;
  expect(await looked({ notify: FILE }, true)).toContain('ok      channel ops: 127.0.0.1 has taken a test');
  status = 404;
  expect(await looked({ notify: FILE }, true)).toContain('failed  channel ops: 127.0.0.1 answered 404');
  expect(await looked({ notify: join(dir, 'secret') }, true)).toMatch(/failed {2}settings: .*channels/);
});
