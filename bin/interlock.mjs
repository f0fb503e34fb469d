#!/usr/bin/env node
// Starts the command under the Node that the project pins. An installed package runs what was built (dist); a
// checkout runs the sources as they are.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { keepCompiled } from './compile-cache.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const source = join(root, 'src', 'cli', 'main.ts');
const main = existsSync(source) ? source : join(root, 'dist', 'cli', 'main.js');
const REQUIRED_MAJOR = 26;
const asked = process.argv.slice(2);
// A control plane lives long and has thousands of streams: V8 would give its young generation 64 MB.
const isControlPlane = asked[0] === 'up' || (asked[0] === 'authority' && asked[1] === 'serve');
const flags = isControlPlane ? ['--max-semi-space-size=8'] : [];
const hasFlags = flags.every((flag) => process.execArgv.includes(flag));

const isRequired = Number(process.versions.node.split('.')[0]) >= REQUIRED_MAJOR;
if (isRequired && (hasFlags || typeof process.execve !== 'function')) {
  // A control plane that is installed is one file and starts once in weeks: what is kept of it would only take memory.
  if (!isControlPlane || main === source) keepCompiled(root);
  await import(main);
} else if (isRequired) {
  const args = [...process.execArgv, ...flags, fileURLToPath(import.meta.url), ...asked];
  process.execve(process.execPath, [process.execPath, ...args], process.env);
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
  const args = [...flags, fileURLToPath(import.meta.url), ...asked];
  // In the place of this process where that can be done; else beside it, with its signals passed on.
  if (typeof process.execve === 'function') process.execve(runtime, [runtime, ...args], process.env);
  const child = spawn(runtime, args, { stdio: 'inherit' });
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'];
  // A terminal sends its signals to both, and one of them must not come twice.
  for (const signal of signals) {
    process.on(signal, () => (signal !== 'SIGTERM' && process.stdin.isTTY) || child.kill(signal));
  }
  child.on('error', (error) => {
    process.stderr.write(`interlock: ${runtime} cannot be started: ${error.message}\n`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => {
    for (const name of signals) process.removeAllListeners(name);
    if (signal) process.kill(process.pid, signal);
    else process.exit(code ?? 1);
  });
}
