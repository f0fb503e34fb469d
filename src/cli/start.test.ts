import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url));
/** Prints the path of every file that is loaded. */
const SPY = `
import { registerHooks } from 'node:module';
import { writeSync } from 'node:fs';
registerHooks({ load(url, context, next) { writeSync(1, url + '\\n'); return next(url, context); } });`;

test.each([
  [['authority', 'show']],
  [['authority', 'revoke', 'abc']],
  [['identity', 'list']],
  [['identity', 'rules', 'list']],
  [['federation', 'list']],
  [['cutover', 'status']],
])('%j asks the control plane without the parsers and engines that it does not need', (args) => {
  const spy = `data:text/javascript,${encodeURIComponent(SPY)}`;
  const { stdout, status } = spawnSync(
    process.execPath,
    ['--import', spy, MAIN, ...args, '--state', '/no/such/state'],
    { encoding: 'utf8', env: { ...process.env, NODE_NO_WARNINGS: '1' } },
  );
  expect(status).toBe(1);
  const loaded = stdout.split('\n').filter((url) => url.startsWith('file:'));
  expect(loaded).toContainEqual(expect.stringMatching(/\/cli\/main\.ts$/));
  const packages = loaded.flatMap((url) => /\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? []);
  expect([...new Set(packages)]).toEqual(['commander']);
});
