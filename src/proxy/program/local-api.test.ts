import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { systemClock } from '../../workload/index.ts';
import { stateFiles } from '../control/state-files.ts';
import { listenLocally } from './local-api.ts';
import type { Proxy } from './proxy.ts';

const dirs: string[] = [];
afterEach(() => {
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});

const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8);

test.each([
  ['nobody else', undefined, '700', '600'],
  [
    'a group, which passes through the directory to it and reads nothing else there',
    process.getgid?.(),
    '710',
    '660',
  ],
])('the socket is open to the proxy’s user and %s', async (_, group, dirMode, socketMode) => {
  const state = join(mkdtempSync(join(tmpdir(), 'interlock-')), 'cart');
  dirs.push(state);
  stateFiles(state).write('state.json', '{}');
  const path = join(state, 'proxy.sock');
  // What an earlier process left.
  writeFileSync(path, '');
  // No request is made here.
  const proxy = {} as Proxy;
  const local = await listenLocally({ path, group, proxy, clock: systemClock, onAct: () => {} });
  expect([modeOf(state), modeOf(path), modeOf(join(state, 'state.json'))]).toEqual([
    dirMode,
    socketMode,
    '600',
  ]);
  await local.close();
  expect(() => stateFiles(state)).not.toThrow();
});
