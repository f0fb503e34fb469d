// `npm start`: set up if needed, then the sample estate and its story. `npm start -- FILE...`: the main job on the
// user's own recordings. Plain JavaScript that Node 18 runs.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { setup } from './setup.mjs';

const { root, runtime, env } = setup();
const args = process.argv.slice(2).map((word, i, all) => (isFile(word, all[i - 1]) ? fileOf(word) : word));
// The channel tells it when this process is gone, however that came.
const child = spawn(runtime, ['scripts/start.ts', ...args], {
  cwd: root,
  stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
  env,
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  // A key pressed in a terminal reaches both of them; this one waits until the other has cleaned up.
  process.on(signal, () => (signal === 'SIGINT' && process.stdin.isTTY) || child.kill(signal));
}
endWithParent();
child.on('error', (error) => {
  process.stderr.write(`${runtime} could not be started: ${error.message}\n`);
  process.exit(1);
});
child.on('exit', (code) => process.exit(code ?? 1));

/** npm does not always pass on that it was told to end: this ends with the shell that npm runs it in, and with npm. */
function endWithParent() {
  if (process.env.npm_lifecycle_event === undefined) return;
  const line = () => [process.ppid, parentOf(process.ppid)].join();
  const first = line();
  setInterval(() => line() === first || child.kill('SIGTERM'), 500).unref();
}

/** The parent of a process, where the system says so. */
function parentOf(pid) {
  try {
    return /^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  } catch {
    return undefined;
  }
}

/** Every option but the flags has a value, which is no file. */
function isFile(word, before = '') {
  const isValue = before.startsWith('--') && !before.includes('=');
  return !word.startsWith('-') && !isValue;
}

/** npm runs this in the checkout: what a person named is seen from where the person is. */
function fileOf(word) {
  const path = resolve(process.env.INIT_CWD ?? '.', word);
  const short = relative(root, path);
  return short.startsWith('..') ? path : short;
}
