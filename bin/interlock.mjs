#!/usr/bin/env node
// Starts the command under the Node that the project pins. An installed package runs what was built (dist); a
// checkout runs the sources as they are.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const source = join(root, 'src', 'cli', 'main.ts');
const main = existsSync(source) ? source : join(root, 'dist', 'cli', 'main.js');
const REQUIRED_MAJOR = 26;

if (Number(process.versions.node.split('.')[0]) >= REQUIRED_MAJOR) {
  await import(main);
} else {
  let runtime;
  try {
    const manifest = createRequire(main).resolve('node/package.json');
    runtime = join(dirname(manifest), 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
  } catch {
    runtime = undefined;
  }
  if (runtime === undefined || !existsSync(runtime)) {
    process.stderr.write(
      `interlock: needs Node ${REQUIRED_MAJOR}, this is ${process.version}, and the npm package "node" is not installed.\n` +
        'In a checkout run "npm ci"; elsewhere install Node 26.\n',
    );
    process.exit(1);
  }
  const done = spawnSync(runtime, [main, ...process.argv.slice(2)], { stdio: 'inherit' });
  if (done.signal) process.kill(process.pid, done.signal);
  process.exit(done.status ?? 1);
}
